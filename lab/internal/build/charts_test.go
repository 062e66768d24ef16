package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/lab/internal/build"
)

// unpack is an archive's files.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(data)
	}
}

func TestPackage_belongsToTheRelease(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":            "apiVersion: v2\nname: istiod\n# version: x\nversion: 1.0.0\nappVersion: 1.0.0\ndescription: none",
		"values.yaml":           "_internal_defaults_do_not_set:\n  hub: \"\"\n  global:\n    hub: gcr.io/istio-testing\n    # which\n    tag: latest\n",
		"templates/deploy.yaml": "tag: latest\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive, err := build.Package(dir, "istiod", "1.29.1")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"istiod/Chart.yaml":            "apiVersion: v2\nname: istiod\n# version: x\nversion: 1.29.1\nappVersion: 1.29.1\ndescription: none",
		"istiod/values.yaml":           "_internal_defaults_do_not_set:\n  hub: \"\"\n  global:\n    hub: docker.io/istio\n    # which\n    tag: 1.29.1\n",
		"istiod/templates/deploy.yaml": "tag: latest\n",
	}
	if d := cmp.Diff(want, unpack(t, archive)); d != "" {
		t.Errorf("archive (-want +got):\n%s", d)
	}
	again, err := build.Package(dir, "istiod", "1.29.1")
	if err != nil || !bytes.Equal(archive, again) {
		t.Errorf("the same chart gave another archive (%v)", err)
	}
}

func TestIndex_listsTheNewestFirst(t *testing.T) {
	dir := t.TempDir()
	for _, chart := range []string{"base", "gateway", "istiod"} {
		for _, v := range []string{"1.27.0", "1.29.1"} {
			if err := os.WriteFile(filepath.Join(dir, chart+"-"+v+".tgz"), []byte(chart+v), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	index, err := build.Index(dir, []string{"1.27.0", "1.29.1", "1.27.0"})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(index), "istiod-1."); n != 2 {
		t.Errorf("istiod is there %d times, want 2:\n%s", n, index)
	}
	if strings.Index(string(index), "istiod-1.29.1.tgz") > strings.Index(string(index), "istiod-1.27.0.tgz") {
		t.Errorf("the newest is not first:\n%s", index)
	}
	if _, err := build.Index(dir, []string{"1.0.0"}); err == nil {
		t.Error("a chart that is not there was indexed")
	}
}
