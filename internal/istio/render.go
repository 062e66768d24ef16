package istio

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/mesh"
)

// render returns the objects that a release would hold, without a cluster.
func (h *Helm) render(ctx context.Context, want mesh.Release) ([]unstructured.Unstructured, error) {
	ch, err := h.charts.Load(ctx, want.Chart, want.Version)
	if err != nil {
		return nil, err
	}
	return rendered(ctx, quiet(), ch, want)
}

// Manifest is what an install of the release would hold, as YAML. On the server it
// is a dry run of the install, with all that the API server and its webhooks say.
func (h *Helm) Manifest(ctx context.Context, want mesh.Release, server bool) ([]byte, error) { //nolint:revive // where, not a mode
	ch, err := h.charts.Load(ctx, want.Chart, want.Version)
	if err != nil {
		return nil, fmt.Errorf("rendering release %s/%s: %w", want.Namespace, want.Name, err)
	}
	c := quiet()
	if server {
		if c, err = h.configure(want.Namespace); err != nil {
			return nil, fmt.Errorf("rendering release %s/%s: %w", want.Namespace, want.Name, err)
		}
	}
	in := action.NewInstall(c)
	in.ReleaseName, in.Namespace = want.Name, want.Namespace
	in.DryRunStrategy = action.DryRunClient
	if server {
		in.DryRunStrategy = action.DryRunServer
	}
	in.IncludeCRDs = true
	in.SkipSchemaValidation = unchecked(ch)
	r, err := in.RunWithContext(ctx, ch, copyValues(want.Values))
	if err != nil {
		return nil, fmt.Errorf("rendering release %s/%s: %w", want.Namespace, want.Name, err)
	}
	rel, ok := r.(*release.Release)
	if !ok {
		return nil, fmt.Errorf("rendering release %s/%s: Helm returns a %T", want.Namespace, want.Name, r)
	}
	return []byte(rel.Manifest), nil
}

func quiet() *action.Configuration {
	return action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
}

// rendered renders on the client: a server-side dry run would need the release's
// permissions before there is anything to decide.
func rendered(ctx context.Context, c *action.Configuration, ch *chart.Chart, want mesh.Release) ([]unstructured.Unstructured, error) {
	in := action.NewInstall(c)
	in.ReleaseName, in.Namespace = want.Name, want.Namespace
	in.DryRunStrategy = action.DryRunClient
	in.IncludeCRDs = true
	in.SkipSchemaValidation = unchecked(ch)
	r, err := in.RunWithContext(ctx, ch, copyValues(want.Values))
	if err != nil {
		return nil, fmt.Errorf("rendering chart %s %s: %w", want.Chart, want.Version, err)
	}
	rel, ok := r.(*release.Release)
	if !ok {
		return nil, fmt.Errorf("rendering chart %s %s: Helm returns a %T", want.Chart, want.Version, r)
	}
	return parse(rel.Manifest)
}

// parse reads the objects of a manifest, in a fixed order. As in istioctl, a text
// that ends an object has no newline at its own end.
func parse(manifest string) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, doc := range releaseutil.SplitManifests(manifest) {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(strings.TrimSpace(doc)), &o); err != nil {
			return nil, fmt.Errorf("reading a rendered object: %w", err)
		}
		if len(o) > 0 {
			out = append(out, unstructured.Unstructured{Object: o})
		}
	}
	slices.SortFunc(out, func(a, b unstructured.Unstructured) int { return strings.Compare(identity(a, ""), identity(b, "")) })
	return out, nil
}

// clusterKinds are the kinds of Istio's charts that have no namespace.
func clusterKinds() []string {
	return []string{
		"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "GatewayClass", "Namespace",
	}
}

func namespaceOf(o unstructured.Unstructured, fallback string) string {
	switch {
	case slices.Contains(clusterKinds(), o.GetKind()):
		return ""
	case o.GetNamespace() != "":
		return o.GetNamespace()
	}
	return fallback
}

func identity(o unstructured.Unstructured, fallback string) string {
	return o.GetKind() + " " + strings.TrimPrefix(namespaceOf(o, fallback)+"/"+o.GetName(), "/")
}

// unshared refuses a release that would hold an object of another release of the
// namespace (S-15): the next upgrade of either would undo the other, and the
// removal of one would take the other's. Helm itself looks only at what is live.
func (h *Helm) unshared(ctx context.Context, c *action.Configuration, ch *chart.Chart, want mesh.Release) error {
	objs, err := rendered(ctx, quiet(), ch, want)
	if err != nil {
		return err
	}
	mine := map[string]bool{}
	for _, o := range objs {
		mine[identity(o, want.Namespace)] = true
	}
	list := action.NewList(c)
	list.StateMask = action.ListDeployed | action.ListFailed | action.ListPendingInstall | action.ListPendingUpgrade
	rels, err := list.Run()
	if err != nil {
		return fmt.Errorf("listing the releases of %s: %w", want.Namespace, err)
	}
	var shared []string
	for _, r := range rels {
		rel, ok := r.(*release.Release)
		if !ok || rel.Name == want.Name || rel.Info.Status == rcommon.StatusUninstalled {
			continue
		}
		theirs, err := parse(rel.Manifest)
		if err != nil {
			return fmt.Errorf("reading the manifest of release %s: %w", rel.Name, err)
		}
		for _, o := range theirs {
			if id := identity(o, rel.Namespace); mine[id] {
				shared = append(shared, id+" (release "+rel.Name+")")
			}
		}
	}
	if len(shared) > 0 {
		return fmt.Errorf("it would share with other releases: %s: %w", strings.Join(shared, ", "), ErrForeign)
	}
	return nil
}
