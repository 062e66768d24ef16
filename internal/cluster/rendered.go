package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// renderGateway renders a gateway again at the new revision, from the source that
// istioctl rendered it from, and rolls it (S-33). Order: what it is is kept before
// anything of it changes; and nothing changes where more would than its revision.
func (w *Writer) renderGateway(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	objects, d, err := w.renderedAgain(ctx, st, p, before)
	if err == nil && d.Spec.Template.Labels[mesh.RevLabel] != st.To { // else an earlier life has applied it
		err = w.keepGateway(ctx, d, objects)
	}
	if err == nil {
		err = w.rollRendered(ctx, st.Workloads[0], objects, st.To)
	}
	if err != nil {
		return fmt.Errorf("rendering gateway %s at %s: %w", st.Target, st.To, err)
	}
	return nil
}

// renderedAgain is what the gateway is to be, and its Deployment as it is. It is
// refused where the source is not the one that made it.
func (w *Writer) renderedAgain(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) ([]unstructured.Unstructured, *appsv1.Deployment, error) {
	ref := st.Workloads[0]
	d, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if err != nil {
		return nil, nil, asking("get", "deployments.apps "+ref.Name, err)
	}
	objects, err := w.renderedAs(ctx, st, p, before, d)
	if err != nil || d.Spec.Template.Labels[mesh.RevLabel] == st.To || slices.Contains(p.Request.IgnoreChecks, plan.CodeOtherSource) {
		return objects, d, err
	}
	back := st
	back.To = st.From
	same, err := w.renderedAs(ctx, back, p, before, d)
	if err != nil {
		return nil, nil, err
	}
	changes, err := w.wouldChange(ctx, same)
	if err != nil || len(changes) == 0 {
		return objects, d, err
	}
	return nil, nil, refused("rendered from this source for the revision it is of, it would not be what it is: %s; give the IstioOperator file that it was installed from (--operator FILE), or accept it: --ignore-check %s",
		some(changes), plan.CodeOtherSource)
}

// some names up to five.
func some(lines []string) string {
	if len(lines) > 5 {
		lines = append(slices.Clone(lines[:5]), fmt.Sprintf("%d more", len(lines)-5))
	}
	return strings.Join(lines, "; ")
}

// renderedAs are the gateway's objects as the source makes them for the revision that the step leads to.
func (w *Writer) renderedAs(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot, d *appsv1.Deployment) ([]unstructured.Unstructured, error) {
	doc, err := w.document(ctx, st, p, before, st.To)
	if err != nil {
		return nil, err
	}
	of := d.Labels[component]
	if of != ingressComponent && of != egressComponent {
		return nil, refused("its label %s=%s is of no gateway that istioctl renders", component, of)
	}
	if p.Request.Operator == nil {
		withGateway(doc, of, d)
		if st.To == mesh.DefaultRevision { // which is rendered without a name
			unstructured.RemoveNestedField(doc, "spec", "values", "revision")
		}
	}
	all, err := w.releases.Operator(ctx, doc, st.Version, of)
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(all, func(o unstructured.Unstructured) bool {
		return o.GetNamespace() != d.Namespace || !partOf(o.GetName(), d.Name)
	})
	if !slices.ContainsFunc(out, isDeployment) {
		return nil, refused("the IstioOperator does not enable it: add it to spec.components (%s), or let it stay (gateways, method: stay)", of)
	}
	return out, nil
}

// The components of gateways, as labels call them.
const (
	ingressComponent = "IngressGateways"
	egressComponent  = "EgressGateways"
)

// partOf says whether the charts of a gateway give one of its objects the name.
func partOf(name, gateway string) bool {
	return name == gateway || name == gateway+"-sds" || name == gateway+"-service-account"
}

func isDeployment(o unstructured.Unstructured) bool { return o.GetKind() == "Deployment" }

