package test_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/evidence"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// counted is the sum of the requests that each pod of a gateway has counted itself.
func (w *world) counted(prefix string) map[string]int {
	w.t.Helper()
	g := evidence.New(evidence.Config{REST: w.cfg, Client: w.kube, Now: clock.Now})
	defer g.Close()
	pods, err := w.kube.CoreV1().Pods(bookinfo.Gateway).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int{}
	for _, p := range pods.Items {
		if !strings.HasPrefix(p.Name, prefix) {
			continue
		}
		if p.DeletionTimestamp != nil { // it may not answer any more, and counts for nobody
			out[p.Name] = -1
			continue
		}
		page, err := g.Get(w.t.Context(), p.Namespace, p.Name, 15020, "/stats/prometheus")
		if err != nil {
			w.t.Fatal(err)
		}
		out[p.Name] = 0
		for line := range bytes.Lines(page) {
			n := 0
			if i := bytes.LastIndexByte(line, ' '); bytes.HasPrefix(line, []byte("istio_requests_total{")) {
				_, _ = fmt.Sscan(string(line[i:]), &n)
			}
			out[p.Name] += n
		}
	}
	return out
}

// A gateway moves as steps of an upgrade, there and back, under load: never fewer
// pods ready behind its Service, whose identity and ports stay. A route that the
// second one lacks is planted when it comes: the run holds, and while it does the
// new pods count no request, though clients send theirs (S-28 to S-32).
func TestGatewayCanaryPlan_thereAndBack(t *testing.T) {
	nightly(t)
	const added = "istio-ingress-1-29-1"
	w := newWorld(t, "1.27.0", "1.29.1")
	w.scaleIngress("2")
	w.busy()
	before := w.snapshot()
	b := w.watchBehind(bookinfo.Gateway, bookinfo.Gateway)
	file := w.plan("1.29.1", "--gateways", "canary", "--patience", "20s", "--no-prove")

	cmd := w.command("apply", file, "--approve")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new revision to be installed", func() bool {
		_, err := w.kube.AppsV1().Deployments("istio-system").Get(t.Context(), "istiod-1-29-1", metav1.GetOptions{})
		return err == nil
	})
	w.pin(`"default"`)
	err := cmd.Wait()
	if cmd.ProcessState.ExitCode() != 4 || !strings.Contains(said.String(), "lack what istio-ingress-") {
		t.Fatalf("the planted route was not found: %v\n%s", err, said.String())
	}
	asked := w.counted(added)
	sent := w.load.Snapshot().Sent
	eventually(t, "clients to have sent a hundred requests more", func() bool { return w.load.Snapshot().Sent > sent+100 })
	if d := cmp.Diff(asked, w.counted(added)); d != "" || len(asked) != 2 {
		t.Errorf("S-29: clients met the new pods %v before they were let in: %s", asked, d)
	}
	if least, in := b.least(added); in || least != 2 {
		t.Fatalf("held: a new pod in the Service: %v; ready at least %d, want 2", in, least)
	}
	w.pin("null")
	started := time.Now()
	if code, out := w.ran("resume"); code == 4 && strings.Contains(out, "approv") {
		w.run(0, "approve")
	} else if code != 0 {
		t.Fatalf("resumed: exit code %d", code)
	}
	t.Logf("from the first pod let in to the end: %s", time.Since(started).Round(time.Second))

	ended := func() bool { return len(w.counted(added)) == 0 }
	eventually(t, "the pods of "+added+" to have ended", ended)
	after := w.snapshot()
	if d := cmp.Diff(before.Edge.Services, after.Edge.Services); d != "" {
		t.Errorf("the Service is not as it was: %s", d)
	}
	for _, r := range after.Releases {
		if r.Version != "1.29.1" || r.Status != "deployed" || r.Name == added {
			t.Errorf("helm list would say %s %s-%s %s", r.Name, r.Chart, r.Version, r.Status)
		}
	}
	for _, g := range after.Gateways() {
		if g.Ready != 2 || g.Next != "1-29-1" || g.Ref.Name != bookinfo.Gateway {
			t.Errorf("at the end: %+v", g)
		}
	}
	if least, in := b.least(added); !in || least < 2 {
		t.Errorf("there: ready behind the Service at every instant at least %d, want 2 (the new ones were in: %v)", least, in)
	}
	if lost := w.tally(); lost > 0 {
		t.Errorf("there: %d requests lost", lost)
	}

	b.reset()
	w.run(5, "rollback")
	w.kinds()
	w.lost()
	if least, _ := b.least(added); least < 2 {
		t.Errorf("back: ready behind the Service at every instant at least %d, want 2", least)
	}
	eventually(t, "the pods of "+added+" to have ended", ended)
	if d := cmp.Diff(settle(before), settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}
}
