package cluster

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
)

// component is the label that istioctl and the charts put on what they make; a
// control plane's objects have this value, gateways' and the base's others.
const (
	component = "operator.istio.io/component"
	pilot     = "Pilot"
)

// planeKinds are the kinds of which the istiod chart makes objects, in the order
// in which they go: what routes to istiod first, what it needs to end well last.
func planeKinds() []schema.GroupVersionResource {
	rbac := func(resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: resource}
	}
	return []schema.GroupVersionResource{
		{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
		{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Version: "v1", Resource: "services"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
		{Version: "v1", Resource: "configmaps"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
		rbac("rolebindings"), rbac("roles"), rbac("clusterrolebindings"), rbac("clusterroles"),
		{Version: "v1", Resource: "serviceaccounts"},
	}
}

// takeDownListed removes a control plane that no release holds: istioctl's. The
// objects are listed by the revision's own label and the component's, each one is
// looked at, and then deleted by name (S-53): never a tag's, a gateway's, a
// release's or another revision's.
func (w *Writer) takeDownListed(ctx context.Context, rev string) error {
	if err := w.dropWebhooks(ctx, rev); err != nil {
		return err
	}
	for _, gvr := range planeKinds() {
		if err := w.dropListed(ctx, gvr, rev); err != nil {
			return err
		}
	}
	if err := w.gone(ctx, rev); err != nil {
		return err
	}
	return w.dropLeftovers(ctx, rev)
}

func (w *Writer) dropListed(ctx context.Context, gvr schema.GroupVersionResource, rev string) error {
	what := strings.TrimSuffix(gvr.Resource+"."+gvr.Group, ".")
	api := w.Metadata.Resource(gvr)
	list, err := api.List(ctx, metav1.ListOptions{LabelSelector: mesh.RevLabel + "=" + rev + "," + component + "=" + pilot + ",!" + mesh.TagLabel})
	if err != nil {
		return asking("list", what, err)
	}
	for _, o := range list.Items {
		if o.Namespace != "" && o.Namespace != w.namespace || ownerOf(&o).Kind != mesh.OwnerIstioctl {
			continue
		}
		if err := ignoreGone(api.Namespace(o.Namespace).Delete(ctx, o.Name, background())); err != nil {
			return asking("delete", what+" "+o.Name, err)
		}
	}
	return nil
}

// background lets the garbage collector take what the object owns.
func background() metav1.DeleteOptions {
	policy := metav1.DeletePropagationBackground
	return metav1.DeleteOptions{PropagationPolicy: &policy}
}
