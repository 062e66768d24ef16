package istiod_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/serin-mesh/serin/internal/istiod"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a authority) sign(name string, isCA bool) authority {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.renew(name, key, isCA)
}

func (a authority) renew(name string, key *ecdsa.PrivateKey, isCA bool) authority {
	a.t.Helper()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: true,
		NotBefore: now, NotAfter: now.AddDate(100, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return authority{a.t, made, key}
}

func TestRootOf(t *testing.T) {
	root, other := authority{t: t}.sign("root", true), authority{t: t}.sign("root", true) // of the same name
	between := root.sign("between", true)
	leaf := between.sign("istiod", false)
	renewed := authority{t: t}.renew("root", root.key, true)
	roots := []*x509.Certificate{other.cert, root.cert}
	for _, tt := range []struct {
		name         string
		chain, roots []*x509.Certificate
		want         string
	}{
		{"signed by the root itself", []*x509.Certificate{root.sign("istiod", false).cert}, roots, istiod.Key(root.cert)},
		{"through an authority between", []*x509.Certificate{leaf.cert, between.cert}, roots, istiod.Key(root.cert)},
		{"the authority between is not shown", []*x509.Certificate{leaf.cert}, roots, ""},
		{"another root of the same name", []*x509.Certificate{leaf.cert, between.cert}, roots[:1], ""},
		{"a root that was renewed with its key", []*x509.Certificate{leaf.cert, between.cert}, []*x509.Certificate{renewed.cert}, istiod.Key(root.cert)},
		{"no root", []*x509.Certificate{leaf.cert, between.cert}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := istiod.RootOf(tt.chain, tt.roots); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func amount(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func asking(node, cpu, memory string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p-" + node + cpu, Namespace: "shop"},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: amount(cpu, memory)}}}},
	}
}

func node(name, cpu string, spec corev1.NodeSpec) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"disk": name}}, Spec: spec,
		Status: corev1.NodeStatus{Allocatable: amount(cpu, "8Gi")},
	}
}

func TestNeed_isAPodMoreWhereItSurgesElseWhatItAsksForMore(t *testing.T) {
	tainted := corev1.NodeSpec{Taints: []corev1.Taint{{Key: "only", Value: "gpu", Effect: corev1.TaintEffectNoSchedule}}}
	busy := asking("a", "3", "1Gi")
	client := fake.NewSimpleClientset(node("a", "4", corev1.NodeSpec{}), node("b", "8", tainted), node("c", "8", corev1.NodeSpec{Unschedulable: true}), &busy)
	always := corev1.ContainerRestartPolicyAlways
	surging := mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "surging"}, MaxSurge: 1}
	inPlace := mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindStatefulSet, Namespace: "shop", Name: "in-place"}}
	q := shadow.Question{Snapshot: mesh.Snapshot{Workloads: []mesh.Workload{surging, inPlace}}}
	for _, tt := range []struct {
		name       string
		of         mesh.Workload
		change     func(*corev1.Pod)
		cpu        string
		nodes, fit int
	}{
		{"it fits", surging, nil, "1", 1, 1},
		{"it does not fit beside the one that is there", surging, nil, "1100m", 1, 0},
		{"a native sidecar counts", surging, func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{RestartPolicy: &always, Resources: corev1.ResourceRequirements{Requests: amount("100m", "1Mi")}}}
		}, "1", 1, 0},
		{"an init container that ends counts only where it asks for more", surging, func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: amount("900m", "1Mi")}}}
		}, "1", 1, 1},
		{"what tolerates the taint has more nodes", surging, func(p *corev1.Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Key: "only", Operator: corev1.TolerationOpExists}}
		}, "2", 2, 1},
		{"no node has its label", surging, func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "z"} }, "1", 0, 0},
		{"in place it needs nothing more", inPlace, nil, "3", 1, 1},
		{"in place it needs what it asks for more", inPlace, nil, "4", 1, 1},
		{"in place it asks for too much", inPlace, nil, "5", 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after := asking("", tt.cpu, "1Gi")
			if tt.change != nil {
				tt.change(&after)
			}
			got, err := istiod.NeedOf(t.Context(), client, q, tt.of.Ref, [2]corev1.Pod{busy, after})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([2]int{tt.nodes, tt.fit}, [2]int{got.Nodes, got.Fit}); d != "" {
				t.Errorf("%+v: %s", got, d)
			}
		})
	}
}
