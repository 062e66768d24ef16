package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/skew"
)

// Content is what a step is made of, for those who commit it (S-45). It only
// reads, and leaves secrets out. What it says is true of the plan, also of steps
// whose revision is not installed yet: their webhooks are those of the old
// revision, retargeted.
func (w *Writer) Content(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) (plan.Content, error) {
	if c, ok := plan.ContentOf(st); ok {
		return c, nil
	}
	var c plan.Content
	var err error
	switch st.Kind {
	case plan.PinDefault:
		c, err = w.pinContent(ctx, st)
	case plan.UpgradeBase:
		c, err = w.baseContent(ctx, st, p, before)
	case plan.InstallRevision:
		c, err = w.planeContent(ctx, st, p, before)
	case plan.MoveTag:
		c, err = w.tagContent(ctx, st, before)
	case plan.RemoveRevision:
		c, err = w.removalContent(ctx, st, before)
	case plan.MoveNamespace, plan.FirstPods, plan.Restart, plan.RestoreLabels, plan.SetTag, plan.RemoveTag, plan.InstallChart, plan.RemoveChart,
		plan.Surge, plan.RestoreRevision, plan.RemoveRest, plan.AddGateway, plan.OpenGateway, plan.ScaleGateway, plan.RenewGateway, plan.MoveGateway, plan.ReturnGateway, plan.RenderGateway, plan.PutBackGateway, plan.DropClaims, plan.DropTelemetry:
		err = fmt.Errorf("%w: a %s is not committed", drive.ErrRefused, st.Kind)
	}
	if err != nil {
		return c, fmt.Errorf("writing step %d (%s) as files: %w", st.Number, st.Kind, err)
	}
	return withoutSecrets(c), nil
}

// withoutSecrets takes out Secrets that a chart renders: they are not for Git.
func withoutSecrets(c plan.Content) plan.Content {
	c.Apply = slices.DeleteFunc(c.Apply, func(o map[string]any) bool {
		u := unstructured.Unstructured{Object: o}
		if u.GetKind() != "Secret" {
			return false
		}
		c.Notes = append(c.Notes, "Secret "+u.GetNamespace()+"/"+u.GetName()+" is left out: bring it by the way your secrets take.")
		return true
	})
	return c
}

// pinContent is the tag, and the unrevisioned injector switched off.
func (w *Writer) pinContent(ctx context.Context, st plan.Step) (plan.Content, error) {
	var c plan.Content
	old, err := w.ownInjector(ctx, st.To)
	if err != nil {
		return c, err
	}
	if old == nil {
		return c, refused("revision %s has no injector to take it from", st.To)
	}
	objects := []any{pinned(tagOf(st), old, w.namespace)}
	if skew.HasTagService(st.Version) {
		svc, err := w.tagServiceContent(ctx, tagOf(st), st.To, st.To)
		if err != nil {
			return c, err
		}
		objects = append(objects, svc)
	}
	off := old.DeepCopy()
	switchedOff(off)
	c.Apply, err = plain(append(objects, off)...)
	c.Notes = []string{
		"Both in one commit: the tag takes over from the injector that goes off. Where the tool applies one by one, the tag comes first.",
		"Where a chart renders injector " + old.Name + ", patch its selectors over the chart (kustomize, a post-renderer), or let the tool ignore them.",
	}
	return c, err
}

// pinned is the tag's injector, with the entries of the one that it stands in for.
func pinned(tag string, old *mwc, namespace string) *mwc {
	return &mwc{
		TypeMeta: old.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Name: mesh.TagInjector(tag, "", namespace).Name, Labels: map[string]string{
			"app": "sidecar-injector", mesh.RevLabel: old.Labels[mesh.RevLabel], mesh.TagLabel: tag,
		}},
		Webhooks: old.DeepCopy().Webhooks,
	}
}

// tagServiceContent is a tag's Service for a revision. Its ports are those of an
// istiod that is there.
func (w *Writer) tagServiceContent(ctx context.Context, tag, rev, there string) (*corev1.Service, error) {
	istiod, err := w.Kube.CoreV1().Services(w.namespace).Get(ctx, mesh.IstiodName(there), reading())
	if err != nil {
		return nil, asking("get", "services "+mesh.IstiodName(there), err)
	}
	istiod = istiod.DeepCopy()
	if rev != there {
		istiod.Spec.Selector = map[string]string{"app": "istiod", mesh.RevLabel: rev}
	}
	svc := serviceOfTag(tag, rev, mesh.TagServiceName(tag), istiod)
	svc.Spec.IPFamilies, svc.Spec.IPFamilyPolicy = nil, nil // the cluster's to choose
	return svc, nil
}

