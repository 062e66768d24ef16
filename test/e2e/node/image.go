//go:build linux

package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// image is a container image to be assembled from files of this machine.
type image struct {
	name       string
	user       string
	entrypoint string
	base       string            // archive of a root file system, "" for none
	files      map[string]string // path in the image by path here
}

// write makes the archive that containerd imports: one layer of the files, over
// the base if there is one.
func (i image) write(to string) error {
	out, err := os.Create(to + ".part") //nolint:gosec // in the cache
	if err != nil {
		return fmt.Errorf("making image %s: %w", i.name, err)
	}
	defer func() { _ = os.Remove(to + ".part"); _ = out.Close() }()
	top, err := i.layer()
	if err != nil {
		return fmt.Errorf("making image %s: %w", i.name, err)
	}
	tw := tar.NewWriter(out)
	var layers, ids []string
	add := func(size int64, open func() (io.ReadCloser, error)) error {
		id, err := addLayer(tw, size, open)
		layers, ids = append(layers, id+".tar"), append(ids, "sha256:"+id)
		return err
	}
	if i.base != "" {
		info, err := os.Stat(i.base)
		if err != nil {
			return fmt.Errorf("making image %s: %w", i.name, err)
		}
		if err := add(info.Size(), func() (io.ReadCloser, error) { return os.Open(i.base) }); err != nil {
			return fmt.Errorf("making image %s: %w", i.name, err)
		}
	}
	if err := add(int64(len(top)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(top)), nil }); err != nil {
		return fmt.Errorf("making image %s: %w", i.name, err)
	}
	if err := i.index(tw, layers, ids); err != nil {
		return fmt.Errorf("making image %s: %w", i.name, err)
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("making image %s: %w", i.name, err)
	}
	if err := os.Rename(to+".part", to); err != nil {
		return fmt.Errorf("making image %s: %w", i.name, err)
	}
	return nil
}

// addLayer writes a layer and returns its digest, which is its name: so it is read twice.
func addLayer(tw *tar.Writer, size int64, open func() (io.ReadCloser, error)) (string, error) {
	sum := sha256.New()
	for _, to := range []io.Writer{sum, tw} {
		if to == io.Writer(tw) {
			h := &tar.Header{Name: hex.EncodeToString(sum.Sum(nil)) + ".tar", Mode: 0o644, Size: size}
			if err := tw.WriteHeader(h); err != nil {
				return "", fmt.Errorf("writing a layer: %w", err)
			}
		}
		r, err := open()
		if err != nil {
			return "", fmt.Errorf("reading a layer: %w", err)
		}
		_, err = io.Copy(to, r)
		_ = r.Close()
		if err != nil {
			return "", fmt.Errorf("writing a layer: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// index writes the image's configuration and the archive's manifest.
func (i image) index(tw *tar.Writer, layers, ids []string) error {
	config, err := json.Marshal(map[string]any{
		"architecture": arch(), "os": "linux",
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
		"config": map[string]any{
			"User": i.user, "Entrypoint": []string{i.entrypoint},
			"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
	})
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{i.name}, "Layers": layers}})
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"config.json", config}, {"manifest.json", manifest}} {
		if err := addFile(tw, f.name, 0o644, f.data); err != nil {
			return err
		}
	}
	return nil
}

// layer is the layer of the image's own files.
func (i image) layer() ([]byte, error) {
	var out bytes.Buffer
	l := &layer{tw: tar.NewWriter(&out), seen: map[string]bool{".": true}}
	for _, d := range []string{"etc", "run", "var", "tmp"} {
		if err := l.dir(d); err != nil {
			return nil, err
		}
	}
	if err := addFile(l.tw, "etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/x\nistio-proxy:x:1337:1337::/home:/x\n")); err != nil {
		return nil, err
	}
	for _, from := range keys(i.files) {
		if err := l.copy(from, i.files[from]); err != nil {
			return nil, err
		}
	}
	if err := l.tw.Close(); err != nil {
		return nil, fmt.Errorf("closing the layer: %w", err)
	}
	return out.Bytes(), nil
}

// layer is an archive that is being written, and the directories it has.
type layer struct {
	tw   *tar.Writer
	seen map[string]bool
}

// dir adds a directory and those above it.
func (l *layer) dir(name string) error {
	if l.seen[name] {
		return nil
	}
	if err := l.dir(path.Dir(name)); err != nil {
		return err
	}
	l.seen[name] = true
	mode := int64(0o755)
	if name == "tmp" {
		mode = 0o1777
	}
	if err := l.tw.WriteHeader(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode}); err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	return nil
}

// copy adds a program or another file of this machine.
func (l *layer) copy(from, to string) error {
	if err := l.dir(path.Dir(to)); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Clean(from))
	if err != nil {
		return fmt.Errorf("adding %s: %w", to, err)
	}
	return addFile(l.tw, to, 0o755, data)
}

func addFile(tw *tar.Writer, name string, mode int64, data []byte) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	if _, err := tw.Write(data); err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	return nil
}
