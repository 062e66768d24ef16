package mesh

import (
	"cmp"
	"slices"
	"strings"
)

// DefaultRevision is the name Istio gives to a control plane that was installed
// without a revision. Its objects carry no suffix (R§3.1).
const DefaultRevision = "default"

// DefaultTag is the revision tag that namespaces labelled istio-injection=enabled follow (R§2.3).
const DefaultTag = "default"

// Labels and annotations that decide who injects a pod and say who did (R§16).
const (
	RevLabel            = "istio.io/rev"
	TagLabel            = "istio.io/tag"
	InjectionLabel      = "istio-injection"
	InjectLabel         = "sidecar.istio.io/inject"
	TemplatesAnnotation = "inject.istio.io/templates"
)

// RehearsalLabel marks a namespace that serin made for a rehearsal, and everything
// in it; its value is the namespace whose workloads are copied.
const RehearsalLabel = "serin.dev/rehearsal"

// Snapshot is every fact the planner may use, at one moment. It is a value: two
// equal snapshots give the same plan. It holds no secrets. Every list is sorted
// by its elements' identity (namespace, kind, name).
type Snapshot struct {
	KubernetesVersion string         `json:"kubernetesVersion"`         // of the API server, "v1.36.3"
	IstioNamespace    string         `json:"istioNamespace"`            // where the control planes live
	ControlPlanes     []ControlPlane `json:"controlPlanes,omitempty"`   // one for each revision
	Injectors         []Injector     `json:"injectors,omitempty"`       // MutatingWebhookConfigurations of revisions and of tags
	Validators        []Validator    `json:"validators,omitempty"`      // ValidatingWebhookConfigurations of Istio
	TagServices       []TagService   `json:"tagServices,omitempty"`     // Services istiod-revision-tag-*, from 1.28 (R§2.1)
	Namespaces        []Namespace    `json:"namespaces,omitempty"`      // all of them
	Workloads         []Workload     `json:"workloads,omitempty"`       // everything that owns pods and is injected, or would be
	Pods              []Pod          `json:"pods,omitempty"`            // pods with a proxy, and pods of Workloads
	Releases          []Release      `json:"releases,omitempty"`        // Helm releases of Istio's charts
	PinnedObjects     []Object       `json:"pinnedObjects,omitempty"`   // Istio configuration that carries istio.io/rev (R§1.6)
	ManagedGateways   []Object       `json:"managedGateways,omitempty"` // Gateway API gateways that istiod deploys
	Singletons        []Singleton    `json:"singletons,omitempty"`      // istio-cni and ztunnel: no revision (R§10)
	Unsupported       []Object       `json:"unsupported,omitempty"`     // shapes serin refuses to run blind (S-19), Note says why
	CRDs              []CRD          `json:"crds,omitempty"`            // of the istio.io groups
	RoutedServices    []string       `json:"routedServices,omitempty"`  // namespace/name that a gateway-bound VirtualService routes to
	Edge              Edge           `json:"edge,omitzero"`             // gateways' Services, Gateways and scalers
	Claims            []Claim        `json:"claims,omitempty"`          // tags without an injector: istiods take them for their own (S-21)
	Telemetries       []Telemetry    `json:"telemetries,omitempty"`     // that gateway logs has added (S-34)
	Survey            *Survey        `json:"survey,omitempty"`          // what only checks look at; nil where nobody looked
}

// ControlPlane is one istiod Deployment.
type ControlPlane struct {
	Revision  string `json:"revision"` // "default" when installed without one
	Version   string `json:"version"`  // of its image, "1.27.0"
	Namespace string `json:"namespace"`
	Name      string `json:"name"` // of the Deployment and of the Service, "istiod-1-29-1"
	Replicas  int    `json:"replicas"`
	Ready     int    `json:"ready"`
	Owner     Owner  `json:"owner"`
}

// OwnerKind says which tool an object belongs to, and so through what it may be changed.
type OwnerKind string

