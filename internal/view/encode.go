package view

import (
	"encoding/json"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"
)

// Format is how a value is written.
type Format string

// The formats. Wide is Text with more columns.
const (
	Text Format = "text"
	Wide Format = "wide"
	JSON Format = "json"
	YAML Format = "yaml"
	HTML Format = "html" // a page that stands alone
)

// Encode writes the value as JSON or YAML. Both come from the value's JSON tags,
// so that a field has one name everywhere.
func Encode(w io.Writer, f Format, v any) error {
	var (
		b   []byte
		err error
	)
	switch f {
	case JSON:
		b, err = json.MarshalIndent(v, "", "  ")
		b = append(b, '\n')
	case YAML:
		b, err = yaml.Marshal(v)
	case Text, Wide, HTML:
		return fmt.Errorf("writing as %s: it is not an encoding", f)
	default:
		return fmt.Errorf("writing as %q: known are json and yaml", f)
	}
	if err != nil {
		return fmt.Errorf("writing as %s: %w", f, err)
	}
	_, err = w.Write(b)
	return err
}

// printer keeps the first error of many writes, so that views read as text.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}
