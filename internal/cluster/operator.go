package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// operatorManager is the field manager of istioctl's own installs: what serin
// makes in its place the user's next istioctl changes without a conflict (S-17).
const operatorManager = "istio-operator"

// baseComponent is what every revision shares.
const baseComponent = "Base"

// document is the IstioOperator to install from: the user's, or the old
// revision's values, cleaned (S-15). Its size is at least the old one's (S-16).
func (w *Writer) document(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot, revision string) (map[string]any, error) {
	old, has := before.ControlPlane(st.From)
	if given := p.Request.Operator; given != nil {
		return w.forRevision(given, revision, max(old.Ready, old.Replicas))
	}
	if !has {
		return nil, refused("there is neither an IstioOperator file nor a revision to carry values over from")
	}
	values, _, err := w.carried(ctx, old)
	if err != nil {
		return nil, err
	}
	if values == nil {
		return nil, refused("revision %s keeps no values in the cluster: give its IstioOperator file", st.From)
	}
	values = w.releases.RevisionValues(withoutBuild(values), p.Request.Values, revision, max(old.Ready, old.Replicas))
	return map[string]any{
		"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator",
		"spec": map[string]any{"profile": "minimal", "values": values},
	}, nil
}

// forRevision is the user's document for a revision. In place of another one it
// gets at least its size; by itself the document says how many there are.
func (w *Writer) forRevision(given map[string]any, revision string, replicas int) (map[string]any, error) {
	b, err := json.Marshal(given)
	if err != nil {
		return nil, fmt.Errorf("reading the IstioOperator: %w", err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("reading the IstioOperator: %w", err)
	}
	spec, ok := doc["spec"].(map[string]any)
	if !ok {
		spec = map[string]any{}
		doc["spec"] = spec
	}
	values, _ := spec["values"].(map[string]any)
	if replicas > 0 && !sizes(spec, max(replicas, 2)) {
		values = w.releases.RevisionValues(nil, values, revision, replicas)
	}
	delete(values, "revision")
	if values != nil {
		spec["values"] = values
	}
	delete(spec, "revision")
	if revision != mesh.DefaultRevision {
		spec["revision"] = revision
	}
	return doc, nil
}

// sizes says whether the document asks for so many istiods by itself: it is left
// as it is then, and the user's next istioctl finds nothing to change.
func sizes(spec map[string]any, least int) bool {
	at := func(path ...string) int {
		v, _, _ := unstructured.NestedFieldNoCopy(spec, path...)
		return whole(v)
	}
	on, set, _ := unstructured.NestedBool(spec, "values", "pilot", "autoscaleEnabled")
	if set && !on {
		return max(at("values", "pilot", "replicaCount"), at("components", "pilot", "k8s", "replicaCount")) >= least
	}
	return max(at("values", "pilot", "autoscaleMin"), at("components", "pilot", "k8s", "hpaSpec", "minReplicas")) >= least
}

// withoutBuild leaves out what istioctl puts into the values of each install: the
// hub of its own build. A site's mirror stays.
func withoutBuild(values map[string]any) map[string]any {
	global, _ := values["global"].(map[string]any)
	hub, _ := global["hub"].(string)
	if slices.Contains([]string{"docker.io/istio", "gcr.io/istio-release", "registry.istio.io/release"}, hub) {
		delete(global, "hub")
	}
	return values
}

func (w *Writer) planeObjects(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) ([]unstructured.Unstructured, error) {
	doc, err := w.document(ctx, st, p, before, st.To)
	if err != nil {
		return nil, err
	}
	objects, err := w.releases.Operator(ctx, doc, st.Version, pilot)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.GetLabels()[mesh.TagLabel] != "" {
			return nil, refused("it would make tag %s: set tags by themselves", o.GetLabels()[mesh.TagLabel])
		}
		if o.GetNamespace() != "" && o.GetNamespace() != w.namespace {
			return nil, refused("it would install into %s, and the mesh is in %s", o.GetNamespace(), w.namespace)
		}
	}
	return objects, nil
}

