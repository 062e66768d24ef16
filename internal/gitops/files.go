package gitops

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/plan"
)

// File is a file of the folder, its path with slashes.
type File struct {
	Path string
	Data []byte
}

// The files of the folder itself.
const (
	IndexFile = "index.yaml"
	PlanFile  = "plan.yaml"
	readme    = "README.md"
)

// kind is that of an index, by which a folder is known as serin's own.
const kind = "Patches"

// Index is what a folder holds, so that it can be written anew.
type Index struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Plan       string   `json:"plan"` // its digest
	Files      []string `json:"files"`
}

// Files are the folder of a plan: contents by step number, and the plan itself as
// a file, nil where it holds what must not be committed.
func Files(p plan.Plan, contents map[int]plan.Content, planFile []byte) ([]File, error) {
	var out []File
	if planFile != nil {
		out = append(out, File{PlanFile, planFile})
	}
	for _, st := range p.Steps {
		c := contents[st.Number]
		folder := plan.Folder(st)
		files, err := stepFiles(c)
		if err != nil {
			return nil, fmt.Errorf("writing step %d as files: %w", st.Number, err)
		}
		out = append(out, File{path.Join(folder, readme), page(p, st, c, files, planFile != nil)})
		for _, f := range files {
			out = append(out, File{path.Join(folder, f.Path), f.Data})
		}
	}
	out = append(out, File{readme, overview(p, planFile != nil)})
	slices.SortFunc(out, func(a, b File) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
	index := Index{APIVersion: plan.APIVersion, Kind: kind, Plan: p.Digest}
	for _, f := range out {
		index.Files = append(index.Files, f.Path)
	}
	b, err := yaml.Marshal(index)
	if err != nil {
		return nil, fmt.Errorf("writing the index: %w", err)
	}
	return append([]File{{IndexFile, b}}, out...), nil
}

// ReadIndex reads the index of a folder that serin wrote before. A path that
// leads out of the folder is none of its own.
func ReadIndex(b []byte) (Index, error) {
	var i Index
	if err := yaml.UnmarshalStrict(b, &i); err != nil {
		return i, fmt.Errorf("reading %s: %w", IndexFile, err)
	}
	if i.Kind != kind || i.APIVersion != plan.APIVersion {
		return i, fmt.Errorf("reading %s: it is %q %q, not %s %s", IndexFile, i.APIVersion, i.Kind, plan.APIVersion, kind)
	}
	for _, f := range i.Files {
		if !filepath.IsLocal(filepath.FromSlash(f)) {
			return i, fmt.Errorf("reading %s: %q leads out of the folder", IndexFile, f)
		}
	}
	return i, nil
}

// stepFiles are the files of a step, each there only where it holds something.
func stepFiles(c plan.Content) ([]File, error) {
	var out []File
	add := func(name string, objects []map[string]any) error {
		if len(objects) == 0 {
			return nil
		}
		b, err := documents(objects)
		out = append(out, File{name, b})
		return err
	}
	if err := add("apply.yaml", c.Apply); err != nil {
		return nil, err
	}
	if err := add("patch.yaml", c.Patch); err != nil {
		return nil, err
	}
	if err := add("remove.yaml", deleted(c.Remove)); err != nil {
		return nil, err
	}
	if c.Values != nil {
		b, err := yaml.Marshal(c.Values.Values)
		if err != nil {
			return nil, fmt.Errorf("writing values: %w", err)
		}
		head := fmt.Sprintf("# Helm values of chart %s %s, release %s\n", c.Values.Chart, c.Values.Version, c.Values.Release)
		if c.Values.Partial {
			head = fmt.Sprintf("# what changes in the Helm values of chart %s; the others stay\n", c.Values.Chart)
		}
		out = append(out, File{"values.yaml", append([]byte(head), b...)})
	}
	return out, nil
}

// deleted are objects as kustomize takes them out.
func deleted(objects []map[string]any) []map[string]any {
	var out []map[string]any
	for _, o := range objects {
		d := map[string]any{"$patch": "delete"}
		maps.Copy(d, o)
		out = append(out, d)
	}
	return out
}

func documents(objects []map[string]any) ([]byte, error) {
	var b bytes.Buffer
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("writing an object: %w", err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.Bytes(), nil
}
