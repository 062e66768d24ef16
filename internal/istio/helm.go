package istio

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
)

// ErrForeign says that Helm has something under the name that serin did not put
// there and must not touch: trying again is no use.
var ErrForeign = fmt.Errorf("%w: it is not serin's", drive.ErrRefused)

// maxHistory is how many revisions of a release are kept, as Helm's own command keeps them.
const maxHistory = 10

// Helm installs, upgrades and removes releases as the helm command does, in the
// same storage and under the same field manager: afterwards nobody can tell who
// ran it, and the user's next "helm upgrade" meets no conflict (S-17).
//
// Each call may be repeated after a crash at any of its requests (S-49): a
// release that a killed process left pending is taken over if it is what is
// being asked for, and refused if it is not.
type Helm struct {
	charts    *Charts
	configure func(namespace string) (*action.Configuration, error)
	// fails says whether a live validator's policy is Fail; see keepLive
	fails func(ctx context.Context, validator string) (bool, error)
	// whole says whether all that a manifest holds is there
	whole func(c *action.Configuration, manifest string) (bool, error)
	shelf shelf
}

// NewHelm returns Helm for a cluster, with charts from a source.
func NewHelm(cfg *rest.Config, charts *Charts) *Helm {
	claimFieldManager()
	own := rest.CopyConfig(cfg)
	own.WarningHandler = rest.NoWarnings{}
	if own.QPS == 0 {
		own.QPS = -1 // five a second otherwise: a chart of fifty objects would take ten seconds
	}
	return &Helm{
		charts:    charts,
		configure: func(namespace string) (*action.Configuration, error) { return configured(own, namespace) },
		fails:     func(ctx context.Context, validator string) (bool, error) { return liveFails(ctx, own, validator) },
		whole:     allThere,
		shelf:     secrets{cfg: own},
	}
}

// claimFieldManager makes Helm's fields Helm's. Without it they belong to a
// manager named like the binary, and the user's own helm, which applies on the
// server, conflicts with it on every field.
//
//nolint:gochecknoglobals // Helm's setting is a global of its package: set it once
var claimFieldManager = sync.OnceFunc(func() { kube.ManagedFieldsManager = "helm" })

// configured returns Helm's configuration for a namespace. It is new each time:
// its discovery cache must not outlive a CRD upgrade.
func configured(cfg *rest.Config, namespace string) (*action.Configuration, error) {
	c := quiet()
	if err := c.Init(&getter{cfg: cfg, namespace: namespace}, namespace, "secret"); err != nil {
		return nil, fmt.Errorf("reaching Helm's storage in %s: %w", namespace, err)
	}
	if kc, ok := c.KubeClient.(*kube.Client); ok {
		kc.Namespace = namespace
	}
	return c, nil
}

// last is the newest revision of a release, nil if there is none.
func last(c *action.Configuration, name string) (*release.Release, error) {
	r, err := c.Releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil //nolint:nilnil // no release is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("reading release %s: %w", name, err)
	}
	rel, ok := r.(*release.Release)
	if !ok {
		return nil, fmt.Errorf("reading release %s: Helm stores it as %T, which serin does not know", name, r)
	}
	return rel, nil
}

// Get returns a release with its values as they are stored, unmasked. The last
// revision that was deployed counts: one that is pending or failed is not what runs.
func (h *Helm) Get(_ context.Context, namespace, name string) (mesh.Release, bool, error) {
	c, err := h.configure(namespace)
	if err != nil {
		return mesh.Release{}, false, err
	}
	rel, err := last(c, name)
	if err != nil || rel == nil {
		return mesh.Release{}, false, err
	}
	if rel.Info.Status != rcommon.StatusDeployed {
		if d, err := c.Releases.Deployed(name); err == nil {
			if deployed, ok := d.(*release.Release); ok {
				rel = deployed
			}
		}
	}
	return asRelease(rel), true, nil
}

func asRelease(r *release.Release) mesh.Release {
	out := mesh.Release{Namespace: r.Namespace, Name: r.Name, Values: copyValues(r.Config)}
	if r.Info != nil {
		out.Status = r.Info.Status.String()
	}
	if r.Chart != nil && r.Chart.Metadata != nil {
		out.Chart, out.Version = r.Chart.Metadata.Name, r.Chart.Metadata.Version
	}
	return out
}

// unchecked says whether the chart's values schema is left out: that of the
// gateway chart refuses what the chart itself and Helm put into its values.
func unchecked(ch *chart.Chart) bool { return ch.Metadata.Name == "gateway" }

// Objects lists what a release's last revision holds, by its manifest. Without
// the release there is nothing.
func (h *Helm) Objects(_ context.Context, namespace, name string) ([]mesh.Object, error) {
	c, err := h.configure(namespace)
	if err != nil {
		return nil, err
	}
	rel, err := last(c, name)
	if err != nil || rel == nil {
		return nil, err
	}
	objs, err := parse(rel.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest of release %s/%s: %w", namespace, name, err)
	}
	var out []mesh.Object
	for _, o := range objs {
		out = append(out, mesh.Object{
			Kind: o.GetKind(), Namespace: namespaceOf(o, namespace), Name: o.GetName(), Revision: o.GetLabels()[mesh.RevLabel], Note: o.GetLabels()[mesh.TagLabel],
		})
	}
	return out, nil
}

// crdKind is that of CustomResourceDefinitions.
func crdKind() schema.GroupKind {
	return schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
}

// CRDs names the custom resource definitions that a chart brings.
func (h *Helm) CRDs(ctx context.Context, want mesh.Release) ([]string, error) {
	objs, err := h.render(ctx, want)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, o := range objs {
		if o.GroupVersionKind().GroupKind() == crdKind() {
			out = append(out, o.GetName())
		}
	}
	return out, nil
}