// The owners serin tells apart.
const (
	OwnerHelm      OwnerKind = "helm"
	OwnerIstioctl  OwnerKind = "istioctl"
	OwnerArgoCD    OwnerKind = "argocd"
	OwnerFlux      OwnerKind = "flux"
	OwnerSail      OwnerKind = "sail"
	OwnerTerraform OwnerKind = "terraform"
	OwnerGit       OwnerKind = "git" // a person says so: some tools leave no mark
	OwnerNone      OwnerKind = "none"
)

// Owner is who an object belongs to: for Helm the release's namespace/name.
type Owner struct {
	Kind OwnerKind `json:"kind"`
	Name string    `json:"name,omitempty"`
}

// Git says whether what the object is stands declared somewhere else, from where
// it would be written back: serin waits until it is changed there (S-45).
func (o Owner) Git() bool {
	switch o.Kind {
	case OwnerArgoCD, OwnerFlux, OwnerSail, OwnerTerraform, OwnerGit:
		return true
	case OwnerHelm, OwnerIstioctl, OwnerNone:
	}
	return false
}

// String is the tool, and what in it.
func (o Owner) String() string {
	if o.Name == "" {
		return string(o.Kind)
	}
	return string(o.Kind) + " " + o.Name
}

// Injector is a MutatingWebhookConfiguration that injects sidecars.
type Injector struct {
	Name     string    `json:"name"`
	Revision string    `json:"revision"`      // label istio.io/rev: the revision it calls
	Tag      string    `json:"tag,omitempty"` // label istio.io/tag, empty for a revision's own
	Owner    Owner     `json:"owner"`
	Webhooks []Webhook `json:"webhooks"`
}

// Webhook is one entry of an Injector.
type Webhook struct {
	Name              string   `json:"name"`
	Service           string   `json:"service"`  // namespace/name it calls, or the URL
	CABundle          bool     `json:"caBundle"` // it has one; without, matching pods cannot be created (R§1.4)
	NamespaceSelector Selector `json:"namespaceSelector"`
	ObjectSelector    Selector `json:"objectSelector"`
}

// Validator is a ValidatingWebhookConfiguration of Istio.
type Validator struct {
	Name          string `json:"name"`
	Revision      string `json:"revision"`
	Tag           string `json:"tag,omitempty"`
	Service       string `json:"service"` // namespace/name
	FailurePolicy string `json:"failurePolicy"`
	Owner         Owner  `json:"owner"`
}

// TagService is the Service that a tag has from Istio 1.28 on (R§2.1).
type TagService struct {
	Name     string `json:"name"`
	Tag      string `json:"tag"`
	Revision string `json:"revision"`
}

// Namespace is a namespace and the labels that matter to injection.
type Namespace struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"` // all labels
	Owner  Owner             `json:"owner"`            // a GitOps tool that would write the labels back (S-46)
}

// WorkloadKind is the kind of controller that owns pods.
type WorkloadKind string

// The workload kinds serin knows; anything else that owns an injected pod is KindOther.
const (
	KindDeployment  WorkloadKind = "Deployment"
	KindStatefulSet WorkloadKind = "StatefulSet"
	KindDaemonSet   WorkloadKind = "DaemonSet"
	KindJob         WorkloadKind = "Job"
	KindPod         WorkloadKind = "Pod" // a bare pod: nothing would make it again
	KindOther       WorkloadKind = "Other"
)

// Ref names a workload.
type Ref struct {
	Kind      WorkloadKind `json:"kind"`
	Namespace string       `json:"namespace"`
	Name      string       `json:"name"`
}

// String returns "namespace/name" for a Deployment, else "kind namespace/name", kind in lower case.
func (r Ref) String() string {
	if r.Kind == KindDeployment || r.Kind == "" {
		return r.Namespace + "/" + r.Name
	}
	return lower(string(r.Kind)) + " " + r.Namespace + "/" + r.Name
}

