package test_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/mesh"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/lab"
	"github.com/serin-mesh/serin/lab/bookinfo"
	"github.com/serin-mesh/serin/lab/load"
)

// busy ends the usual load and begins one of 200 requests a second over what a
// gateway's clients use: HTTP/1.1 with new and with kept connections, and HTTP/2.
func (w *world) busy() {
	w.t.Helper()
	w.stop()
	w.load.Wait()
	if s := w.load.Snapshot(); s.Failed > 0 {
		w.t.Fatalf("%d of %d requests lost before anything was done: %s", s.Failed, s.Sent, s.Failures[0].Cause)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.t.Cleanup(stop)
	w.stop, w.sent, w.failed = stop, 0, 0
	w.load = load.Run(ctx, load.Mixed(load.Config{URL: "http://" + w.address + bookinfo.Path, Host: bookinfo.Host, Rate: 200})...)
}

// kinds wants requests of each kind to have been sent.
func (w *world) kinds() {
	w.t.Helper()
	if k := w.load.Snapshot().Kinds; k["http1-new"] < 100 || k["http1-kept"] < 100 || k["http2"] < 100 {
		w.t.Errorf("requests were sent %v: want a hundred of each kind", k)
	}
}

// A gateway of two pods restarts in place with the upgrade, there and back, under 200
// requests a second: never fewer pods ready behind its Service, which stays as it was.
func TestGatewayInPlace_thereAndBack(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	w.scaleIngress("2")
	w.busy()
	before := w.snapshot()
	b := w.watchBehind(bookinfo.Gateway, bookinfo.Gateway)
	w.run(0, "apply", w.plan("1.29.1"), "--approve")
	after := w.snapshot()
	if d := cmp.Diff(before.Edge.Services, after.Edge.Services); d != "" {
		t.Errorf("the Service is not as it was: %s", d)
	}
	for _, g := range after.Gateways() {
		if g.Ready != 2 || g.Next != "1-29-1" || g.Shape != mesh.ShapeHelm {
			t.Errorf("at the end: %+v", g)
		}
	}
	if least, _ := b.least(""); least < 2 {
		t.Errorf("there: ready behind the Service at every instant at least %d, want 2", least)
	}
	if lost := w.tally(); lost > 0 {
		t.Errorf("there: %d requests lost", lost)
	}
	b.reset()
	w.run(5, "rollback")
	if least, _ := b.least(""); least < 2 {
		t.Errorf("back: ready behind the Service at every instant at least %d, want 2", least)
	}
	if d := cmp.Diff(before.Edge.Services, w.snapshot().Edge.Services); d != "" {
		t.Errorf("the Service is not as it was: %s", d)
	}
	w.kinds()
	w.lost()
}

// planted is what is wrong with a new gateway, and what must find it before a client
// meets it: a gate, or a finding before anything is touched.
type planted struct {
	name   string
	by     string   // the gate, or the finding's code
	says   []string // what a reader is told
	plant  func(p *plantings)
	lift   func(p *plantings)
	late   bool                      // planted once the new gateway is proven, before it is let in
	refuse func(p *plantings) string // the command that must refuse, where it is not gateway add
}

// plantings are a world whose gateway serves a host of TLS and a third one as well.
type plantings struct {
	*world

	t    *testing.T
	flap context.CancelFunc
}

const secondGateway = "istio-ingress-1-29-1"

// Each thing that can be wrong with a new gateway is found, by the gate that the
// table names, and until it is, no client has met one of its pods: what these have
// counted themselves does not grow while clients send theirs. S-28 to S-30.
func TestGatewayCanary_plantedFaults(t *testing.T) {
	nightly(t)
	p := &plantings{world: newWorld(t, "1.27.0", "1.29.1"), t: t}
	p.scaleIngress("2")
	p.run(0, "install", "istiod", "--revision", "1-29-1", "--version", "1.29.1", "--charts", p.lab.ChartRepo(), "--from-revision", "default", "-y")
	p.furnish()
	p.busy()
	for _, f := range faultsPlanted() {
		t.Run(f.name, func(t *testing.T) { p.in(t).caught(f) })
	}
	if lost := p.tally(); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}
	p.lost()
}

func (p *plantings) in(t *testing.T) *plantings {
	t.Helper()
	w := *p.world
	w.t = t
	return &plantings{world: &w, t: t}
}

