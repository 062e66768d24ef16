package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// charts are the charts that are served, by their directory in Istio's source.
func charts() map[string]string {
	return map[string]string{"base": "base", "gateway": "gateway", "istiod": "istio-control/istio-discovery"}
}

// Charts returns a directory that holds a Helm repository of the releases: chart
// archives and their index.
func (b *Builder) Charts(ctx context.Context, versions []string) (string, error) {
	dir := filepath.Join(b.cache, "charts")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("packaging charts: %w", err)
	}
	for _, v := range versions {
		if err := b.known(v); err != nil {
			return "", err
		}
		missing := false
		for name := range charts() {
			if _, err := os.Stat(filepath.Join(dir, name+"-"+v+".tgz")); err != nil {
				missing = true
			}
		}
		if !missing {
			continue
		}
		src, err := b.istioSource(ctx, v)
		if err != nil {
			return "", fmt.Errorf("packaging the charts of %s: %w", v, err)
		}
		for name, sub := range charts() {
			archive, err := Package(filepath.Join(src, "manifests", "charts", sub), name, v)
			if err != nil {
				return "", fmt.Errorf("packaging the chart %s %s: %w", name, v, err)
			}
			if err := replaceFile(filepath.Join(dir, name+"-"+v+".tgz"), archive); err != nil {
				return "", fmt.Errorf("packaging the chart %s %s: %w", name, v, err)
			}
		}
	}
	return dir, nil
}

// istioSource is the directory of Istio's module, downloaded if it must be.
func (b *Builder) istioSource(ctx context.Context, version string) (string, error) {
	module := filepath.Join(b.source, "istio", version)
	if out, err := goCommand(ctx, module, "mod", "download", "istio.io/istio").CombinedOutput(); err != nil {
		return "", fmt.Errorf("downloading istio.io/istio: %w: %s", err, bytes.TrimSpace(out))
	}
	out, err := goCommand(ctx, module, "list", "-m", "-f", "{{.Dir}}", "istio.io/istio").Output()
	if err != nil {
		return "", fmt.Errorf("finding istio.io/istio: %w", err)
	}
	return string(bytes.TrimSpace(out)), nil
}

// Package makes the archive of the chart in dir as the release's own build does:
// the source says version 1.0.0 and a testing hub.
func Package(dir, name, version string) ([]byte, error) {
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return fmt.Errorf("naming %s: %w", path, err)
		}
		data, err := os.ReadFile(path) //nolint:gosec // a file of the chart
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		data = stamp(rel, data, version)
		h := &tar.Header{Name: name + "/" + filepath.ToSlash(rel), Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("archiving %s: %w", rel, err)
		}
		if _, err := tw.Write(data); err != nil {
			return fmt.Errorf("archiving %s: %w", rel, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the chart: %w", err)
	}
	if err := tw.Close(); err != nil {
		return nil, fmt.Errorf("closing the archive: %w", err)
	}
	if err := gz.Close(); err != nil {
		return nil, fmt.Errorf("closing the archive: %w", err)
	}
	return out.Bytes(), nil
}

// stamp says which release a file of a chart belongs to.
func stamp(rel string, data []byte, version string) []byte {
	switch rel {
	case "Chart.yaml":
		return regexp.MustCompile(`(?m)^(version|appVersion): .*$`).ReplaceAll(data, []byte("${1}: "+version))
	case "values.yaml":
		data = regexp.MustCompile(`(?m)^(\s+hub:) gcr\.io/istio-testing$`).ReplaceAll(data, []byte("${1} docker.io/istio"))
		return regexp.MustCompile(`(?m)^(\s+tag:) latest$`).ReplaceAll(data, []byte("${1} "+version))
	}
	return data
}

// Index is the index.yaml of a directory of chart archives for these versions.
func Index(dir string, versions []string) ([]byte, error) {
	entries := map[string][]map[string]any{}
	versions = slices.Clone(versions)
	slices.Sort(versions)
	slices.Reverse(versions)
	versions = slices.Compact(versions)
	for name := range charts() {
		for _, v := range versions {
			file := name + "-" + v + ".tgz"
			data, err := os.ReadFile(filepath.Join(dir, file)) //nolint:gosec // an archive we made
			if err != nil {
				return nil, fmt.Errorf("indexing %s: %w", file, err)
			}
			sum := sha256.Sum256(data)
			entries[name] = append(entries[name], map[string]any{
				"apiVersion": "v2", "name": name, "version": v, "appVersion": v, "digest": hex.EncodeToString(sum[:]),
				"urls": []string{file}, "created": "2026-01-01T00:00:00Z",
			})
		}
	}
	out, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "generated": "2026-01-01T00:00:00Z", "entries": entries})
	if err != nil {
		return nil, fmt.Errorf("writing the index: %w", err)
	}
	return out, nil
}

func replaceFile(path string, data []byte) error {
	tmp := path + "." + strings.ReplaceAll(time.Now().Format("150405.000000"), ".", "-")
	if err := os.WriteFile(tmp, data, 0o644); err != nil { //nolint:gosec // charts are public
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// Archive packages all charts of a release into dir, those too that only Istio's
// own archive and istioctl have.
func (b *Builder) Archive(ctx context.Context, version, dir string) error {
	if err := b.known(version); err != nil {
		return err
	}
	src, err := b.istioSource(ctx, version)
	if err != nil {
		return fmt.Errorf("packaging the charts of %s: %w", version, err)
	}
	all := maps.Clone(charts())
	maps.Copy(all, map[string]string{"cni": "istio-cni", "ztunnel": "ztunnel", "istio-ingress": "gateways/istio-ingress", "istio-egress": "gateways/istio-egress"})
	for name, sub := range all {
		archive, err := Package(filepath.Join(src, "manifests", "charts", sub), name, version)
		if err != nil {
			return fmt.Errorf("packaging the chart %s %s: %w", name, version, err)
		}
		if err := replaceFile(filepath.Join(dir, name+"-"+version+".tgz"), archive); err != nil {
			return fmt.Errorf("packaging the chart %s %s: %w", name, version, err)
		}
	}
	return nil
}
