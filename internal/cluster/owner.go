package cluster

import (
	"encoding/json"
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
	if o, ok := writtenBy(o, func(metav1.ManagedFieldsEntry) bool { return true }); ok {
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

// managers are the field managers of tools that write back what Git declares:
// some leave no other mark.
func managers() map[string]mesh.Owner {
	return map[string]mesh.Owner{
		"argocd-controller":             {Kind: mesh.OwnerArgoCD},
		"argocd-application-controller": {Kind: mesh.OwnerArgoCD},
		"kustomize-controller":          {Kind: mesh.OwnerFlux},
		"helm-controller":               {Kind: mesh.OwnerFlux},
		"Terraform":                     {Kind: mesh.OwnerTerraform},
		"configsync":                    {Kind: mesh.OwnerGit, Name: "Config Sync"},
	}
}

// writtenBy recognises such a tool by the fields that it has written, of those
// that matter. What it says in a status is no declaration.
func writtenBy(o metav1.Object, matters func(metav1.ManagedFieldsEntry) bool) (mesh.Owner, bool) {
	for _, m := range o.GetManagedFields() {
		if owner, ok := managers()[m.Manager]; ok && m.Subresource == "" && matters(m) {
			return owner, true
		}
	}
	return mesh.Owner{}, false
}

// namespaceOwner is whose a namespace's injection labels are. A tool that makes
// namespaces and says nothing of those labels would not write them back.
func namespaceOwner(n metav1.Object) mesh.Owner {
	if o, ok := gitOwner(n.GetLabels(), n.GetAnnotations()); ok {
		return o
	}
	if o, ok := writtenBy(n, injects); ok {
		return o
	}
	bare := metav1.ObjectMeta{Labels: n.GetLabels(), Annotations: n.GetAnnotations(), OwnerReferences: n.GetOwnerReferences()}
	return ownerOf(&bare)
}

// injects says whether the fields have one of the labels that decide injection.
func injects(m metav1.ManagedFieldsEntry) bool {
	var fields struct {
		Metadata struct {
			Labels map[string]any `json:"f:labels"`
		} `json:"f:metadata"`
	}
	if m.FieldsV1 == nil || json.Unmarshal(m.FieldsV1.GetRawBytes(), &fields) != nil {
		return false
	}
	_, rev := fields.Metadata.Labels["f:"+mesh.RevLabel]
	_, injection := fields.Metadata.Labels["f:"+mesh.InjectionLabel]
	return rev || injection
}