func (p *plantings) caught(f planted) {
	p.t.Helper()
	b := p.watchBehind(bookinfo.Gateway, bookinfo.Gateway)
	traffic := []string{"--soak", "5s", "--patience", "20s", "--probe-url", "http://" + p.address + bookinfo.Path, "--probe-host", bookinfo.Host}
	add := append([]string{"gateway", "add", bookinfo.Gateway, "--revision", "1-29-1", "--charts", p.lab.ChartRepo()}, traffic...)
	if f.late {
		p.run(0, add...)
	}
	f.plant(p)
	out := ""
	switch {
	case f.refuse != nil:
		out = f.refuse(p)
	case f.late:
		out = p.refused(4, append([]string{"gateway", "shift", secondGateway, "--to", "1"}, traffic...)...)
	default:
		out = p.refused(4, add...)
	}
	for _, want := range append(f.says, f.by) {
		if !strings.Contains(out, want) {
			p.t.Errorf("it was not caught by %s: no %q in\n%s", f.by, want, out)
		}
	}
	asked := p.counted(secondGateway)
	sent := p.load.Snapshot().Sent
	eventually(p.t, "clients to have sent two hundred requests more", func() bool { return p.load.Snapshot().Sent > sent+200 })
	if d := cmp.Diff(asked, p.counted(secondGateway)); d != "" {
		p.t.Errorf("clients met the new pods %v: %s", asked, d)
	}
	if least, in := b.least(secondGateway); in || least < 2 {
		p.t.Errorf("a new pod was in the Service: %v; ready at least %d, want 2", in, least)
	}
	if f.lift != nil {
		f.lift(p)
	}
	if f.refuse == nil {
		p.run(5, "rollback")
	}
	if f.late { // the run that added it has ended
		p.run(0, append([]string{"gateway", "remove", secondGateway, "-y"}, traffic...)...)
	}
	eventually(p.t, "the new pods to have ended", func() bool { return len(p.counted(secondGateway)) == 0 })
}

// refused runs serin and returns all that it said.
func (p *plantings) refused(code int, args ...string) string {
	p.t.Helper()
	got, out := p.ran(args...)
	if got != code {
		p.t.Errorf("serin %s: exit code %d, want %d", strings.Join(args, " "), got, code)
	}
	return out
}

func faultsPlanted() []planted {
	pinned := func(kind, name string) (func(p *plantings), func(p *plantings)) {
		return func(p *plantings) { p.pinned(kind, name, `"default"`) }, func(p *plantings) { p.pinned(kind, name, "null") }
	}
	route, routed := pinned("virtualservices", "bookinfo")
	listener, listens := pinned("gateways", "secure")
	const at = bookinfo.Gateway + "/" + secondGateway
	return []planted{
		// the first: an istiod remembers for a minute that an account may read secrets
		{name: "lacks a certificate", by: "gate parity is shut", says: []string{"lack what", "certificate kubernetes://shop"}, plant: func(p *plantings) { p.mayRead(false) }, lift: func(p *plantings) { p.mayRead(true) }},
		{name: "lacks a route", by: "gate parity is shut", says: []string{"lack what", "route http.80 bookinfo.example.com"}, plant: route, lift: routed},
		{name: "lacks a listener", by: "gate parity is shut", says: []string{"lack what", "listener :443"}, plant: listener, lift: listens},
		{
			name: "answers a host with 404", by: "gate answers is shut", says: []string{"http://extra.example.com:80", "404 Not Found by " + secondGateway},
			plant: func(p *plantings) { p.fault("lose-host", at, "extra.example.com") }, lift: func(p *plantings) { p.fault("find-host", at) },
		},
		{
			name: "is out of sync", by: "proxies shut", says: []string{"rejected CDS"}, late: true,
			plant: func(p *plantings) { p.outOfSync() }, lift: func(p *plantings) { p.dropService() },
		},
		{
			name: "its readiness flaps", by: "rolled-out unknown", says: []string{"open and close again", "waiting for " + secondGateway},
			plant: func(p *plantings) { p.flaps(at) }, lift: func(p *plantings) { p.flap(); p.fault("unstall", at) },
		},
		{
			name: "its namespace makes it an old one", by: "SRN1031", says: []string{"the labels of namespace istio-ingress decide"},
			plant: func(p *plantings) { p.labelIngress(`{"istio-injection":"enabled"}`) }, lift: func(p *plantings) { p.labelIngress(`{"istio-injection":null}`) },
			refuse: func(p *plantings) string {
				return p.refused(3, "gateway", "add", bookinfo.Gateway, "--revision", "1-29-1", "--charts", p.lab.ChartRepo())
			},
		},
		{
			name: "two HPAs", by: "SRN1405", says: []string{"2 HorizontalPodAutoscalers size it"},
			plant: func(p *plantings) { p.scalers("one", "two") }, lift: func(p *plantings) { p.noScalers("one", "two") },
			refuse: func(p *plantings) string {
				return p.refused(3, "gateway", "add", bookinfo.Gateway, "--revision", "1-29-1", "--charts", p.lab.ChartRepo())
			},
		},
	}
}

