package istio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
)

// Keep sets the record of a deployed release aside, chart and values included, so
// that Restore can bring it back after Uninstall. Without one it keeps nothing:
// what was kept before stays.
func (h *Helm) Keep(ctx context.Context, namespace, name string) error {
	c, err := h.configure(namespace)
	if err != nil {
		return fmt.Errorf("keeping release %s/%s: %w", namespace, name, err)
	}
	rel, err := last(c, name)
	if err != nil {
		return fmt.Errorf("keeping release %s/%s: %w", namespace, name, err)
	}
	if rel == nil || rel.Info.Status != rcommon.StatusDeployed {
		return nil
	}
	if err := h.shelf.put(ctx, rel); err != nil {
		return fmt.Errorf("keeping release %s/%s: %w", namespace, name, err)
	}
	return nil
}

// Restore installs a release as Keep found it, from the record alone: the charts'
// source need not have it any more. The injector named off, if any, is applied
// switched off. What was kept goes at the end; without it, a release that is
// deployed is one that is restored already. So is one that is live and not the one
// that was kept: that record outlived its own upgrade, and nothing was removed since.
func (h *Helm) Restore(ctx context.Context, namespace, name, off string) error {
	if err := h.restore(ctx, namespace, name, off); err != nil {
		return fmt.Errorf("restoring release %s/%s: %w", namespace, name, err)
	}
	return nil
}

func (h *Helm) restore(ctx context.Context, namespace, name, off string) error {
	c, err := h.configure(namespace)
	if err != nil {
		return err
	}
	kept, err := h.shelf.get(ctx, namespace, name)
	if err != nil {
		return err
	}
	if kept == nil {
		rel, err := last(c, name)
		if err == nil && (rel == nil || rel.Info.Status != rcommon.StatusDeployed) {
			err = fmt.Errorf("%w: its record was not kept; install it again with its values", drive.ErrRefused)
		}
		return err
	}
	if lives, err := h.lives(c, kept); err != nil || lives {
		return err
	}
	// What a removal that did not end has left goes first: part of it may be gone.
	if err := h.Uninstall(ctx, namespace, name); err != nil {
		return err
	}
	if err := h.again(ctx, c, kept, off); err != nil {
		return err
	}
	return h.shelf.drop(ctx, namespace, name)
}

// lives says whether the name is a live release's that is not to be replaced: another
// one than was kept, or that one, of which nothing is gone.
func (h *Helm) lives(c *action.Configuration, kept *release.Release) (bool, error) {
	live, err := deployed(c, kept.Name)
	if err != nil || live == nil || kept.Info == nil {
		return false, err
	}
	if live.Version != kept.Version || live.Info == nil || !live.Info.FirstDeployed.Equal(kept.Info.FirstDeployed) {
		return true, nil
	}
	// A removal deletes webhooks before Helm hears of it.
	return h.whole(c, live.Manifest)
}

// deployed is the revision of a release that runs, nil if there is none or it is being
// removed.
func deployed(c *action.Configuration, name string) (*release.Release, error) {
	rel, err := last(c, name)
	if err != nil || rel == nil || rel.Info == nil || rel.Info.Status == rcommon.StatusDeployed {
		return rel, err
	}
	if rel.Info.Status == rcommon.StatusUninstalling || rel.Info.Status == rcommon.StatusUninstalled {
		return nil, nil //nolint:nilnil // none is an answer
	}
	below, err := c.Releases.Deployed(name) // an upgrade that has failed, or has not ended
	if errors.Is(err, driver.ErrNoDeployedReleases) {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("reading release %s: %w", name, err)
	}
	rel, _ = below.(*release.Release)
	return rel, nil
}

// allThere says whether each object of a manifest is in the cluster.
func allThere(c *action.Configuration, manifest string) (bool, error) {
	list, err := c.KubeClient.Build(strings.NewReader(manifest), false)
	if err != nil {
		return false, fmt.Errorf("reading its objects: %w", err)
	}
	for _, o := range list {
		err := o.Get()
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("looking for %s: %w", o.ObjectName(), err)
		}
	}
	return true, nil
}