// tagContent is the tag retargeted, whether or not the new revision is there.
func (w *Writer) tagContent(ctx context.Context, st plan.Step, before mesh.Snapshot) (plan.Content, error) {
	var c plan.Content
	in, err := w.tagOrPinned(ctx, st)
	if err != nil {
		return c, err
	}
	in.Labels[mesh.RevLabel] = st.To
	for i := range in.Webhooks {
		retarget(&in.Webhooks[i].ClientConfig, st.To)
	}
	objects := []any{in}
	has := slices.ContainsFunc(before.TagServices, func(s mesh.TagService) bool { return s.Tag == st.Tag })
	if has || skew.HasTagService(st.Version) {
		there := st.From
		if _, ok := before.ControlPlane(st.To); ok {
			there = st.To
		}
		svc, err := w.tagServiceContent(ctx, st.Tag, st.To, there)
		if err != nil {
			return c, err
		}
		objects = append(objects, svc)
	}
	if st.Tag == mesh.DefaultTag {
		v, err := w.validatorContent(ctx, st)
		if err != nil {
			return c, err
		}
		if v != nil {
			objects = append(objects, v)
			c.Values = &plan.Values{Chart: "base", Release: "istio-base", Values: map[string]any{defaultRevision: st.To}, Partial: true}
		}
	}
	c.Apply, err = plain(objects...)
	c.Notes = []string{"All of it in one commit: injector, Service and validator of a tag lead to one revision. In place: a tag that is taken away and made again leaves its namespaces without an injector meanwhile."}
	return c, err
}

// tagOrPinned is the tag's injector as it is, or as the plan makes it first.
func (w *Writer) tagOrPinned(ctx context.Context, st plan.Step) (*mwc, error) {
	in, err := w.tagInjector(ctx, st.Tag)
	if err != nil {
		return nil, err
	}
	if in != nil {
		return in.DeepCopy(), nil
	}
	old, err := w.ownInjector(ctx, st.From)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return nil, refused("there is neither tag %s nor an injector of revision %s to take it from", st.Tag, st.From)
	}
	return pinned(st.Tag, old, w.namespace), nil
}

// retarget lets a webhook call a revision's Service. The CA bundle stays: revisions
// of one namespace share their root, and each istiod keeps its own webhooks' right.
func retarget(c *admissionv1.WebhookClientConfig, rev string) {
	if c.Service != nil {
		c.Service = c.Service.DeepCopy()
		c.Service.Name = mesh.IstiodName(rev)
	}
}

func (w *Writer) validatorContent(ctx context.Context, st plan.Step) (*admissionv1.ValidatingWebhookConfiguration, error) {
	v, err := w.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, mesh.DefaultValidator, reading())
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // a mesh without one
	}
	if err != nil {
		return nil, asking("get", "validatingwebhookconfigurations "+mesh.DefaultValidator, err)
	}
	v = v.DeepCopy()
	v.Labels[mesh.RevLabel] = st.To
	for i := range v.Webhooks {
		retarget(&v.Webhooks[i].ClientConfig, st.To)
	}
	return v, nil
}

// baseContent is the base chart, without the validator: that moves with the tag (S-3).
func (w *Writer) baseContent(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) (plan.Content, error) {
	var c plan.Content
	want := mesh.Release{Namespace: w.namespace, Name: "istio-base", Chart: "base", Version: st.Version, Values: map[string]any{}}
	if base, ok := before.Base(); ok {
		want.Name, want.Namespace, want.Values = base.Name, base.Namespace, maps.Clone(base.Values)
	} else if v, ok := before.DefaultValidator(); ok {
		want.Values = map[string]any{defaultRevision: v.Revision}
	}
	var objects []unstructured.Unstructured
	var err error
	if st.Owner == mesh.OwnerIstioctl {
		objects, err = w.operatorObjects(ctx, st, p, before, baseComponent)
	} else {
		c.Values = &plan.Values{Chart: want.Chart, Release: want.Name, Version: want.Version, Values: want.Values}
		objects, err = w.renderedContent(ctx, want)
	}
	for _, o := range objects {
		if o.GetName() != mesh.DefaultValidator {
			c.Apply = append(c.Apply, o.Object)
		}
	}
	c.Notes = []string{"The definitions are additive and stay, also on the way back. " + defaultRevision + " stays as it is until the default tag moves."}
	return c, err
}

func (w *Writer) operatorObjects(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot, component string) ([]unstructured.Unstructured, error) {
	if component == pilot {
		return w.planeObjects(ctx, st, p, before)
	}
	doc, err := w.document(ctx, st, p, before, p.To)
	if err != nil {
		return nil, err
	}
	return w.releases.Operator(ctx, doc, st.Version, component)
}