// Workload is what owns pods that have, or would have, a proxy.
type Workload struct {
	Ref
	Replicas            int               `json:"replicas"` // wanted; for a DaemonSet the number scheduled
	Ready               int               `json:"ready"`
	Strategy            string            `json:"strategy"`       // RollingUpdate, Recreate, OnDelete
	MaxSurge            int               `json:"maxSurge"`       // in pods, resolved against Replicas
	MaxUnavailable      int               `json:"maxUnavailable"` // in pods, resolved against Replicas
	Partition           int               `json:"partition,omitempty"`
	Paused              bool              `json:"paused,omitempty"`
	Settled             bool              `json:"settled"` // no rollout is under way
	TemplateLabels      map[string]string `json:"templateLabels,omitempty"`
	TemplateAnnotations map[string]string `json:"templateAnnotations,omitempty"` // Istio's only
	HostNetwork         bool              `json:"hostNetwork,omitempty"`         // never injected (R§1.3)
	Budget              *Budget           `json:"budget,omitempty"`              // the PodDisruptionBudget that selects its pods
	Services            []string          `json:"services,omitempty"`            // namespace/name of Services that select its pods
	Proxy               *TemplateProxy    `json:"proxy,omitempty"`               // the proxy that its template brings along, as gateways' do
	Gated               bool              `json:"gated,omitempty"`               // its pods have the readiness gate serin.dev/proven (S-29)
	Template            Template          `json:"template,omitzero"`             // what else of its template matters to a restart
	Exposed             []Exposure        `json:"exposed,omitempty"`             // Services through which more than the mesh may reach its pods
	MadeBy              string            `json:"madeBy,omitempty"`              // of a KindOther: the owner's kind and API group, as in "Rollout of argoproj.io"
	Owner               Owner             `json:"owner"`
}

// What is the workload's kind in words.
func (w Workload) What() string { return cmp.Or(w.MadeBy, string(w.Kind), string(KindOther)) }

// Gateway says whether the workload is an injected gateway, not an application with a sidecar.
func (w Workload) Gateway() bool {
	return slices.Contains(strings.Split(w.TemplateAnnotations[TemplatesAnnotation], ","), "gateway")
}

// Budget is a PodDisruptionBudget.
type Budget struct {
	Name               string `json:"name"`
	DisruptionsAllowed int    `json:"disruptionsAllowed"`
}

// Pod is a pod with a proxy, or one that should have one.
type Pod struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Workload  Ref               `json:"workload"`
	Labels    map[string]string `json:"labels,omitempty"`
	Revision  string            `json:"revision,omitempty"` // annotation istio.io/rev: who injected it; empty if nobody did
	Version   string            `json:"version,omitempty"`  // tag of the proxy's image
	Ready     bool              `json:"ready"`
	Held      bool              `json:"held,omitempty"`     // its containers are ready, its readiness gate serin.dev/proven is not open
	Leaving   bool              `json:"leaving,omitempty"`  // it is being deleted
	Restarts  int               `json:"restarts,omitempty"` // of its proxy's container
	Detached  bool              `json:"detached,omitempty"` // its ReplicaSet has let it go, as serin's mark says (S-36)
}

// Release is a Helm release of one of Istio's charts.
type Release struct {
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Chart     string         `json:"chart"`            // base, istiod, gateway
	Version   string         `json:"version"`          // of the chart
	Status    string         `json:"status"`           // Helm's: deployed, failed, pending-upgrade, ...
	Values    map[string]any `json:"values,omitempty"` // the user's
}

// Object is a reference to any object, with a note for people.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Revision  string `json:"revision,omitempty"` // its istio.io/rev label
	Note      string `json:"note,omitempty"`
}

// Singleton is a component that has no revision: istio-cni-node or ztunnel.
type Singleton struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// CRD is an Istio custom resource definition.
type CRD struct {
	Name           string   `json:"name"`
	Established    bool     `json:"established"`
	StoredVersions []string `json:"storedVersions,omitempty"`
	ServedVersions []string `json:"servedVersions,omitempty"`
	Bundle         string   `json:"bundle,omitempty"`  // of the Gateway API: the release it came with
	Version        string   `json:"version,omitempty"` // of the Istio release it came with, where it says so (from 1.24 on)
	Owner          Owner    `json:"owner"`
}