// furnish gives the gateway a host of TLS, and a third one.
func (p *plantings) furnish() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	chain, key := selfSigned(p.t, "shop.example.com")
	_, err := p.kube.CoreV1().Secrets(bookinfo.Gateway).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": chain, "tls.key": key},
	}, metav1.CreateOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.apply(ctx, "testdata/furnished.yaml")
	eventually(p.t, "the gateway to have its certificate and its listeners", func() bool {
		pods, err := p.kube.CoreV1().Pods(bookinfo.Gateway).List(p.t.Context(), metav1.ListOptions{})
		if err != nil || len(pods.Items) == 0 {
			return false
		}
		for _, pod := range pods.Items {
			page := p.page(pod.Name, 15000, "/config_dump")
			if !strings.Contains(page, "kubernetes://shop") || strings.Contains(page, "dynamicWarmingSecrets") || !strings.Contains(page, "extra.example.com") {
				return false
			}
		}
		return true
	})
}

func selfSigned(tb testing.TB, host string) ([]byte, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
}

func (p *plantings) fault(name string, args ...string) {
	p.t.Helper()
	if err := p.lab.Fault(p.t.Context(), lab.Fault{Name: name, Args: args}); err != nil {
		p.t.Fatal(err)
	}
}

// page is what a pod of the gateway answers on a port of its own.
func (p *plantings) page(pod string, port int, path string) string {
	p.t.Helper()
	g := evidence.New(evidence.Config{REST: p.cfg, Client: p.kube, Now: clock.Now})
	defer g.Close()
	page, err := g.Get(p.t.Context(), bookinfo.Gateway, pod, port, path)
	if err != nil {
		p.t.Log(err)
	}
	return string(page)
}

// pinned lets only one revision read an object (R§1.6).
func (p *plantings) pinned(kind, name, value string) {
	p.t.Helper()
	patch := `{"metadata":{"labels":{"istio.io/rev":` + value + `}}}`
	err := p.kube.Discovery().RESTClient().Patch(types.MergePatchType).AbsPath("/apis/networking.istio.io/v1/namespaces/default/" + kind + "/" + name).Body([]byte(patch)).Do(p.t.Context()).Error()
	if err != nil {
		p.t.Fatal(err)
	}
}

// mayRead gives the gateway's account its right to secrets, or takes it away: what
// it has already stays with the pods that have it.
func (p *plantings) mayRead(yes bool) { //nolint:revive // a switch
	p.t.Helper()
	api := p.kube.RbacV1().Roles(bookinfo.Gateway)
	role, err := api.Get(p.t.Context(), bookinfo.Gateway, metav1.GetOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	role.Rules = nil
	if yes {
		role.Rules = []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "watch", "list"}}}
	}
	if _, err := api.Update(p.t.Context(), role, metav1.UpdateOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

const clusterType = "type.googleapis.com/envoy.config.cluster.v3.Cluster"

// outOfSync has the new pods reject what the old ones take: a Service more.
func (p *plantings) outOfSync() {
	p.t.Helper()
	pods, err := p.kube.CoreV1().Pods(bookinfo.Gateway).List(p.t.Context(), metav1.ListOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, pod := range pods.Items {
		if strings.HasPrefix(pod.Name, secondGateway) {
			p.fault("reject", pod.Namespace+"/"+pod.Name, clusterType)
		}
	}
	_, err = p.kube.CoreV1().Services("default").Create(p.t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "another"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "details"}, Ports: []corev1.ServicePort{{Name: "http", Port: 9080}}},
	}, metav1.CreateOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *plantings) dropService() {
	p.t.Helper()
	if err := p.kube.CoreV1().Services("default").Delete(p.t.Context(), "another", metav1.DeleteOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

// flaps lets the new pods be ready and not ready in turns of two seconds.
func (p *plantings) flaps(at string) {
	ctx, stop := context.WithCancel(p.t.Context())
	p.flap = stop
	p.fault("stall", at)
	go func() {
		t := time.NewTicker(2 * time.Second)
		defer t.Stop()
		for on := false; ; on = !on {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			name := map[bool]string{true: "stall", false: "unstall"}[on]
			if err := p.lab.Fault(ctx, lab.Fault{Name: name, Args: []string{at}}); err != nil && !errors.Is(err, context.Canceled) {
				return
			}
		}
	}()
}

func (p *plantings) labelIngress(labels string) {
	p.t.Helper()
	if _, err := p.kube.CoreV1().Namespaces().Patch(p.t.Context(), bookinfo.Gateway, types.MergePatchType, []byte(`{"metadata":{"labels":`+labels+`}}`), metav1.PatchOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plantings) scalers(names ...string) {
	p.t.Helper()
	for _, n := range names {
		_, err := p.kube.AutoscalingV2().HorizontalPodAutoscalers(bookinfo.Gateway).Create(p.t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Name: n},
			Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 5, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: bookinfo.Gateway}},
		}, metav1.CreateOptions{})
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *plantings) noScalers(names ...string) {
	p.t.Helper()
	for _, n := range names {
		if err := p.kube.AutoscalingV2().HorizontalPodAutoscalers(bookinfo.Gateway).Delete(p.t.Context(), n, metav1.DeleteOptions{}); err != nil {
			p.t.Fatal(err)
		}
	}
}