// applyBase applies the CRDs, and what else every revision shares, as istioctl does.
func (w *Writer) applyBase(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	doc, err := w.document(ctx, st, p, before, p.To)
	if err != nil {
		return err
	}
	objects, err := w.releases.Operator(ctx, doc, st.Version, baseComponent)
	if err != nil {
		return err
	}
	objects = slices.DeleteFunc(objects, func(o unstructured.Unstructured) bool { return o.GetName() == mesh.DefaultValidator }) // it moves with the tag (S-3)
	if err := w.applyAll(ctx, objects); err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		if err := w.established(ctx, o.GetName()); err != nil {
			return err
		}
	}
	return nil
}

// servedAs is the resource of a kind that Istio's charts render.
func servedAs(o unstructured.Unstructured) schema.GroupVersionResource {
	k := o.GroupVersionKind()
	plural := strings.ToLower(k.Kind) + "s"
	switch k.Kind {
	case "NetworkPolicy":
		plural = "networkpolicies"
	case "ValidatingAdmissionPolicy":
		plural = "validatingadmissionpolicies"
	}
	return k.GroupVersion().WithResource(plural)
}

// ranks put first what others need, and webhooks last: until then nobody calls them.
func ranks(kind string) int {
	order := []string{"CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap", "Service"}
	late := []string{"HorizontalPodAutoscaler", "PodDisruptionBudget", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
	if i := slices.Index(order, kind); i >= 0 {
		return i
	}
	return len(order) + 1 + slices.Index(late, kind)
}

// applyAll applies the objects on the server, as istioctl does. It may be repeated.
func (w *Writer) applyAll(ctx context.Context, objects []unstructured.Unstructured) error {
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b unstructured.Unstructured) int { return ranks(a.GetKind()) - ranks(b.GetKind()) })
	for _, o := range objects {
		if err := w.apply(ctx, o, false); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) apply(ctx context.Context, o unstructured.Unstructured, dry bool) error {
	_, err := w.patched(ctx, o, dry)
	return err
}

// patched is the object as the API server stores it, or would.
func (w *Writer) patched(ctx context.Context, o unstructured.Unstructured, dry bool) (*unstructured.Unstructured, error) { //nolint:revive // the API's own switch
	gvr := servedAs(o)
	body, err := json.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("writing %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	force := true
	opts := metav1.PatchOptions{FieldManager: operatorManager, Force: &force}
	if dry {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	out, err := w.Dynamic.Resource(gvr).Namespace(o.GetNamespace()).Patch(ctx, o.GetName(), types.ApplyPatchType, body, opts)
	if err != nil {
		return nil, asking("patch", strings.TrimSuffix(gvr.Resource+"."+gvr.Group, ".")+" "+o.GetName(), err)
	}
	return out, nil
}

// operatorManifest is what an install from an IstioOperator would apply.
func (w *Writer) operatorManifest(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot, server bool) ([]byte, error) {
	objects, err := w.planeObjects(ctx, st, p, before)
	if err != nil {
		return nil, fmt.Errorf("rendering revision %s: %w", st.To, err)
	}
	return w.asYAML(ctx, objects, st.To, server)
}

// asYAML writes a revision's objects; server has the API server accept each first.
func (w *Writer) asYAML(ctx context.Context, objects []unstructured.Unstructured, rev string, server bool) ([]byte, error) { //nolint:revive // where, not a mode
	var out bytes.Buffer
	for _, o := range objects {
		if server {
			if err := w.apply(ctx, o, true); err != nil {
				return nil, fmt.Errorf("trying revision %s: %w", rev, err)
			}
		}
		b, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("writing %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		out.WriteString("---\n")
		out.Write(b)
	}
	return out.Bytes(), nil
}
