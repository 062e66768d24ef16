package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	scaleapply "k8s.io/client-go/applyconfigurations/autoscaling/v2"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	policyapply "k8s.io/client-go/applyconfigurations/policy/v1"
	rbacapply "k8s.io/client-go/applyconfigurations/rbac/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// keptGatewayName is the Secret that holds what a gateway was at a revision. Names
// of namespaces and Deployments have no dots.
func keptGatewayName(d *appsv1.Deployment, rev string) string {
	return "serin-kept-gateway-" + d.Namespace + "." + d.Name + "." + rev
}

// keepGateway sets a rendered gateway's objects aside as they are, under the
// revision that they are of: those that would be written over.
func (w *Writer) keepGateway(ctx context.Context, d *appsv1.Deployment, over []unstructured.Unstructured) error {
	rev := d.Spec.Template.Labels[mesh.RevLabel]
	if rev == "" {
		return refused("its template has no label %s: what would be kept of it is of no revision", mesh.RevLabel)
	}
	var all []unstructured.Unstructured
	for _, o := range over {
		live, err := w.Dynamic.Resource(servedAs(o)).Namespace(o.GetNamespace()).Get(ctx, o.GetName(), reading())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return asking("get", servedAs(o).GroupResource().String()+" "+o.GetName(), err)
		}
		theirs, err := applied(live)
		if err != nil {
			return fmt.Errorf("keeping %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		all = append(all, *theirs)
	}
	data, err := zipped(all)
	if err != nil {
		return fmt.Errorf("keeping gateway %s: %w", d.Name, err)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: keptGatewayName(d, rev), Namespace: w.namespace, Labels: map[string]string{managedBy: "serin"}, Annotations: map[string]string{keptOf: string(d.UID)},
		},
		Type: keptType, Data: map[string][]byte{keptObjects: data},
	}
	secrets := w.Kube.CoreV1().Secrets(w.namespace)
	_, err = secrets.Create(ctx, s, creating())
	if apierrors.IsAlreadyExists(err) { // of an earlier run: it is of that revision again, as it is now
		_, err = secrets.Update(ctx, s, updating())
	}
	if err != nil {
		return asking("write", "secrets "+s.Name, err)
	}
	return nil
}

// keptGateway is what was kept of it at a revision, nil for nothing.
func (w *Writer) keptGateway(ctx context.Context, d *appsv1.Deployment, rev string) ([]unstructured.Unstructured, error) {
	s, err := w.Kube.CoreV1().Secrets(w.namespace).Get(ctx, keptGatewayName(d, rev), reading())
	if apierrors.IsNotFound(err) || err == nil && s.Annotations[keptOf] != string(d.UID) { // of another Deployment of that name
		return nil, nil
	}
	if err != nil {
		return nil, asking("get", "secrets "+keptGatewayName(d, rev), err)
	}
	objects, err := unzipped(s.Data[keptObjects])
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", s.Name, err)
	}
	return objects, nil
}

func (w *Writer) dropKeptGateway(ctx context.Context, d *appsv1.Deployment, rev string) error {
	if err := ignoreGone(w.Kube.CoreV1().Secrets(w.namespace).Delete(ctx, keptGatewayName(d, rev), metav1.DeleteOptions{})); err != nil {
		return asking("delete", "secrets "+keptGatewayName(d, rev), err)
	}
	return nil
}

// applied are the fields of an object that istioctl applied; of one that it did
// not apply all but what the API server writes. So what is put back is no more
// than what was there: a number that a scaler owns stays the scaler's.
func applied(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	got, err := applying(o)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(got)
	if err != nil {
		return nil, fmt.Errorf("writing what was applied: %w", err)
	}
	out := &unstructured.Unstructured{}
	if err := json.Unmarshal(b, &out.Object); err != nil || len(out.Object) <= 3 { // apiVersion, kind and a name: nothing was applied
		out = bare(o)
		if isDeployment(*out) {
			unstructured.RemoveNestedField(out.Object, "spec", "replicas")
		}
	}
	return out, nil
}

