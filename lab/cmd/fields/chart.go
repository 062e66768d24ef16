package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// internal is where Istio's charts keep their defaults.
const internal = "_internal_defaults_do_not_set"

// chart is what a chart reads: its own values, its schema, and what its templates name.
func chart(dir string) (node, error) {
	b, err := os.ReadFile(filepath.Join(dir, "values.yaml")) //nolint:gosec // a file of a module
	if err != nil {
		return nil, fmt.Errorf("reading values: %w", err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(b, &values); err != nil {
		return nil, fmt.Errorf("reading values of %s: %w", dir, err)
	}
	out := treeOf(values)
	if defaults, ok := values[internal].(map[string]any); ok {
		delete(out, internal)
		if len(out) == 0 {
			out = treeOf(defaults)
		} else {
			out = out.with(treeOf(defaults))
		}
	}
	out[internal] = nil
	for _, key := range []string{"profile", "platform", "compatibilityVersion"} { // zzz_profile.yaml, by coalesce
		out[key] = nil
	}
	if err := schema(dir, out); err != nil {
		return nil, err
	}
	err = templates(dir, out)
	for _, key := range []string{"_original", "defaults"} { // the chart's own doing, and what it refuses
		delete(out, key)
	}
	return out, err
}

// free are keys below which users choose the names.
var free = regexp.MustCompile(`(?i)(labels|annotations|selector|context)$|^(env|resources|limits|requests)$`)

// treeOf are the keys of values: an empty map or a list is open.
func treeOf(values map[string]any) node {
	out := node{}
	for key, v := range values {
		below, _ := v.(map[string]any)
		out[key] = nil
		if len(below) > 0 && !free.MatchString(key) {
			out[key] = treeOf(below)
		}
	}
	return out
}

func schema(dir string, to node) error {
	b, err := os.ReadFile(filepath.Join(dir, "values.schema.json")) //nolint:gosec // a file of a module
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a schema: %w", err)
	}
	var s struct {
		Defs struct {
			Values struct {
				Properties map[string]any `json:"properties"`
			} `json:"values"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("reading the schema of %s: %w", dir, err)
	}
	for key := range s.Defs.Values.Properties {
		if _, ok := to[key]; !ok {
			to[key] = nil
		}
	}
	return nil
}

var reference = regexp.MustCompile(`((?:with|range|toYaml|:=)\s+[($]*)?\.Values\)?((?:\.[A-Za-z_]\w*)+)`)

// templates adds what templates, and the files that they include, name in full.
func templates(dir string, to node) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(filepath.Base(path), "values") {
			return err
		}
		b, err := os.ReadFile(path) //nolint:gosec // a file of a module
		if err != nil {
			return err
		}
		for _, found := range reference.FindAllStringSubmatch(string(b), -1) {
			name(to, strings.Split(strings.TrimPrefix(found[2], "."), "."), found[1] != "")
		}
		return nil
	})
}

// name adds a path. What is open already stays so, and what is taken as a whole becomes it.
func name(to node, path []string, whole bool) {
	below, ok := to[path[0]]
	switch {
	case len(path) == 1 && (!ok || whole):
		to[path[0]] = nil
	case !ok:
		below = node{}
		to[path[0]] = below
		name(below, path[1:], whole)
	case len(path) > 1 && len(below) > 0:
		name(below, path[1:], whole)
	}
}
