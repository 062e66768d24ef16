package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// field is one of a message.
type field struct {
	name, kind string
	list       string // "[]" if it is a list of messages
}

// messages are those of some files, by their names.
type messages map[string][]field

var (
	comments  = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`)
	statement = regexp.MustCompile(`(?s)^(repeated\s+|optional\s+)?(map\s*<[^>]*>|[\w.]+)\s+(\w+)\s*=\s*\d+\s*(\[.*\])?$`)
	jsonName  = regexp.MustCompile(`json_name\s*=\s*"([^"]+)"`)
)

func parse(files ...string) (messages, error) {
	m := messages{}
	for _, f := range files {
		if err := m.parse(f); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// parse reads the messages of a file, as much of the language as Istio's files use.
func (m messages) parse(file string) error {
	b, err := os.ReadFile(file) //nolint:gosec // a file of a module
	if err != nil {
		return fmt.Errorf("reading messages: %w", err)
	}
	var (
		stack []string // blocks that are open: a message's name, or "" for any other
		start int
		text  = comments.ReplaceAllString(string(b), "")
	)
	for i, c := range text {
		part := strings.TrimSpace(text[start:min(i, len(text))])
		switch c {
		case '{':
			words := strings.Fields(part)
			name := ""
			if len(words) > 1 && words[len(words)-2] == "message" {
				name = words[len(words)-1]
				m[name] = nil
			}
			stack = append(stack, name)
		case '}':
			stack = stack[:max(0, len(stack)-1)]
		case ';':
			m.add(stack, part)
		default:
			continue
		}
		start = i + 1
	}
	return nil
}

// add notes a field of the message that is open: that of a oneof is its message's.
func (m messages) add(stack []string, part string) {
	found := statement.FindStringSubmatch(part)
	open := slices.DeleteFunc(slices.Clone(stack), func(s string) bool { return s == "" })
	if found == nil || len(open) == 0 {
		return
	}
	in := open[len(open)-1]
	one := field{name: found[3], kind: found[2]}
	if strings.HasPrefix(found[1], "repeated") && m.own(one.kind) {
		one.list = "[]"
	}
	if name := given(found[4]); name != "" { // istioctl takes the field's own name too, and drops what is below
		one.name = name
		m[in] = append(m[in], one)
		return
	}
	m[in] = append(m[in], one)
	if name := camel(one.name); name != one.name {
		one.name = name
		m[in] = append(m[in], one)
	}
}

// own says whether a type is one of Istio's messages, not a plain one or Google's.
func (messages) own(kind string) bool {
	return !strings.HasPrefix(kind, "google.") && strings.ToLower(kind) != kind
}

func given(options string) string {
	if found := jsonName.FindStringSubmatch(options); found != nil {
		return found[1]
	}
	return ""
}

func camel(name string) string {
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		if p != "" {
			parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "")
}

// node is a message as a tree. What is of another kind, or of itself, is open.
func (m messages) node(name string, above []string) node {
	fields, ok := m[name]
	if !ok || slices.Contains(above, name) || name == "IntOrString" {
		return nil
	}
	out := node{}
	for _, f := range fields {
		kind := f.kind[strings.LastIndex(f.kind, ".")+1:]
		if strings.HasPrefix(f.kind, "google.") || strings.HasPrefix(f.kind, "map") {
			kind = ""
		}
		if below := m.node(kind, append(above, name)); len(below) > 0 {
			out[f.name+f.list] = below
		} else {
			out[f.name] = nil
		}
	}
	return out
}
