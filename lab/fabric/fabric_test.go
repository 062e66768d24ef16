package fabric_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/serin-mesh/serin/lab/fabric"
)

// echo is a pod that says its name on one port.
type echo struct {
	name string
	port int
}

func (e echo) Accept(port int, c net.Conn) bool {
	if port != e.port {
		return false
	}
	go func() {
		_, _ = io.WriteString(c, e.name)
		_ = c.Close()
	}()
	return true
}

func service(clusterIP string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec:       corev1.ServiceSpec{ClusterIPs: []string{clusterIP}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
}

func endpoint(ip string, ready, leaving bool) discoveryv1.Endpoint {
	serving := true
	return discoveryv1.Endpoint{
		Addresses:  []string{ip},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &leaving},
	}
}

func slice(eps ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	name, port := "http", int32(8080)
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-1", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"}},
		Ports:      []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
		Endpoints:  eps,
	}
}

// ask is what answers at an address, or the error.
func ask(ctx context.Context, f *fabric.Fabric, ns, address string) string {
	c, err := f.Namespace(ns).DialContext(ctx, "tcp", address)
	if err != nil {
		return "error: " + err.Error()
	}
	defer func() { _ = c.Close() }()
	all, err := io.ReadAll(c)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(all)
}

// answers asks until everything wanted has answered, and nothing else does.
func answers(ctx context.Context, t *testing.T, f *fabric.Fabric, address string, want ...string) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		var got []string
		for range 40 {
			if a := ask(ctx, f, "shop", address); !slices.Contains(got, a) {
				got = append(got, a)
			}
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s answers %q, want %q", address, got, want)
		}
	}
}

func TestDial_findsReadyEndpointsByEveryName(t *testing.T) {
	ctx := t.Context()
	client := fake.NewClientset(service("10.96.0.9"), slice(
		endpoint("10.244.0.1", true, false), endpoint("10.244.0.2", true, false), endpoint("10.244.0.3", false, true)))
	f, err := fabric.New(ctx, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for ip, name := range map[string]string{"10.244.0.1": "one", "10.244.0.2": "two", "10.244.0.3": "leaving"} {
		f.Attach(ip, echo{name, 8080})
	}
	if err := f.Watch(ctx, client); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"10.96.0.9:80", "cart:80", "cart.shop:80", "cart.shop.svc:80", "cart.shop.svc.cluster.local:80", "cart.shop.svc.cluster.local.:80"} {
		answers(ctx, t, f, address, "one", "two")
	}
	answers(ctx, t, f, "10.244.0.3:8080", "leaving")
}

func TestDial_whenAllLeaveThoseThatServeAnswer(t *testing.T) {
	ctx := t.Context()
	client := fake.NewClientset(service("10.96.0.9"), slice(endpoint("10.244.0.3", false, true)))
	f, err := fabric.New(ctx, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	f.Attach("10.244.0.3", echo{"leaving", 8080})
	if err := f.Watch(ctx, client); err != nil {
		t.Fatal(err)
	}
	answers(ctx, t, f, "cart:80", "leaving")
}

func TestDial_headlessNamesLeadToAPod(t *testing.T) {
	ctx := t.Context()
	client := fake.NewClientset(service(corev1.ClusterIPNone), slice(endpoint("10.244.0.1", true, false)))
	f, err := fabric.New(ctx, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	f.Attach("10.244.0.1", echo{"one", 8080})
	if err := f.Watch(ctx, client); err != nil {
		t.Fatal(err)
	}
	answers(ctx, t, f, "cart:8080", "one")
}

func TestDial_refuses(t *testing.T) {
	ctx := t.Context()
	f, err := fabric.New(ctx, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	f.Attach("10.244.0.1", echo{"one", 8080})
	f.Attach("10.244.0.2", echo{"two", 8080})
	f.Detach("10.244.0.2")
	for name, address := range map[string]string{
		"a port nobody listens on": "10.244.0.1:9090",
		"a pod that is gone":       "10.244.0.2:8080",
		"an address never used":    "10.244.9.9:8080",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := f.Namespace("").DialContext(ctx, "tcp", address); !errors.Is(err, fabric.ErrRefused) {
				t.Errorf("dialing %s: %v, want %v", address, err, fabric.ErrRefused)
			}
		})
	}
	if got := ask(ctx, f, "shop", "nobody:80"); !strings.Contains(got, "no such host") {
		t.Errorf("an unknown name: %s", got)
	}
}

func TestWatch_changesTakeTheirDelay(t *testing.T) {
	const delay = 400 * time.Millisecond
	ctx := t.Context()
	client := fake.NewClientset(service("10.96.0.9"), slice(endpoint("10.244.0.1", true, false)))
	f, err := fabric.New(ctx, delay)
	if err != nil {
		t.Fatal(err)
	}
	f.Attach("10.244.0.1", echo{"old", 8080})
	f.Attach("10.244.0.2", echo{"new", 8080})
	if err := f.Watch(ctx, client); err != nil {
		t.Fatal(err)
	}
	answers(ctx, t, f, "cart:80", "old")
	changed := time.Now()
	if _, err := client.DiscoveryV1().EndpointSlices("shop").Update(ctx, slice(endpoint("10.244.0.2", true, false)), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for ask(ctx, f, "shop", "cart:80") == "old" {
		if time.Since(changed) > 5*time.Second {
			t.Fatal("the change never arrived")
		}
	}
	if took := time.Since(changed); took < delay {
		t.Errorf("the change arrived after %s, sooner than %s", took, delay)
	}
}

func TestListener_servesItsPortOnly(t *testing.T) {
	ctx := t.Context()
	f, err := fabric.New(ctx, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	l := fabric.NewListener("10.99.0.1", 10250)
	f.Attach("10.99.0.1", l.Net())
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.WriteString(c, "kubelet")
			_ = c.Close()
		}
	}()
	if got := ask(ctx, f, "", "10.99.0.1:10250"); got != "kubelet" {
		t.Errorf("got %q", got)
	}
	_ = l.Close()
	for _, address := range []string{"10.99.0.1:10250", "10.99.0.1:80"} {
		if _, err := f.Namespace("").DialContext(ctx, "tcp", address); !errors.Is(err, fabric.ErrRefused) {
			t.Errorf("dialing %s after Close: %v", address, err)
		}
	}
}
