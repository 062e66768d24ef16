package cluster_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/mesh"
)

func TestOwnerOf(t *testing.T) {
	for name, tc := range map[string]struct {
		o    metav1.ObjectMeta
		want mesh.Owner
	}{
		"nobody": {want: mesh.Owner{Kind: mesh.OwnerNone}},
		"Helm": {
			o: byHelm(metav1.ObjectMeta{}, "istiod"), want: mesh.Owner{Kind: mesh.OwnerHelm, Name: "istio-system/istiod"},
		},
		"the label of Helm alone is what charts render, also for istioctl": {
			o: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}}, want: mesh.Owner{Kind: mesh.OwnerNone},
		},
		"istioctl": {
			o:    metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm", "install.operator.istio.io/owning-resource": "installed-state"}},
			want: mesh.Owner{Kind: mesh.OwnerIstioctl, Name: "installed-state"},
		},
		"istioctl install without a file": {
			o: metav1.ObjectMeta{Labels: map[string]string{
				"app.kubernetes.io/managed-by": "Helm", "install.operator.istio.io/owning-resource": "unknown",
				"install.operator.istio.io/owning-resource-namespace": "istio-system",
			}},
			want: mesh.Owner{Kind: mesh.OwnerIstioctl},
		},
		"Helm's istiod chart says unknown": {
			o:    metav1.ObjectMeta{Labels: map[string]string{"install.operator.istio.io/owning-resource": "unknown"}},
			want: mesh.Owner{Kind: mesh.OwnerNone},
		},
		"Argo CD by annotation": {
			o:    metav1.ObjectMeta{Annotations: map[string]string{"argocd.argoproj.io/tracking-id": "istio:apps/Deployment:istio-system/istiod"}},
			want: mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istio"},
		},
		"Argo CD by label": {
			o:    metav1.ObjectMeta{Labels: map[string]string{"argocd.argoproj.io/instance": "istio"}},
			want: mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istio"},
		},
		"Flux's Helm controller, before the Helm it uses": {
			o: byHelm(metav1.ObjectMeta{Labels: map[string]string{
				"helm.toolkit.fluxcd.io/name": "istiod", "helm.toolkit.fluxcd.io/namespace": "flux-system",
			}}, "istiod"),
			want: mesh.Owner{Kind: mesh.OwnerFlux, Name: "flux-system/istiod"},
		},
		"Flux's Kustomize controller": {
			o: metav1.ObjectMeta{Labels: map[string]string{
				"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
			}},
			want: mesh.Owner{Kind: mesh.OwnerFlux, Name: "flux-system/apps"},
		},
		"Sail, before the Helm it uses": {
			o: byHelm(metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "sailoperator.io/v1", Kind: "IstioRevision", Name: "default"},
			}}, "istiod"),
			want: mesh.Owner{Kind: mesh.OwnerSail, Name: "IstioRevision/default"},
		},
		"S-46: Argo CD, which by default leaves a label that charts have too": {
			o:    byHelm(metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "argocd-controller", Operation: "Apply"}}}, "istiod"),
			want: mesh.Owner{Kind: mesh.OwnerArgoCD},
		},
		"S-46: Terraform leaves no other mark": {
			o:    metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}, {Manager: "Terraform", Operation: "Apply"}}},
			want: mesh.Owner{Kind: mesh.OwnerTerraform},
		},
		"a status is no declaration": {
			o:    metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "argocd-controller", Subresource: "status"}, {Manager: "serin"}}},
			want: mesh.Owner{Kind: mesh.OwnerNone},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, cluster.OwnerOf(&tc.o)); d != "" {
				t.Error("-want +got", d)
			}
		})
	}
}

// Who has made a namespace, and says nothing of its injection labels, would not
// write them back. S-46.
func TestS46_ownerOfANamespace(t *testing.T) {
	written := func(by, fields string) metav1.ObjectMeta {
		return metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: by, FieldsV1: metav1.NewFieldsV1(fields)}}}
	}
	for name, tc := range map[string]struct {
		o    metav1.ObjectMeta
		want mesh.Owner
	}{
		"nobody's":                          {o: metav1.ObjectMeta{}, want: mesh.Owner{Kind: mesh.OwnerNone}},
		"Argo CD has made it":               {o: written("argocd-controller", `{"f:metadata":{"f:labels":{"f:team":{}}}}`), want: mesh.Owner{Kind: mesh.OwnerNone}},
		"Argo CD has labelled it":           {o: written("argocd-controller", `{"f:metadata":{"f:labels":{"f:istio-injection":{}}}}`), want: mesh.Owner{Kind: mesh.OwnerArgoCD}},
		"Flux, with the new label":          {o: written("kustomize-controller", `{"f:metadata":{"f:labels":{"f:istio.io/rev":{}}}}`), want: mesh.Owner{Kind: mesh.OwnerFlux}},
		"Terraform has labelled it":         {o: written("Terraform", `{"f:metadata":{"f:labels":{"f:istio.io/rev":{}}}}`), want: mesh.Owner{Kind: mesh.OwnerTerraform}},
		"a person":                          {o: written("kubectl-label", `{"f:metadata":{"f:labels":{"f:istio.io/rev":{}}}}`), want: mesh.Owner{Kind: mesh.OwnerNone}},
		"fields that nobody can read":       {o: written("argocd-controller", `{`), want: mesh.Owner{Kind: mesh.OwnerNone}},
		"a mark that says all of it is its": {o: metav1.ObjectMeta{Annotations: map[string]string{"argocd.argoproj.io/tracking-id": "shop:/Namespace:/shop"}}, want: mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "shop"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, cluster.NamespaceOwner(&tc.o)); d != "" {
				t.Error("-want +got", d)
			}
		})
	}
}

