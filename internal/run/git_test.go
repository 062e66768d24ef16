package run_test

import (
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// fromGit is a run of the usual upgrade on a mesh that Argo CD owns, waiting for
// its first commit.
func fromGit(t *testing.T) run.Run {
	t.Helper()
	s := meshtest.ByGit(meshtest.Bookinfo("1.27.0").Snapshot(), mesh.Owner{Kind: mesh.OwnerArgoCD, Name: "istio"})
	p := plan.Build(s, plan.Request{To: "1.29.1", Probe: &plan.Probe{URL: "http://gateway/"}})
	if len(p.Steps) == 0 || !p.Steps[0].ByGit() {
		t.Fatalf("%d steps: %+v", len(p.Steps), p.Findings)
	}
	r, do := run.Next(run.Start("r1", p, s, "erin", noon), run.Event{Kind: run.Judged, At: noon})
	if r.Phase != run.Applying || do != run.Await || !r.Awaits() {
		t.Fatalf("S-45: a step of Git's: %s %s", r.Phase, do)
	}
	return r
}

func arrived(state gate.State, at time.Time) run.Event {
	return run.Event{Kind: run.Judged, At: at, Verdicts: []gate.Verdict{{Gate: gate.Git, State: state, Reason: "as told"}}}
}

func TestS45_aStepOfGitIsAwaited(t *testing.T) {
	later := noon.Add(90 * 24 * time.Hour)
	for _, tt := range []struct {
		name  string
		event run.Event
		phase run.Phase
		do    run.Effect
	}{
		{"it has not come", arrived(gate.Unknown, later), run.Applying, run.Await},
		{"S-47: nobody judged it", run.Event{Kind: run.Judged, At: later}, run.Applying, run.Await},
		{"S-47: something else was judged", run.Event{Kind: run.Judged, At: later, Verdicts: []gate.Verdict{{Gate: gate.Tags, State: gate.Open}}}, run.Applying, run.Await},
		{"no API server, and whether it came is unknown", run.Event{Kind: run.Judged, At: later, Verdicts: []gate.Verdict{{Gate: "api-server", State: gate.Unknown}}}, run.Applying, run.Await},
		{"it has come", arrived(gate.Open, later), run.Proving, run.Observe},
		{"taken up again", run.Event{Kind: run.Began, At: later}, run.Applying, run.Await},
		{"the API server is away for long", run.Event{Kind: run.Failed, At: later, Why: "refused"}, run.Held, run.Stop},
	} {
		if r, do := run.Next(fromGit(t), tt.event); r.Phase != tt.phase || do != tt.do {
			t.Errorf("%s: %s %s, want %s %s", tt.name, r.Phase, do, tt.phase, tt.do)
		}
	}
}

// A rollback waits for Git as well, also where nothing has been committed yet, and
// never asks serin to write.
func TestS45_aRollbackWaitsForGit(t *testing.T) {
	r, do := run.Next(fromGit(t), wish(run.WishRollback))
	if r.Phase != run.Undoing || do != run.Await || !strings.Contains(r.Log[len(r.Log)-1].What, "take tag default out") {
		t.Fatalf("%s %s %+v", r.Phase, do, r.Log)
	}
	if v := r.Arrived(r.Before); v.State != gate.Open {
		t.Errorf("nothing was committed, and there is something to take back: %+v", v)
	}
	if v := r.Arrived(plan.Simulate(r.Before, r.Plan.Steps[0])); v.State != gate.Unknown || v.Reason == "" {
		t.Errorf("what was committed is there still: %+v", v)
	}
	paused, do := run.Next(r, wish(run.WishPause))
	if do != run.Observe {
		t.Errorf("paused: %s", do)
	}
	if _, do = run.Next(paused, wish(run.WishResume)); do != run.Await {
		t.Errorf("resumed: %s", do)
	}
	if r, do = run.Next(r, arrived(gate.Unknown, noon.Add(time.Hour))); do != run.Await {
		t.Errorf("%s %s", r.Phase, do)
	}
	if r, do = run.Next(r, arrived(gate.Open, noon.Add(time.Hour))); r.Phase != run.Undone || do != run.Stop {
		t.Errorf("%s %s", r.Phase, do)
	}
}

// What stays, as CRDs do, nobody is asked to revert.
func TestS45_whatStaysIsNotWaitedFor(t *testing.T) {
	r := fromGit(t)
	r.Steps[0].State, r.Steps[1].State, r.At = "done", "applying", 1
	if r.Plan.Steps[1].Kind != plan.UpgradeBase {
		t.Fatalf("step 2 is %s", r.Plan.Steps[1].Kind)
	}
	if r, do := run.Next(r, wish(run.WishRollback)); r.At != 0 || do != run.Await || r.Steps[1].State != "undone" {
		t.Errorf("%s of step %d, %+v", do, r.At+1, r.Steps[1])
	}
}

// Arrived is open exactly when the mesh is as the step leaves it.
func TestS45_arrivedLooksAtTheMesh(t *testing.T) {
	r := fromGit(t)
	if v := r.Arrived(r.Before); v.State != gate.Unknown || !strings.Contains(v.Reason, "there is no tag default") {
		t.Errorf("%+v", v)
	}
	if v := r.Arrived(plan.Simulate(r.Before, r.Plan.Steps[0])); v.State != gate.Open {
		t.Errorf("%+v", v)
	}
	if v := r.Arrived(mesh.Snapshot{}); v.State != gate.Unknown {
		t.Errorf("S-47: nobody looked: %+v", v)
	}
}