// withGateway adds the gateway to a document that is made of the values that the
// cluster keeps: its name, namespace and labels are all that is known of it.
func withGateway(doc map[string]any, of string, d *appsv1.Deployment) {
	label := map[string]any{}
	for k, v := range d.Spec.Selector.MatchLabels {
		label[k] = v
	}
	key := "ingressGateways"
	if of == egressComponent {
		key = "egressGateways"
	}
	spec, ok := doc["spec"].(map[string]any)
	if !ok {
		return
	}
	spec["components"] = map[string]any{key: []any{map[string]any{"name": d.Name, "namespace": d.Namespace, "enabled": true, "label": label}}}
}

// wouldChange says which fields would change if the objects were applied: nothing is. An
// object that is not there would be new, which takes nothing from anybody.
func (w *Writer) wouldChange(ctx context.Context, objects []unstructured.Unstructured) ([]string, error) {
	var out []string
	for _, o := range objects {
		api := w.Dynamic.Resource(servedAs(o)).Namespace(o.GetNamespace())
		live, err := api.Get(ctx, o.GetName(), reading())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, asking("get", servedAs(o).GroupResource().String()+" "+o.GetName(), err)
		}
		would, err := w.tried(ctx, o)
		if err != nil {
			return nil, err
		}
		for _, path := range unlike(ofNoRelease(live), ofNoRelease(would), "") {
			out = append(out, strings.ToLower(o.GetKind())+" "+o.GetName()+": "+path)
		}
	}
	slices.Sort(out)
	return out, nil
}

// ofNoRelease is an object without what the API server and controllers write, and
// without what is of a release alone: its image's tag, and labels of its version.
func ofNoRelease(o *unstructured.Unstructured) map[string]any {
	out := bare(o).Object
	delete(out, "apiVersion")
	unstructured.RemoveNestedField(out, "spec", "clusterIP")
	unversioned(out)
	return out
}

func unversioned(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range []string{"app.kubernetes.io/version", "helm.sh/chart", "operator.istio.io/version", "install.operator.istio.io/owning-resource"} {
			delete(v, k)
		}
		if image, ok := v["image"].(string); ok {
			v["image"] = withoutTag(image)
		}
		if v["divisor"] == "1" { // which is what 0 means
			v["divisor"] = "0"
		}
		for _, e := range v {
			unversioned(e)
		}
	case []any:
		for _, e := range v {
			unversioned(e)
		}
	}
}

func withoutTag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if at := strings.LastIndex(image, ":"); at > strings.LastIndex(image, "/") {
		return image[:at]
	}
	return image
}

// unlike are the paths of the fields in which two objects differ. What is empty is not there.
func unlike(a, b any, path string) []string {
	fields, isMap := a.(map[string]any)
	if others, ok := b.(map[string]any); ok && isMap {
		return unlikeFields(fields, others, path)
	}
	list, isList := a.([]any)
	if others, ok := b.([]any); ok && isList && len(list) == len(others) {
		return unlikeElements(list, others, path)
	}
	if empty(a) && empty(b) || fmt.Sprint(a) == fmt.Sprint(b) {
		return nil
	}
	return []string{fmt.Sprintf("%s (%s, would be %s)", path, short(a), short(b))}
}

func unlikeFields(a, b map[string]any, path string) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	var out []string
	for _, k := range slices.Compact(keys) {
		out = append(out, unlike(a[k], b[k], strings.TrimPrefix(path+"."+k, "."))...)
	}
	return out
}

func unlikeElements(a, b []any, path string) []string {
	var out []string
	for i := range a {
		out = append(out, unlike(a[i], b[i], fmt.Sprintf("%s[%d]", path, i))...)
	}
	return out
}

func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return v == nil
}

// short is a value that fits into a line.
func short(v any) string {
	if v == nil {
		return "not set"
	}
	text := fmt.Sprint(v)
	if len(text) > 60 {
		text = text[:60] + "…"
	}
	return text
}

