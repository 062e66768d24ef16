// Command fields writes internal/fields/fields.txt: what each release of Istio
// reads of Helm values, of an IstioOperator's values and of mesh config, by its
// own sources. They are read as text, out of the Go modules that the lab builds
// from: istio.io/istio (manifests/charts, operator/pkg/apis/values_types.proto)
// and istio.io/api (mesh/v1alpha1).
//
//	cd lab && go run ./cmd/fields > ../internal/fields/fields.txt
package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// node is what is known below a place: nil is anything at all.
type node map[string]node

// lines are the paths of the leaves.
func (n node) lines(at string, add func(string)) {
	if len(n) == 0 {
		add(at)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(n)) {
		n[key].lines(strings.TrimPrefix(at+"."+key, "."), add)
	}
}

// plain is the same without the marks of lists, as charts are known.
func (n node) plain() node {
	if len(n) == 0 {
		return nil
	}
	out := node{}
	for key, below := range n {
		out[strings.TrimSuffix(key, "[]")] = below.plain()
	}
	return out
}

// with is both: what either leaves open stays open.
func (n node) with(other node) node {
	if len(n) == 0 || len(other) == 0 {
		return nil
	}
	out := maps.Clone(n)
	for key, below := range other {
		if is, ok := out[key]; ok {
			below = is.with(below)
		}
		out[key] = below
	}
	return out
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fields: "+err.Error())
		os.Exit(1)
	}
}

func run() error {
	entries, err := os.ReadDir("build/istio")
	if err != nil {
		return fmt.Errorf("finding the releases: %w", err)
	}
	known := map[string][]string{} // scope and path -> releases
	var releases []string
	for _, e := range entries {
		release := e.Name()
		releases = append(releases, release)
		scopes, err := read(filepath.Join("build", "istio", release))
		if err != nil {
			return fmt.Errorf("reading the sources of %s: %w", release, err)
		}
		for scope, n := range scopes {
			n.lines("", func(path string) { known[scope+" "+path] = append(known[scope+" "+path], release) })
		}
	}
	fmt.Println("releases " + strings.Join(releases, " "))
	for _, line := range slices.Sorted(maps.Keys(known)) {
		if len(known[line]) < len(releases) {
			line += " " + strings.Join(known[line], " ")
		}
		fmt.Println(line)
	}
	return nil
}

func module(dir, name string) (string, error) {
	for _, args := range [][]string{{"mod", "download", name}, {"list", "-m", "-f", "{{.Dir}}", name}} {
		cmd := exec.Command("go", args...) //nolint:gosec,noctx // a tool for developers
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("finding %s: %w", name, err)
		}
		if args[0] == "list" {
			return strings.TrimSpace(string(out)), nil
		}
	}
	return "", nil
}

// read is what one release knows.
func read(dir string) (map[string]node, error) {
	istio, err := module(dir, "istio.io/istio")
	if err != nil {
		return nil, err
	}
	api, err := module(dir, "istio.io/api")
	if err != nil {
		return nil, err
	}
	// Order: apart, for both have a ProxyConfig.
	of, err := parse(filepath.Join(istio, "operator/pkg/apis/values_types.proto"))
	if err != nil {
		return nil, err
	}
	config, err := parse(filepath.Join(api, "mesh/v1alpha1/config.proto"), filepath.Join(api, "mesh/v1alpha1/proxy.proto"), filepath.Join(api, "mesh/v1alpha1/network.proto"))
	if err != nil {
		return nil, err
	}
	operator := of.node("Values", nil)
	delete(operator, "meshConfig") // of the scope mesh
	out := map[string]node{"operator": operator, "mesh": config.node("MeshConfig", nil)}
	for name, sub := range map[string]string{"istiod": "istio-control/istio-discovery", "base": "base", "gateway": "gateway"} {
		c, err := chart(filepath.Join(istio, "manifests", "charts", sub))
		if err != nil {
			return nil, err
		}
		delete(c, "meshConfig")
		out[name] = c
	}
	injected(out["istiod"], operator.plain())
	out["gateway"]["global"] = nil // all of it is the same as at the top: zzz_profile.yaml
	return out, nil
}

// injected adds to the chart's tree what injection reads, and no template names in
// full. "cni" is another thing there, and gateways are other charts.
func injected(istiod, operator node) {
	for _, from := range []node{operator, operator["pilot"]} {
		for key, below := range from {
			if is, ok := istiod[key]; key != "cni" && key != "gateways" && (ok || len(below) == 0) {
				istiod[key] = is.with(below)
			}
		}
	}
	istiod["cni"] = istiod["cni"].with(operator["pilot"]["cni"])
	delete(istiod, "pilot") // all of it is the same as at the top: zzy_descope_legacy.yaml
}
