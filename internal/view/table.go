package view

import (
	"strings"
	"unicode/utf8"
)

// width is the most columns that a view for people uses.
const width = 100

// table is rows of cells under headings, aligned as kubectl aligns them: three
// blanks between columns, none after the last.
type table struct {
	indent string
	gap    string
	max    []int // most columns of each cell, 0 for no limit; longer ones are wrapped at blanks
	rows   [][]string
}

func newTable(heads ...string) *table {
	t := &table{gap: "   "}
	t.add(heads...)
	return t
}

// add adds a row. An empty cell is written as kubectl writes it.
func (t *table) add(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		if c == "" {
			c = "<none>"
		}
		row[i] = c
	}
	t.rows = append(t.rows, row)
}

func (t *table) print(p *printer) {
	lines := make([][][]string, len(t.rows))
	var widths []int
	for r, row := range t.rows {
		lines[r] = make([][]string, len(row))
		for c, cell := range row {
			lines[r][c] = wrap(cell, t.limit(c))
			if c == len(widths) {
				widths = append(widths, 0)
			}
			for _, l := range lines[r][c] {
				widths[c] = max(widths[c], utf8.RuneCountInString(l))
			}
		}
	}
	for _, row := range lines {
		for _, l := range t.join(row, widths) {
			p.f("%s\n", l)
		}
	}
}

func (t *table) limit(column int) int {
	if column < len(t.max) {
		return t.max[column]
	}
	return 0
}

// join lays the wrapped cells of one row beside each other.
func (t *table) join(row [][]string, widths []int) []string {
	height := 1
	for _, cell := range row {
		height = max(height, len(cell))
	}
	out := make([]string, 0, height)
	for i := range height {
		var b strings.Builder
		b.WriteString(t.indent)
		for c, cell := range row {
			text := ""
			if i < len(cell) {
				text = cell[i]
			}
			b.WriteString(text)
			if c < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[c]-utf8.RuneCountInString(text)) + t.gap)
			}
		}
		out = append(out, strings.TrimRight(b.String(), " "))
	}
	return out
}

// wrap breaks text at blanks into lines of at most limit columns. A word that is
// longer is broken after a slash, and otherwise keeps its length: a name cut in
// two cannot be copied.
func wrap(text string, limit int) []string {
	if limit <= 0 || utf8.RuneCountInString(text) <= limit {
		return []string{text}
	}
	var out []string
	line := ""
	for _, word := range words(text, limit) {
		switch {
		case line == "":
			line = word
		case strings.HasSuffix(line, "/") || utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > limit:
			out = append(out, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(out, line)
}

func words(text string, limit int) []string {
	var out []string
	for word := range strings.FieldsSeq(text) {
		if utf8.RuneCountInString(word) <= limit {
			out = append(out, word)
			continue
		}
		parts := strings.SplitAfter(word, "/")
		out = append(out, parts...)
	}
	return out
}
