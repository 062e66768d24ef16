package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/serin-mesh/serin/internal/rehearse"
)

// Rehearsal makes copies of namespaces, and takes them away. Everything that it
// makes is in a namespace that it has made itself, and goes with that.
type Rehearsal struct {
	*Reader

	config map[schema.GroupKind]schema.GroupVersionResource // once it is known
}

// NewRehearsal returns one for the cluster.
func NewRehearsal(cfg *rest.Config, istioNamespace string) (*Rehearsal, error) {
	r, err := NewReader(cfg, istioNamespace)
	if err != nil {
		return nil, err
	}
	return RehearsalOf(r), nil
}

// RehearsalOf is NewRehearsal with these clients.
func RehearsalOf(r *Reader) *Rehearsal { return &Rehearsal{Reader: r} }

// copiedKinds are those of which there can be a copy: one that cannot be listed ends it.
func copiedKinds() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Version: "v1", Resource: "services"},
		{Version: "v1", Resource: "serviceaccounts"},
		{Version: "v1", Resource: "configmaps"},
		{Version: "v1", Resource: "limitranges"},
	}
}

// leftKinds are those that are named as not copied.
func leftKinds() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "statefulsets"},
		{Group: "apps", Version: "v1", Resource: "daemonsets"},
		{Group: "batch", Version: "v1", Resource: "cronjobs"},
		{Group: "batch", Version: "v1", Resource: "jobs"},
		{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
		{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
		{Version: "v1", Resource: "persistentvolumeclaims"},
		{Version: "v1", Resource: "resourcequotas"},
	}
}

// Source reads what is in the namespace. Of its Secrets only those that are
// referred to are read.
func (r *Rehearsal) Source(ctx context.Context, namespace string) (rehearse.Source, error) {
	var out rehearse.Source
	for _, gvr := range copiedKinds() {
		if err := r.read(ctx, gvr, namespace, &out); err != nil {
			return out, fmt.Errorf("reading what is in namespace %s: %w", namespace, err)
		}
	}
	config, err := r.configKinds(ctx)
	if err != nil {
		return out, err
	}
	custom := slices.SortedFunc(maps.Values(config), func(a, b schema.GroupVersionResource) int { return strings.Compare(a.String(), b.String()) })
	for _, gvr := range slices.Concat(leftKinds(), custom) {
		err := r.read(ctx, gvr, namespace, &out)
		switch {
		case apierrors.IsForbidden(err) && !strings.HasSuffix(gvr.Group, ".istio.io"):
			out.Unseen = append(out.Unseen, qualified(gvr.Resource, gvr.Group)+", which the user may not list")
		case apierrors.IsNotFound(err): // this cluster has no such kind
		case err != nil:
			return out, fmt.Errorf("reading what is in namespace %s: %w", namespace, err)
		}
	}
	return out, r.secrets(ctx, namespace, &out)
}

// read adds the objects of a kind. Lists leave out what their elements are.
func (r *Rehearsal) read(ctx context.Context, gvr schema.GroupVersionResource, namespace string, to *rehearse.Source) error {
	return each(ctx, qualified(gvr.Resource, gvr.Group), metav1.ListOptions{}, r.Dynamic.Resource(gvr).Namespace(namespace).List, func(l *unstructured.UnstructuredList) {
		for _, o := range l.Items {
			to.Objects = append(to.Objects, o.Object)
		}
	})
}

// configKinds are Istio's kinds of configuration, and the routes of the Gateway API.
func (r *Rehearsal) configKinds(ctx context.Context) (map[schema.GroupKind]schema.GroupVersionResource, error) {
	if r.config != nil {
		return r.config, nil
	}
	var names []string
	err := r.listed(ctx, crdResource(), metav1.ListOptions{}, func(o metav1.PartialObjectMetadata) {
		_, group, _ := strings.Cut(o.Name, ".")
		if slices.Contains([]string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io", "gateway.networking.k8s.io"}, group) {
			names = append(names, o.Name)
		}
	})
	if err != nil {
		return nil, err
	}
	out := map[schema.GroupKind]schema.GroupVersionResource{}
	for _, name := range names {
		crd, err := r.CRDs.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, reading())
		if err != nil {
			return nil, asking("get", "customresourcedefinitions "+name, err)
		}
		if version := served(crd); version != "" && crd.Spec.Scope == apiextensionsv1.NamespaceScoped {
			out[schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind}] = schema.GroupVersionResource{Group: crd.Spec.Group, Version: version, Resource: crd.Spec.Names.Plural}
		}
	}
	r.config = out
	return out, nil
}

// secrets adds those that are referred to. One that is not there is found missing
// by who judges, and one that is optional is not missed.
func (r *Rehearsal) secrets(ctx context.Context, namespace string, to *rehearse.Source) error {
	for _, name := range rehearse.Secrets(to.Objects) {
		o, err := r.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(namespace).Get(ctx, name, reading())
		switch {
		case apierrors.IsNotFound(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err): // there can be none of such a name
		case err != nil:
			return asking("get", "secrets "+name, err)
		default:
			to.Objects = append(to.Objects, o.Object)
		}
	}
	return nil
}

