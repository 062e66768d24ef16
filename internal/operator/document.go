package operator

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Kind is that of IstioOperator files.
const Kind = "IstioOperator"

// Document is what a user asks for: their files and settings, one over the other,
// without what the profile and the release bring.
type Document map[string]any

// File is one file, with the name that errors give it.
type File struct {
	Name string
	Data []byte
}

// IsOne says whether a file is an IstioOperator's, and not Helm values.
func IsOne(data []byte) bool {
	docs, err := documents(data)
	return err == nil && slices.ContainsFunc(docs, func(d map[string]any) bool {
		api, _ := d["apiVersion"].(string)
		return d["kind"] == Kind || strings.HasPrefix(api, "install.istio.io/")
	})
}

// Read puts the files one over the other, then the settings, as
// "istioctl -f A -f B --set PATH=VALUE" does. What is in a file and has no
// meaning is refused by its path.
func Read(files []File, sets []string) (Document, error) {
	doc := map[string]any{"apiVersion": "install.istio.io/v1alpha1", "kind": Kind, "metadata": map[string]any{}, "spec": map[string]any{}}
	for _, f := range files {
		one, err := read(f)
		if err != nil {
			return nil, err
		}
		merge(doc, one)
	}
	for _, s := range sets {
		if err := set(doc, s); err != nil {
			return nil, err
		}
	}
	if err := shape(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

func read(f File) (map[string]any, error) {
	docs, err := documents(f.Data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", f.Name, err)
	case len(docs) == 0:
		return map[string]any{}, nil
	case len(docs) > 1:
		return nil, fmt.Errorf("reading %s: it holds %d documents, and one IstioOperator a file is read", f.Name, len(docs))
	}
	one := docs[0]
	if one["kind"] != Kind {
		return nil, fmt.Errorf("reading %s: its kind is %v, not %s", f.Name, one["kind"], Kind)
	}
	if one["spec"] == nil {
		delete(one, "spec")
	}
	if one["metadata"] == nil {
		delete(one, "metadata")
	}
	return one, nil
}

// documents are the YAML documents of a file that are not empty.
func documents(data []byte) ([]map[string]any, error) {
	var out []map[string]any
	r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		raw, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("parting it into documents: %w", err)
		}
		var d map[string]any
		if err := yaml.Unmarshal(raw, &d); err != nil {
			return nil, fmt.Errorf("parsing: %w", err)
		}
		if len(d) > 0 {
			out = append(out, d)
		}
	}
}

// shape refuses what cannot be merged with a profile, or would be lost in it.
func shape(doc map[string]any) error {
	if doc["apiVersion"] != "install.istio.io/v1alpha1" {
		return fmt.Errorf("apiVersion: %v is not install.istio.io/v1alpha1", doc["apiVersion"])
	}
	for _, key := range []string{"metadata", "spec"} {
		if _, ok := doc[key].(map[string]any); !ok {
			return fmt.Errorf("%s: it is no map", key)
		}
	}
	spec, _ := doc["spec"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if spec[key] == nil {
			return fmt.Errorf("spec.%s: it is empty: take it out, or say what it is to be", key)
		}
	}
	for _, key := range []string{"values", "meshConfig", "components", "unvalidatedValues"} {
		if v, ok := spec[key]; ok {
			if _, ok := v.(map[string]any); !ok {
				return fmt.Errorf("spec.%s: it is no map", key)
			}
		}
	}
	if p, ok := spec["installPackagePath"]; ok {
		return fmt.Errorf("spec.installPackagePath: %v: serin reads charts from where --charts says: a directory, a repository or a registry", p)
	}
	return nil
}

// Revision is the one that the document asks for, empty for none.
func (d Document) Revision() string {
	if r := stringAt(d, "spec.values.revision"); r != "" {
		return r
	}
	return stringAt(d, "spec.revision")
}

// WithRevision is the document for another revision.
func (d Document) WithRevision(revision string) (Document, error) {
	out, err := clone(d)
	if err != nil {
		return nil, err
	}
	spec, _ := out["spec"].(map[string]any)
	spec["revision"] = revision
	if values, ok := mapAt(out, "spec.values"); ok {
		delete(values, "revision")
	}
	return out, nil
}