// applying is what istioctl's field manager holds of an object of a kind that it renders for gateways.
func applying(o *unstructured.Unstructured) (any, error) {
	switch o.GetKind() {
	case "Deployment":
		return extract(o, &appsv1.Deployment{}, appsapply.ExtractDeployment)
	case "Service":
		return extract(o, &corev1.Service{}, coreapply.ExtractService)
	case "ServiceAccount":
		return extract(o, &corev1.ServiceAccount{}, coreapply.ExtractServiceAccount)
	case "Role":
		return extract(o, &rbacv1.Role{}, rbacapply.ExtractRole)
	case "RoleBinding":
		return extract(o, &rbacv1.RoleBinding{}, rbacapply.ExtractRoleBinding)
	case "HorizontalPodAutoscaler":
		return extract(o, &autoscalingv2.HorizontalPodAutoscaler{}, scaleapply.ExtractHorizontalPodAutoscaler)
	case "PodDisruptionBudget":
		return extract(o, &policyv1.PodDisruptionBudget{}, policyapply.ExtractPodDisruptionBudget)
	}
	return nil, nil //nolint:nilnil // nothing: of another kind
}

// extract is what istioctl's field manager holds of an object.
func extract[T, A any](o *unstructured.Unstructured, into *T, of func(*T, string) (A, error)) (any, error) {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into); err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	got, err := of(into, operatorManager)
	if err != nil {
		return nil, fmt.Errorf("reading who applied it: %w", err)
	}
	return got, nil
}

// fromHistory is the gateway with the newest template of a revision that its
// Deployment has kept: what "kubectl rollout undo" would go back to.
func (w *Writer) fromHistory(ctx context.Context, d *appsv1.Deployment, rev string) ([]unstructured.Unstructured, error) {
	list, err := w.Kube.AppsV1().ReplicaSets(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return nil, asking("list", "replicasets.apps", err)
	}
	sets := slices.DeleteFunc(list.Items, func(rs appsv1.ReplicaSet) bool {
		o := metav1.GetControllerOf(&rs)
		return o == nil || o.UID != d.UID || rs.Spec.Template.Labels[mesh.RevLabel] != rev
	})
	if len(sets) == 0 {
		return nil, refused("nothing was kept of it at %s, and its Deployment's history has no such template: give the file it was installed from to istioctl of that release, or to serin plan (--operator FILE)", rev)
	}
	number := func(rs appsv1.ReplicaSet) int {
		n, err := strconv.Atoi(rs.Annotations["deployment.kubernetes.io/revision"])
		if err != nil {
			return 0
		}
		return n
	}
	newest := slices.MaxFunc(sets, func(a, b appsv1.ReplicaSet) int { return cmp.Compare(number(a), number(b)) })
	live, err := w.Dynamic.Resource(appsv1.SchemeGroupVersion.WithResource("deployments")).Namespace(d.Namespace).Get(ctx, d.Name, reading())
	if err != nil {
		return nil, asking("get", "deployments.apps "+d.Name, err)
	}
	out, err := applied(live)
	if err != nil {
		return nil, err
	}
	template := newest.Spec.Template.DeepCopy()
	delete(template.Labels, mesh.HashLabel)
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(template)
	if err != nil {
		return nil, fmt.Errorf("reading the template of %s: %w", newest.Name, err)
	}
	if err := unstructured.SetNestedMap(out.Object, raw, "spec", "template"); err != nil {
		return nil, fmt.Errorf("reading the template of %s: %w", newest.Name, err)
	}
	out.SetLabels(withLabel(out.GetLabels(), mesh.RevLabel, rev))
	others, err := w.partsOf(ctx, d)
	if err != nil {
		return nil, err
	}
	for i := range others {
		others[i].SetLabels(withLabel(others[i].GetLabels(), mesh.RevLabel, rev))
	}
	return append(others, *out), nil
}

func withLabel(labels map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range labels {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// partsOf are the gateway's other objects, as istioctl applied them.
func (w *Writer) partsOf(ctx context.Context, d *appsv1.Deployment) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, k := range []struct{ api, kind, name string }{
		{"v1", "ServiceAccount", d.Name + "-service-account"},
		{"v1", "Service", d.Name},
		{"rbac.authorization.k8s.io/v1", "Role", d.Name + "-sds"},
		{"rbac.authorization.k8s.io/v1", "RoleBinding", d.Name + "-sds"},
		{"autoscaling/v2", "HorizontalPodAutoscaler", d.Name},
		{"policy/v1", "PodDisruptionBudget", d.Name},
	} {
		o := unstructured.Unstructured{}
		o.SetAPIVersion(k.api)
		o.SetKind(k.kind)
		live, err := w.Dynamic.Resource(servedAs(o)).Namespace(d.Namespace).Get(ctx, k.name, reading())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, asking("get", servedAs(o).GroupResource().String()+" "+k.name, err)
		}
		if ownerOf(live).Kind != mesh.OwnerIstioctl {
			continue
		}
		theirs, err := applied(live)
		if err != nil {
			return nil, err
		}
		out = append(out, *theirs)
	}
	return out, nil
}