// Make makes the copy's namespace, marked as ours, and then what is in it. Order:
// the mark comes with the namespace, so that whatever happens next, what is there
// can be told and removed.
func (r *Rehearsal) Make(ctx context.Context, p rehearse.Plan) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Copy, Labels: p.Labels}}
	if _, err := r.Kube.CoreV1().Namespaces().Create(ctx, ns, creating()); err != nil {
		return asking("create", "namespaces "+p.Copy, err)
	}
	for _, o := range p.Objects {
		if err := r.create(ctx, p, unstructured.Unstructured{Object: o}); err != nil {
			return fmt.Errorf("copying %s %s: %w", o.Kind(), o.Name(), err)
		}
	}
	return nil
}

func (r *Rehearsal) create(ctx context.Context, p rehearse.Plan, o unstructured.Unstructured) error {
	gvr, err := r.resource(ctx, o)
	if err != nil {
		return err
	}
	api := r.Dynamic.Resource(gvr).Namespace(p.Copy)
	_, err = api.Create(ctx, &o, creating())
	if apierrors.IsAlreadyExists(err) && gvr.Resource == "serviceaccounts" { // each namespace is given the account "default"
		var patch []byte
		if patch, err = json.Marshal(map[string]any{"imagePullSecrets": o.Object["imagePullSecrets"]}); err != nil {
			return fmt.Errorf("writing a patch: %w", err)
		}
		_, err = api.Patch(ctx, o.GetName(), types.MergePatchType, patch, patching())
	}
	if err != nil {
		return asking("create", qualified(gvr.Resource, gvr.Group)+" in namespace "+p.Copy, err)
	}
	return nil
}

// resource is where objects of this one's kind are.
func (r *Rehearsal) resource(ctx context.Context, o unstructured.Unstructured) (schema.GroupVersionResource, error) {
	gvk := o.GroupVersionKind()
	for _, gvr := range append(copiedKinds(), schema.GroupVersionResource{Version: "v1", Resource: "secrets"}) {
		if gvr.Group == gvk.Group && gvr.Resource == strings.ToLower(gvk.Kind)+"s" {
			return gvr, nil
		}
	}
	kinds, err := r.configKinds(ctx)
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	gvr, ok := kinds[gvk.GroupKind()]
	if !ok {
		return gvr, fmt.Errorf("%s of %s is no kind of this cluster", gvk.Kind, gvk.Group)
	}
	return gvr, nil
}

// Standing is how the copies' pods are.
func (r *Rehearsal) Standing(ctx context.Context, p rehearse.Plan) ([]rehearse.Standing, error) {
	list, err := r.Kube.AppsV1().Deployments(p.Copy).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, asking("list", "deployments.apps", err)
	}
	pods, err := r.Kube.CoreV1().Pods(p.Copy).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, asking("list", "pods", err)
	}
	var out []rehearse.Standing
	for _, d := range list.Items {
		s := rehearse.Standing{Workload: d.Name, Ready: d.Status.ReadyReplicas > 0 && d.Status.ObservedGeneration >= d.Generation}
		if !s.Ready {
			if s.Trouble, err = troubleOf(d, pods.Items); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// troubleOf is why a Deployment has no pod, or none that starts.
func troubleOf(d appsv1.Deployment, pods []corev1.Pod) (string, error) {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return "no pod can be made: " + c.Message, nil
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return "", fmt.Errorf("reading the selector of Deployment %s: %w", d.Name, err)
	}
	for _, pod := range pods {
		if why := trouble(pod); why != "" && selector.Matches(labels.Set(pod.Labels)) {
			return why, nil
		}
	}
	return "", nil
}

// trouble is why a pod does not start, as far as waiting may not mend it.
func trouble(pod corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return "pod " + pod.Name + " fits no node: " + c.Message
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && (strings.HasSuffix(w.Reason, "BackOff") || strings.HasPrefix(w.Reason, "Err") || strings.HasSuffix(w.Reason, "Error") || strings.HasPrefix(w.Reason, "Invalid")) {
			return fmt.Sprintf("container %s of pod %s: %s %s", c.Name, pod.Name, w.Reason, w.Message)
		}
	}
	return ""
}

// Remove takes a copy away, and returns once it is gone. What does not carry the
// mark of the namespace's rehearsal is refused, and one that is not there is fine.
func (r *Rehearsal) Remove(ctx context.Context, of, name string) error {
	api := r.Kube.CoreV1().Namespaces()
	ns, err := api.Get(ctx, name, reading())
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return asking("get", "namespaces "+name, err)
	}
	if ns.Labels[rehearse.Label] != of {
		return fmt.Errorf("removing namespace %s: it is no rehearsal of %s (label %s)", name, of, rehearse.Label)
	}
	policy := metav1.DeletePropagationBackground
	err = ignoreGone(api.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &ns.UID}, PropagationPolicy: &policy}))
	if err != nil {
		return asking("delete", "namespaces "+name, err)
	}
	src := source[*corev1.NamespaceList]{what: "namespaces", of: r.Kube, opts: named(name), list: api.List, watch: api.Watch}
	return await(ctx, "namespace "+name+" to go", src, &corev1.Namespace{}, func(list []*corev1.Namespace) (bool, string, error) {
		now, there := only(list, name)
		if !there || now.UID != ns.UID {
			return true, "", nil
		}
		return false, whyStill(now), nil
	})
}

// whyStill is what keeps a namespace that is to go.
func whyStill(ns *corev1.Namespace) string {
	for _, c := range ns.Status.Conditions {
		if c.Status == corev1.ConditionTrue && c.Message != "" {
			return c.Message
		}
	}
	return "it is " + strings.ToLower(string(ns.Status.Phase))
}
