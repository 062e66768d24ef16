package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// looked is bookinfo of which somebody has seen what selects its pods; an HPA sizes details.
func looked() mesh.Snapshot {
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	s.Survey = &mesh.Survey{Selectors: &mesh.Selectors{}}
	for i, w := range s.Workloads {
		if w.Name == "details-v1" {
			s.Workloads[i].Template.Scaler = "details"
		}
	}
	return s
}

func by(m plan.Method) plan.Request {
	r := probed()
	r.Restarts = m
	return r
}

func detachedIn(p plan.Plan) []string {
	var out []string
	for _, st := range p.Steps {
		for _, ref := range st.Detach {
			if !slices.Contains(st.Workloads, ref) {
				out = append(out, "a stranger: "+ref.String())
			}
			out = append(out, ref.Name)
		}
	}
	slices.Sort(out)
	return out
}

func codesOf(p plan.Plan, code string) []string {
	var out []string
	for _, f := range p.Findings {
		if f.Code == code {
			out = append(out, string(f.Severity)+" "+f.Object)
		}
	}
	return out
}

// S-35 to S-43: auto detaches what no fence shuts out, and says why of the rest;
// rollout detaches nothing; auto is the default.
func TestBuild_methods(t *testing.T) {
	all := []string{"productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"}
	rest := []string{string(plan.Info) + " workload default/details-v1", string(plan.Info) + " workload istio-ingress/istio-ingress"}
	for m, want := range map[plan.Method][]string{plan.Auto: all, plan.Rollout: nil, "": all} {
		p := plan.Build(looked(), by(m))
		if d := cmp.Diff(want, detachedIn(p)); d != "" {
			t.Errorf("%q: %s", m, d)
		}
		if got := codesOf(p, "SRN1066"); m != plan.Rollout && !slices.Equal(got, rest) || m == plan.Rollout && got != nil {
			t.Errorf("%q: %v", m, got)
		}
	}
}

// What may not be detached stops a plan that would do nothing else, before it begins.
func TestBuild_nothingButDetaching(t *testing.T) {
	p := plan.Build(looked(), by(plan.Detach))
	want := []string{string(plan.Mandatory) + " workload default/details-v1", string(plan.Mandatory) + " workload istio-ingress/istio-ingress"}
	if got := codesOf(p, "SRN1066"); !slices.Equal(got, want) || len(p.Steps) > 0 {
		t.Errorf("%d steps, %v", len(p.Steps), got)
	}
}

// The promises hold whatever the method: the simulation of a step is the same.
func TestBuild_methodsDoNotChangeTheEnd(t *testing.T) {
	one, other := plan.Build(looked(), by(plan.Auto)), plan.Build(looked(), by(plan.Rollout))
	a, b := looked(), looked()
	for i := range one.Steps {
		a, b = plan.Simulate(a, one.Steps[i]), plan.Simulate(b, other.Steps[i])
		if d := cmp.Diff(b, a); d != "" {
			t.Fatalf("step %d: %s", i+1, d)
		}
	}
	if !strings.Contains(one.Digest, ":") && one.Digest == other.Digest {
		t.Error("two methods, one digest")
	}
}

// S-39, S-42: under auto a StatefulSet's and a DaemonSet's pods leave their endpoints
// one by one, and it is said that one fewer serves meanwhile; one pod alone is rolled out,
// and that is an outage. Who wants nothing but detaching is not given this instead.
func TestBuild_retiring(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").Workload(mesh.KindStatefulSet, "default", "db").Workload(mesh.KindStatefulSet, "default", "one").Workload(mesh.KindDaemonSet, "default", "agent").Looked().Snapshot()
	for i, w := range s.Workloads {
		if w.Name == "db" || w.Name == "agent" || w.Name == "one" {
			s.Workloads[i].Replicas, s.Workloads[i].Services, s.Workloads[i].Strategy = 3, []string{"default/" + w.Name}, "RollingUpdate"
			s.Workloads[i].MaxSurge, s.Workloads[i].MaxUnavailable, s.Workloads[i].Settled = 0, 1, true
		}
		if w.Name == "one" {
			s.Workloads[i].Replicas = 1
		}
	}
	r := by(plan.Auto)
	r.IgnoreChecks = []string{"SRN1050"}
	p := plan.Build(s, r)
	if got := codesOf(p, "SRN1067"); !slices.Equal(got, []string{string(plan.Info) + " workload daemonset default/agent", string(plan.Info) + " workload statefulset default/db"}) {
		t.Errorf("got %v", got)
	}
	for _, f := range p.Findings {
		if f.Object == "workload statefulset default/one" && f.Code == "SRN1066" && !strings.Contains(f.Reason, "it has one pod: whichever way that goes, nobody serves") {
			t.Errorf("got %q", f.Reason)
		}
		if f.Code == "SRN1067" && !strings.Contains(f.Reason, "one fewer serves meanwhile") {
			t.Errorf("got %q", f.Reason)
		}
	}
	got := detachedIn(p)
	if !slices.Contains(got, "db") || !slices.Contains(got, "agent") || slices.Contains(got, "one") {
		t.Errorf("got %v", got)
	}
	if got := codesOf(p, "SRN1050"); !slices.Contains(got, string(plan.Warning)+" workload statefulset default/one") {
		t.Errorf("S-42: the outage is not said: %v", got)
	}
	if got := codesOf(plan.Build(s, by(plan.Detach)), "SRN1066"); !slices.Contains(got, string(plan.Mandatory)+" workload statefulset default/db") {
		t.Errorf("got %v", got)
	}
}