// planeContent is a new control plane: values for those who declare the chart, and
// the rendered objects. Values that look like secrets are hidden, and then nothing
// is rendered from them.
func (w *Writer) planeContent(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) (plan.Content, error) {
	c := plan.Content{Notes: []string{"Beside the old one: nothing follows it yet. Its injector calls nobody before istiod has written the CA bundle: serin verify tells when it has."}}
	if st.Owner == mesh.OwnerIstioctl {
		objects, err := w.operatorObjects(ctx, st, p, before, pilot)
		for _, o := range objects {
			c.Apply = append(c.Apply, o.Object)
		}
		return c, err
	}
	want, _, err := w.wantedRevision(ctx, st, p, before)
	if err != nil {
		return c, err
	}
	hidden := mesh.Masked(want.Values)
	c.Values = &plan.Values{Chart: want.Chart, Release: want.Name, Version: want.Version, Values: hidden}
	if len(want.Values) > 0 && !reflect.DeepEqual(hidden, want.Values) {
		c.Notes = append(c.Notes, "Some values look like secrets and are written as "+mesh.Hidden+": put them in by the way your secrets take. Nothing is rendered from them here.")
		return c, nil
	}
	objects, err := w.renderedContent(ctx, want)
	for _, o := range objects {
		c.Apply = append(c.Apply, o.Object)
	}
	return c, err
}

// removalContent lists what the chart renders for the revision, its webhooks
// first, without what others render too (S-53).
func (w *Writer) removalContent(ctx context.Context, st plan.Step, before mesh.Snapshot) (plan.Content, error) {
	c := plan.Content{Notes: []string{
		"Its webhooks go first: while nothing answers them they would refuse pods and configuration.",
		"Only where serin verify " + strconv.Itoa(st.Number) + " --before says that nothing relies on it any more.",
		"Declared as a chart: take out the one of revision " + st.From + ", and no other.",
	}}
	old, ok := before.ControlPlane(st.From)
	if !ok {
		return c, refused("there is no control plane of revision %s", st.From)
	}
	values, _, err := w.carried(ctx, old)
	if err != nil {
		return c, err
	}
	values = maps.Clone(values)
	if values == nil {
		values = map[string]any{}
	}
	if st.From != mesh.DefaultRevision {
		values["revision"] = st.From
	}
	objects, err := w.renderedContent(ctx, mesh.Release{Namespace: w.namespace, Name: old.Name, Chart: "istiod", Version: old.Version, Values: values})
	if err != nil {
		return c, err
	}
	slices.SortStableFunc(objects, func(a, b unstructured.Unstructured) int { return ranks(b.GetKind()) - ranks(a.GetKind()) })
	for _, o := range objects {
		if o.GetLabels()[mesh.TagLabel] != "" || o.GetKind() == "CustomResourceDefinition" || o.GetName() == mesh.DefaultValidator {
			continue // a tag's, or everybody's
		}
		c.Remove = append(c.Remove, plan.Object(o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName(), nil))
	}
	return c, nil
}

// renderedContent renders a release on the client. Every object says its namespace.
func (w *Writer) renderedContent(ctx context.Context, want mesh.Release) ([]unstructured.Unstructured, error) {
	text, err := w.releases.Manifest(ctx, want, false)
	if err != nil {
		return nil, err
	}
	var out []unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var o map[string]any
		err := d.Decode(&o)
		switch {
		case errors.Is(err, io.EOF):
			slices.SortStableFunc(out, func(a, b unstructured.Unstructured) int { return ranks(a.GetKind()) - ranks(b.GetKind()) })
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("reading what release %s renders: %w", want.Name, err)
		case len(o) > 0:
			out = append(out, unstructured.Unstructured{Object: o})
		}
	}
}

// plain are objects as they are committed: without what the cluster adds, and
// without the marks that tools leave by themselves.
func plain(objects ...any) ([]map[string]any, error) {
	var out []map[string]any
	for _, o := range objects {
		m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return nil, fmt.Errorf("writing an object: %w", err)
		}
		u := unstructured.Unstructured{Object: m}
		switch o.(type) {
		case *mwc:
			u.SetAPIVersion(admissionv1.SchemeGroupVersion.String())
			u.SetKind("MutatingWebhookConfiguration")
		case *admissionv1.ValidatingWebhookConfiguration:
			u.SetAPIVersion(admissionv1.SchemeGroupVersion.String())
			u.SetKind("ValidatingWebhookConfiguration")
		case *corev1.Service:
			u.SetAPIVersion("v1")
			u.SetKind("Service")
		}
		meta := map[string]any{"name": u.GetName()}
		if u.GetNamespace() != "" {
			meta["namespace"] = u.GetNamespace()
		}
		if l := unmarked(u.GetLabels()); len(l) > 0 {
			meta["labels"] = l
		}
		if a := unmarked(u.GetAnnotations()); len(a) > 0 {
			meta["annotations"] = a
		}
		m["metadata"] = meta
		delete(m, "status")
		out = append(out, m)
	}
	return out, nil
}

// unmarked leaves out what a tool writes by itself.
func unmarked(labels map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range labels {
		own := k == "kubectl.kubernetes.io/last-applied-configuration" || k == helmName || k == helmNamespace
		for _, tool := range []string{"argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"} {
			own = own || strings.HasPrefix(k, tool)
		}
		if !own {
			out[k] = v
		}
	}
	return out
}
