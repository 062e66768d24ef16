package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/view"
)

// readFile reads a file, or standard input for "-".
func readFile(name string, c *cobra.Command) ([]byte, error) {
	return readInput(name, c.InOrStdin())
}

// readInput is readFile where there is no command.
func readInput(name string, in io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(name) //nolint:gosec // the user names the file
}

// readYAML reads one document. A field nobody knows, a key that is there twice and
// a second document, which the decoder leaves out without a word, are errors.
func readYAML(b []byte, into any) error {
	d := kyaml.NewDecoder(bytes.NewReader(b))
	for first := true; ; first = false {
		var node kyaml.Node
		err := d.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !first && !empty(node) {
			return fmt.Errorf("line %d begins a second document, which would not be read", node.Line)
		}
	}
	return yaml.UnmarshalStrict(b, into)
}

func empty(document kyaml.Node) bool {
	return len(document.Content) == 1 && document.Content[0].Tag == kyaml.NodeTagNull
}

// output is where a command writes, and how: -o takes a format, and for some
// commands the name of a file that ends in .yaml or .json.
type output struct {
	format view.Format
	file   string // written besides the text on standard output
}

// parseOutput reads -o where it takes formats only.
func parseOutput(value string, formats ...view.Format) (output, error) {
	if !slices.Contains(formats, view.Format(value)) {
		return output{}, fmt.Errorf("-o %q is not known: it is one of %s", value, listed(formats))
	}
	return output{format: view.Format(value)}, nil
}

// parseOutputOrFile reads -o where it takes the name of a file as well.
func parseOutputOrFile(value string, formats ...view.Format) (output, error) {
	switch {
	case strings.HasSuffix(value, ".yaml"), strings.HasSuffix(value, ".yml"):
		return output{format: view.YAML, file: value}, nil
	case strings.HasSuffix(value, ".json"):
		return output{format: view.JSON, file: value}, nil
	}
	out, err := parseOutput(value, formats...)
	if err != nil {
		return out, fmt.Errorf("%w, or a file that ends in .yaml or .json", err)
	}
	return out, nil
}

func listed(formats []view.Format) string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}
