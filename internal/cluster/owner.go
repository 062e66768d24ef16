package cluster

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Marks that tools leave on what they own (R§6.5, R§6.6).
const (
	managedBy     = "app.kubernetes.io/managed-by"
	helmName      = "meta.helm.sh/release-name"
	helmNamespace = "meta.helm.sh/release-namespace"
	owningIOP     = "install.operator.istio.io/owning-resource" // charts render it too, as "unknown"
	// owningNamespace is what only istioctl adds.
	owningNamespace = "install.operator.istio.io/owning-resource-namespace"
)

// ownerOf says which tool an object belongs to. A GitOps tool comes first: it
// renders charts too, and what it would write back is what counts. The label
// managed-by alone says nothing: istioctl and Argo CD leave it as the chart has it.
func ownerOf(o metav1.Object) mesh.Owner {
	l, a := o.GetLabels(), o.GetAnnotations()
	for _, ref := range o.GetOwnerReferences() {
		if strings.HasPrefix(ref.APIVersion, "sailoperator.io/") || strings.HasPrefix(ref.APIVersion, "operator.istio.io/") {
			return mesh.Owner{Kind: mesh.OwnerSail, Name: ref.Kind + "/" + ref.Name}
		}
	}
	if o, ok := gitOwner(l, a); ok {
		return o
	}
	switch {
	case l[managedBy] == "sail-operator":
		return mesh.Owner{Kind: mesh.OwnerSail}
	case l[managedBy] == "Helm" && a[helmName] != "":
		return mesh.Owner{Kind: mesh.OwnerHelm, Name: a[helmNamespace] + "/" + a[helmName]}
	case l[owningIOP] != "" && l[owningIOP] != "unknown":
		return mesh.Owner{Kind: mesh.OwnerIstioctl, Name: l[owningIOP]}
	case l[owningNamespace] != "": // no file names the installation: "istioctl install --set …"
		return mesh.Owner{Kind: mesh.OwnerIstioctl}
	}
	return mesh.Owner{Kind: mesh.OwnerNone}
}

// gitOwner recognises the tools that write back what Git declares.
func gitOwner(l, a map[string]string) (mesh.Owner, bool) {
	switch {
	case a["argocd.argoproj.io/tracking-id"] != "":
		return mesh.Owner{Kind: mesh.OwnerArgoCD, Name: strings.SplitN(a["argocd.argoproj.io/tracking-id"], ":", 2)[0]}, true
	case l["argocd.argoproj.io/instance"] != "":
		return mesh.Owner{Kind: mesh.OwnerArgoCD, Name: l["argocd.argoproj.io/instance"]}, true
	case l["kustomize.toolkit.fluxcd.io/name"] != "":
		return mesh.Owner{Kind: mesh.OwnerFlux, Name: l["kustomize.toolkit.fluxcd.io/namespace"] + "/" + l["kustomize.toolkit.fluxcd.io/name"]}, true
	case l["helm.toolkit.fluxcd.io/name"] != "":
		return mesh.Owner{Kind: mesh.OwnerFlux, Name: l["helm.toolkit.fluxcd.io/namespace"] + "/" + l["helm.toolkit.fluxcd.io/name"]}, true
	}
	return mesh.Owner{}, false
}