func (h *Helm) again(ctx context.Context, c *action.Configuration, kept *release.Release, off string) error {
	in := action.NewInstall(c)
	in.ReleaseName, in.Namespace = kept.Name, kept.Namespace
	in.WaitStrategy = kube.HookOnlyStrategy
	in.SkipSchemaValidation = unchecked(kept.Chart)
	in.ServerSideApply = kept.ApplyMethod == string(release.ApplyMethodServerSideApply)
	in.PostRenderer = silenced{keepLive: h.keeping(context.WithoutCancel(ctx)), injector: off}
	if strings.Contains(kept.Manifest, mesh.ProvenGate) {
		in.PostRenderer = held{} // it comes back as it was made: out of the Service (S-29)
	}
	_, err := in.RunWithContext(context.WithoutCancel(ctx), kept.Chart, copyValues(kept.Config))
	return err
}

// silenced is a post-renderer that also switches an injector off: the tag that
// stands in for it leads to another revision, and pods would have two (S-1).
type silenced struct {
	keepLive

	injector string
}

// Run gives each entry of the injector selectors that match nothing (R§2.3).
func (s silenced) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	in, err := s.keepLive.Run(in)
	if err != nil || s.injector == "" {
		return in, err
	}
	nodes, err := kio.FromBytes(in.Bytes())
	if err != nil {
		return nil, fmt.Errorf("reading the rendered objects: %w", err)
	}
	for _, n := range nodes {
		if n.GetKind() != "MutatingWebhookConfiguration" || n.GetName() != s.injector {
			continue
		}
		hooks, err := n.Pipe(kyaml.Lookup("webhooks"))
		if err == nil && hooks != nil {
			err = hooks.VisitElements(deafen)
		}
		if err != nil {
			return nil, fmt.Errorf("switching injector %s off: %w", s.injector, err)
		}
	}
	out, err := kio.StringAll(nodes)
	if err != nil {
		return nil, fmt.Errorf("writing the rendered objects: %w", err)
	}
	return bytes.NewBufferString(out), nil
}

// deafen lets a webhook's entry match nothing.
func deafen(entry *kyaml.RNode) error {
	for _, field := range []string{"namespaceSelector", "objectSelector"} {
		never, err := kyaml.Parse("matchLabels: {" + mesh.Deactivated + ": never-match}")
		if err != nil {
			return err
		}
		if err := entry.PipeE(kyaml.SetField(field, never)); err != nil {
			return err
		}
	}
	return nil
}

// shelf is where Keep sets a release's record aside.
type shelf interface {
	put(ctx context.Context, rel *release.Release) error
	get(ctx context.Context, namespace, name string) (*release.Release, error) // nil if there is none
	drop(ctx context.Context, namespace, name string) error
}

// Kept returns the release that Keep set aside, without its values, and the objects
// that restoring it would make, the injector named off switched off; none where
// nothing is kept.
func (h *Helm) Kept(ctx context.Context, namespace, name, off string) (mesh.Release, []unstructured.Unstructured, error) {
	kept, err := h.shelf.get(ctx, namespace, name)
	if err != nil || kept == nil {
		return mesh.Release{}, nil, err
	}
	manifest, err := silenced{keepLive: keepLive{fails: func(string) (bool, error) { return false, nil }}, injector: off}.Run(bytes.NewBufferString(kept.Manifest))
	if err != nil {
		return mesh.Release{}, nil, err
	}
	objects, err := parse(manifest.String())
	if err != nil {
		return mesh.Release{}, nil, fmt.Errorf("reading what was kept of release %s/%s: %w", namespace, name, err)
	}
	for i, o := range objects {
		objects[i].SetNamespace(namespaceOf(o, namespace))
	}
	r := asRelease(kept)
	r.Values = nil
	return r, objects, nil
}
