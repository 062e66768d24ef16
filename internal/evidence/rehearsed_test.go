package evidence_test

import (
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/rehearse"
)

// Both sides are asked the same, at a ready pod's own port: a copy that answers
// otherwise, or not at all, differs; where there is nobody to ask nothing is claimed.
func TestRehearsed_asksOriginalAndCopy(t *testing.T) {
	pod := func(ns, app string, ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: app, Labels: map[string]string{"app": app}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "main", ContainerPort: 8080}}}}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
	}
	client := fake.NewClientset()
	net := newNetwork()
	answers := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/health" {
				code = http.StatusTeapot
			}
			w.WriteHeader(code)
		}
	}
	for _, ns := range []string{"shop", "copy"} {
		for _, app := range []string{"same", "differs", "silent", "raw"} {
			if err := client.Tracker().Add(pod(ns, app, corev1.ConditionTrue)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range []*corev1.Pod{pod("shop", "away", corev1.ConditionTrue), pod("copy", "away", corev1.ConditionFalse), pod("copy", "lone", corev1.ConditionTrue)} {
		if err := client.Tracker().Add(p); err != nil {
			t.Fatal(err)
		}
	}
	for port, code := range map[string]int{"shop/same:8080": 200, "copy/same:8080": 200, "shop/differs:8080": 200, "copy/differs:8080": 503, "shop/silent:8080": 200, "shop/raw:8080": 200, "copy/raw:8080": 200, "shop/away:8080": 200} {
		net.listen(t, port, answers(code))
	}
	g := evidence.New(evidence.Config{Client: client, Forwarder: net, Now: clock.Now})
	defer g.Close()
	p := rehearse.Plan{Request: rehearse.Request{Namespace: "shop", Copy: "copy"}}
	for _, app := range []string{"same", "differs", "silent", "away", "lone"} {
		p.Asks = append(p.Asks, rehearse.Ask{Service: app, Port: 80, Target: "main", Path: "/health", Selector: map[string]string{"app": app}})
	}
	p.Asks = append(p.Asks, rehearse.Ask{Service: "raw", Port: 6379, Target: "8080", Selector: map[string]string{"app": "raw"}})
	got, err := g.Rehearsed(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"200 OK|200 OK|", "200 OK|503 Service Unavailable|", "200 OK|no answer (connection refused)|",
		"||the copy: no pod of it is ready", "||the original: no pod of it is ready", "takes connections|takes connections|",
	}
	for i, a := range got {
		if s := fmt.Sprintf("%s|%s|%s", a.Was, a.Is, a.Unasked); s != want[i] {
			t.Errorf("%s: %s, want %s", a.Service, s, want[i])
		}
	}
	if net.dials("shop/raw:8080") != 1 {
		t.Error("what is not declared to speak HTTP was asked more than once")
	}
}