// rollRendered applies a gateway's objects, as istioctl does, and rolls its
// Deployment beside its old pods: while it rolls none of them is let go before a
// new one is ready, whatever its own strategy would allow. Who sizes and guards it
// comes last.
func (w *Writer) rollRendered(ctx context.Context, ref mesh.Ref, objects []unstructured.Unstructured, rev string) error {
	var first, last []unstructured.Unstructured
	for _, o := range objects {
		switch o.GetKind() {
		case "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget":
			last = append(last, o)
		default:
			first = append(first, o)
		}
	}
	if err := w.applyAll(ctx, first); err != nil {
		return err
	}
	for _, o := range last {
		if !isDeployment(o) {
			continue
		}
		if err := w.apply(ctx, surging(o), false); err != nil {
			return err
		}
	}
	if err := w.othersEnd(ctx, ref, rev); err != nil {
		return err
	}
	return w.applyAll(ctx, last) // with its own strategy: nothing rolls again
}

// surging is the Deployment with a strategy under which none is missing.
func surging(d unstructured.Unstructured) unstructured.Unstructured {
	out := *d.DeepCopy()
	surge, has, _ := unstructured.NestedFieldCopy(out.Object, "spec", "strategy", "rollingUpdate", "maxSurge")
	if text := fmt.Sprint(surge); !has || text == "0" || text == "0%" {
		surge = int64(1)
	}
	strategy := map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxSurge": surge, "maxUnavailable": int64(0)}}
	if spec, ok := out.Object["spec"].(map[string]any); ok {
		spec["strategy"] = strategy
	}
	return out
}

// tried is an object as the API server would store it; it stores nothing.
func (w *Writer) tried(ctx context.Context, o unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return w.patched(ctx, o, true)
}

// renderedManifest is what the step would apply, if it would.
func (w *Writer) renderedManifest(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot, server bool) ([]byte, error) {
	objects, _, err := w.renderedAgain(ctx, st, p, before)
	if err != nil {
		return nil, fmt.Errorf("rendering gateway %s at %s: %w", st.Target, st.To, err)
	}
	return w.asYAML(ctx, objects, st.To, server)
}

// putBackGateway brings a rendered gateway to what it was at a revision: what a
// step has kept of it, else the template of that revision in its Deployment's own
// history. One that is there already, or that was never taken away, stays.
func (w *Writer) putBackGateway(ctx context.Context, st plan.Step, from, to string) error {
	ref := st.Workloads[0]
	d, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if apierrors.IsNotFound(err) {
		return nil // there is nothing to put back
	}
	if err != nil {
		return asking("get", "deployments.apps "+ref.Name, err)
	}
	objects, err := w.keptGateway(ctx, d, to)
	if err == nil && objects == nil && d.Spec.Template.Labels[mesh.RevLabel] != to {
		objects, err = w.fromHistory(ctx, d, to)
	}
	if err == nil && objects != nil {
		err = w.rollBackTo(ctx, d, objects, from, to)
	}
	if err == nil {
		err = w.othersEnd(ctx, ref, to)
	}
	if err == nil {
		err = w.dropKeptGateway(ctx, d, to)
	}
	if err != nil {
		return fmt.Errorf("putting gateway %s back to %s: %w", st.Target, to, err)
	}
	return nil
}

// rollBackTo rolls a rendered gateway to objects of a revision, and keeps what it was
// for the way forward again.
func (w *Writer) rollBackTo(ctx context.Context, d *appsv1.Deployment, objects []unstructured.Unstructured, from, to string) error {
	if d.Spec.Template.Labels[mesh.RevLabel] == from {
		if err := w.keepGateway(ctx, d, objects); err != nil {
			return err
		}
	}
	return w.rollRendered(ctx, mesh.Ref{Kind: mesh.KindDeployment, Namespace: d.Namespace, Name: d.Name}, objects, to)
}