func TestImageVersion(t *testing.T) {
	for image, want := range map[string]string{
		"docker.io/istio/proxyv2:1.27.0":            "1.27.0",
		"docker.io/istio/proxyv2:1.29.1-distroless": "1.29.1",
		"registry:5000/istio/proxyv2:1.29.1-debug":  "1.29.1",
		"registry:5000/istio/proxyv2":               "",
		"istio/proxyv2:1.29.1@sha256:aa":            "1.29.1",
		"istio/proxyv2@sha256:aa":                   "",
		"istio/pilot:1.30.0-alpha.1":                "1.30.0-alpha.1",
	} {
		if got := cluster.ImageVersion(image); got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}

func TestRevisionOf(t *testing.T) {
	for name, tc := range map[string]struct {
		annotations map[string]string
		env         string
		want        string
	}{
		"the annotation": {annotations: map[string]string{mesh.RevLabel: "a", "sidecar.istio.io/status": `{"revision":"b"}`}, want: "a"},
		"the injector's record": {
			annotations: map[string]string{"sidecar.istio.io/status": `{"containers":["istio-proxy"],"revision":"b"}`}, env: `{"discoveryAddress":"istiod-c.istio-system.svc:15012"}`, want: "b",
		},
		"whom the proxy calls":                {env: `{"discoveryAddress":"istiod-1-29-1.istio-system.svc:15012"}`, want: "1-29-1"},
		"the unrevisioned istiod":             {env: `{"discoveryAddress":"istiod.istio-system.svc:15012"}`, want: "default"},
		"somebody else's address":             {env: `{"discoveryAddress":"mesh.example.com:15012"}`},
		"a record that cannot be read":        {annotations: map[string]string{"sidecar.istio.io/status": `{`}},
		"nothing at all, as in a pod by hand": {},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod("x", "", "1.27.0", nil)
			p.Annotations = tc.annotations
			if tc.env != "" {
				p.Spec.Containers[1].Env = []corev1.EnvVar{{Name: "PROXY_CONFIG", Value: tc.env}}
			}
			if got := cluster.RevisionOfPod(p); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestStrategiesAreResolvedAsTheControllersDo(t *testing.T) {
	percent := func(s string) *intstr.IntOrString { v := intstr.FromString(s); return &v }
	number := func(n int32) *intstr.IntOrString { v := intstr.FromInt32(n); return &v }
	for name, tc := range map[string]struct {
		n                  int32
		surge, unavailable *intstr.IntOrString
		wantS, wantU       int
	}{
		"the defaults of one: surge rounds up, unavailable down": {n: 1, wantS: 1, wantU: 0},
		"the defaults of ten":           {n: 10, wantS: 3, wantU: 2},
		"numbers":                       {n: 3, surge: number(2), unavailable: number(0), wantS: 2},
		"both nothing would never move": {n: 3, surge: number(0), unavailable: percent("10%"), wantS: 0, wantU: 1},
		"a hundred percent":             {n: 4, surge: percent("100%"), unavailable: percent("50%"), wantS: 4, wantU: 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := deployment("shop", "cart", tc.n, "app", "x")
			d.Spec.Strategy = appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: tc.surge, MaxUnavailable: tc.unavailable},
			}
			got := cluster.WorkloadOfDeployment(d)
			if got.MaxSurge != tc.wantS || got.MaxUnavailable != tc.wantU {
				t.Errorf("got surge %d and unavailable %d", got.MaxSurge, got.MaxUnavailable)
			}
		})
	}
	d := deployment("shop", "cart", 3, "app", "x")
	d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
	if got := cluster.WorkloadOfDeployment(d); got.Strategy != "Recreate" || got.MaxSurge != 0 || got.MaxUnavailable != 0 {
		t.Errorf("Recreate: got %+v", got)
	}
}

func TestSettled(t *testing.T) {
	for name, change := range map[string]func(*appsv1.DeploymentStatus){
		"not seen by its controller": func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 0 },
		"an old pod is left":         func(s *appsv1.DeploymentStatus) { s.Replicas = 3 },
		"a new pod is missing":       func(s *appsv1.DeploymentStatus) { s.UpdatedReplicas = 1 },
		"a pod is not available":     func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 1 },
	} {
		d := deployment("shop", "cart", 2, "app", "x")
		if !cluster.WorkloadOfDeployment(d).Settled {
			t.Fatal("it is settled to begin with")
		}
		change(&d.Status)
		if cluster.WorkloadOfDeployment(d).Settled {
			t.Errorf("%s: it counts as settled", name)
		}
	}
}

func TestMasked(t *testing.T) {
	values := map[string]any{
		"global":   map[string]any{"imagePullSecrets": []any{"regcred"}, "jwtPolicy": "third-party-jwt", "hub": "x"},
		"password": "p", "apiToken": "t", "private_key": "k", "empty_password": "",
		"env":      []any{map[string]any{"name": "API_TOKEN", "value": "v"}, map[string]any{"name": "LEVEL", "value": "debug"}},
		"gateways": map[string]any{"credentialName": "cert"},
	}
	want := map[string]any{
		"global":   map[string]any{"imagePullSecrets": []any{"regcred"}, "jwtPolicy": "third-party-jwt", "hub": "x"},
		"password": "(hidden)", "apiToken": "(hidden)", "private_key": "(hidden)", "empty_password": "",
		"env":      []any{map[string]any{"name": "API_TOKEN", "value": "(hidden)"}, map[string]any{"name": "LEVEL", "value": "debug"}},
		"gateways": map[string]any{"credentialName": "cert"},
	}
	if d := cmp.Diff(want, cluster.Masked(values)); d != "" {
		t.Error("-want +got", d)
	}
}
