package istio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

// DefaultCharts is where Istio publishes its charts.
const DefaultCharts = "https://istio-release.storage.googleapis.com/charts"

// ErrNoChart says that the source has no such chart or version.
var ErrNoChart = errors.New("no such chart")

// Charts loads Istio's charts from one source and keeps what it has loaded. It
// may be used by several goroutines.
type Charts struct {
	source string
	fetch  func(ctx context.Context, name, version string) (*chart.Chart, error)
	mu     sync.Mutex
	loaded map[string]*chart.Chart
	index  *index
}

// NewCharts returns the charts of a source: a Helm repository (http, https), an
// OCI registry (oci://host/path) or a directory. Empty is Istio's own repository.
// Nothing is read before the first Load.
func NewCharts(source string) *Charts {
	if source == "" {
		source = DefaultCharts
	}
	c := &Charts{source: strings.TrimSuffix(source, "/"), loaded: map[string]*chart.Chart{}}
	switch {
	case strings.HasPrefix(source, "oci://"):
		c.fetch = c.fromRegistry
	case strings.HasPrefix(source, "http://"), strings.HasPrefix(source, "https://"):
		c.fetch = c.fromRepository
	default:
		c.fetch = c.fromDirectory
	}
	return c
}

// Source is where the charts come from.
func (c *Charts) Source() string { return c.source }

// Load returns the chart base, istiod or gateway of a release.
func (c *Charts) Load(ctx context.Context, name, version string) (*chart.Chart, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := name + " " + version
	ch, ok := c.loaded[key]
	if !ok {
		var err error
		if ch, err = c.fetch(ctx, name, version); err != nil {
			return nil, fmt.Errorf("loading chart %s %s from %s: %w", name, version, c.source, err)
		}
		if ch.Metadata == nil || ch.Metadata.Name != name || ch.Metadata.Version != version {
			return nil, fmt.Errorf("loading chart %s %s from %s: it holds %s", name, version, c.source, describe(ch))
		}
		c.loaded[key] = ch
	}
	return ownCopy(ch), nil
}

func describe(ch *chart.Chart) string {
	if ch.Metadata == nil {
		return "a chart without a name"
	}
	return ch.Metadata.Name + " " + ch.Metadata.Version
}

// ownCopy gives each caller values of its own: Helm writes into a chart's values
// when it merges the user's.
func ownCopy(ch *chart.Chart) *chart.Chart {
	out := *ch
	out.Values = copyValues(ch.Values)
	return &out
}

// archived is where Istio's own archive has charts that are not in a directory of
// their name. The rendered gateways' are nowhere else.
func archived() map[string]string {
	return map[string]string{
		"istiod": filepath.Join("istio-control", "istio-discovery"), "cni": "istio-cni",
		"istio-ingress": filepath.Join("gateways", "istio-ingress"), "istio-egress": filepath.Join("gateways", "istio-egress"),
	}
}

// fromDirectory looks for what a directory of charts may hold: name-version.tgz,
// a chart in name, or one in name-version, and the layout of Istio's own archive.
func (c *Charts) fromDirectory(_ context.Context, name, version string) (*chart.Chart, error) {
	candidates := []string{name + "-" + version + ".tgz", name + "-" + version, name, filepath.Join(version, name)}
	if in, ok := archived()[name]; ok {
		candidates = append(candidates, in)
	}
	found := ""
	for _, n := range candidates {
		path := filepath.Join(c.source, n)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		ch, err := loader.Load(path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if ch.Metadata.Name == name && ch.Metadata.Version == version {
			return ch, nil
		}
		found = "; it has " + describe(ch) + " in " + n
	}
	return nil, fmt.Errorf("%w as %s in the directory%s", ErrNoChart, strings.Join(candidates, ", "), found)
}
