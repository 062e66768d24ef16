package istio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/registry"
	"sigs.k8s.io/yaml"
)

// maxChart bounds what is read from a repository: Istio's charts are below 1 MB,
// its index below 10.
const maxChart = 64 << 20

// index is what serin needs of a Helm repository's index.yaml.
type index struct {
	Entries map[string][]entry `json:"entries"`
}

type entry struct {
	Version string   `json:"version"`
	URLs    []string `json:"urls"`
	Digest  string   `json:"digest"`
}

// fromRepository reads the index once, then the archive, whose digest must be
// the index's. Helm's own downloader wants a cache and a configuration on disk.
func (c *Charts) fromRepository(ctx context.Context, name, version string) (*chart.Chart, error) {
	if c.index == nil {
		raw, err := get(ctx, c.source+"/index.yaml")
		if err != nil {
			return nil, err
		}
		var i index
		if err := yaml.Unmarshal(raw, &i); err != nil {
			return nil, fmt.Errorf("reading the index: %w", err)
		}
		c.index = &i
	}
	n := slices.IndexFunc(c.index.Entries[name], func(e entry) bool { return e.Version == version && len(e.URLs) > 0 })
	if n < 0 {
		return nil, fmt.Errorf("%w: the repository's index has %s", ErrNoChart, c.index.versions(name))
	}
	e := c.index.Entries[name][n]
	base, err := url.Parse(c.source + "/")
	if err != nil {
		return nil, fmt.Errorf("reading the repository's URL: %w", err)
	}
	at, err := base.Parse(e.URLs[0])
	if err != nil {
		return nil, fmt.Errorf("reading the chart's URL: %w", err)
	}
	raw, err := get(ctx, at.String())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); e.Digest != "" && strings.TrimPrefix(e.Digest, "sha256:") != got {
		return nil, fmt.Errorf("reading %s: its digest is %s, the index says %s", at, got, e.Digest)
	}
	return archive(raw)
}

// versions names what there is, the newest of the index first, for the error.
func (i *index) versions(name string) string {
	var vs []string
	for _, e := range i.Entries[name] {
		vs = append(vs, e.Version)
	}
	switch {
	case len(vs) == 0:
		return "no chart of that name"
	case len(vs) > 8:
		return strings.Join(vs[:8], ", ") + ", …"
	}
	return strings.Join(vs, ", ")
}

func get(ctx context.Context, at string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", at, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", at, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading %s: the server says %s", at, res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxChart))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", at, err)
	}
	return raw, nil
}

// fromRegistry pulls the chart from an OCI registry, with the credentials Docker and Helm keep.
func (c *Charts) fromRegistry(_ context.Context, name, version string) (*chart.Chart, error) {
	client, err := registry.NewClient(registry.ClientOptWriter(io.Discard))
	if err != nil {
		return nil, fmt.Errorf("making a registry client: %w", err)
	}
	// OCI tags have no "+": Helm writes it as "_".
	ref := strings.TrimPrefix(c.source, "oci://") + "/" + name + ":" + strings.ReplaceAll(version, "+", "_")
	res, err := client.Pull(ref, registry.PullOptWithChart(true))
	if err != nil {
		return nil, fmt.Errorf("pulling %s: %w", ref, err)
	}
	return archive(res.Chart.Data)
}

func archive(raw []byte) (*chart.Chart, error) {
	ch, err := loader.LoadArchive(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	return ch, nil
}
