package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func hookedPlan(hs ...plan.Hook) plan.Plan {
	return plan.Build(meshtest.Bookinfo("1.27.0").Snapshot(), plan.Request{To: "1.29.1", Probe: &plan.Probe{URL: "http://gateway/"}, Hooks: hs})
}

func TestHooks_standWhereTheirKindSays(t *testing.T) {
	var hs []plan.Hook
	for _, k := range gate.HookKinds() {
		hs = append(hs, plan.Hook{Name: string(k), Type: k, URL: "http://gate.example.com/"})
	}
	p := hookedPlan(hs...)
	if len(p.Steps) == 0 {
		t.Fatalf("%+v", p.Findings)
	}
	waves := 0
	for i, st := range p.Steps {
		if got, want := slices.Contains(st.Needs, gate.ConfirmStart), i == 0; got != want {
			t.Errorf("step %d needs %v", st.Number, st.Needs)
		}
		if got, want := slices.Contains(st.Proof, gate.Wave), st.Kind == plan.FirstPods || st.Kind == plan.Restart; got != want {
			t.Errorf("step %d, %s, shows %v", st.Number, st.Kind, st.Proof)
		}
		if slices.Contains(st.Needs, gate.ConfirmWave) {
			waves++
			if st.Kind != plan.MoveNamespace && st.Kind != plan.FirstPods && st.Kind != plan.Restart {
				t.Errorf("step %d, %s, needs %v", st.Number, st.Kind, st.Needs)
			}
		}
	}
	if waves != 3 { // the canary's, the rest's and the gateway's
		t.Errorf("%d waves are confirmed", waves)
	}
	for _, st := range hookedPlan().Steps {
		for _, n := range slices.Concat(st.Needs, st.Proof) {
			if gate.Hooked(n) != "" {
				t.Errorf("without hooks step %d has the gate %s", st.Number, n)
			}
		}
	}
}

func TestHooks_whatCouldNotBeAskedStopsThePlan(t *testing.T) {
	url := "http://gate.example.com/"
	for want, h := range map[string]plan.Hook{
		"it has no name":               {Type: gate.WaveHook, URL: url},
		`"rollout" is no type of hook`: {Name: "x", Type: "rollout", URL: url},
		"one of url and command":       {Name: "x", Type: gate.WaveHook},
		"to have one of url and":       {Name: "x", Type: gate.WaveHook, URL: url, Command: []string{"true"}},
		"its url is not one as in":     {Name: "x", Type: gate.WaveHook, URL: "gate.example.com?token=s3cret"},
		"not one as in http":           {Name: "x", Type: gate.WaveHook, URL: "http://a b/s3cret"},
		"has a password in it":         {Name: "x", Type: gate.WaveHook, URL: "https://erin:s3cret@gate.example.com/"},
		"its command has no name":      {Name: "x", Type: gate.WaveHook, Command: []string{""}},
		"its timeout is 1h0m0s":        {Name: "x", Type: gate.WaveHook, URL: url, Timeout: plan.Duration(time.Hour)},
		"its timeout is -1s":           {Name: "x", Type: gate.WaveHook, URL: url, Timeout: -plan.Duration(time.Second)},
		"another hook has this name":   {Name: "first", Type: gate.WaveHook, URL: url},
	} {
		p := hookedPlan(plan.Hook{Name: "first", Type: gate.EventHook, URL: url}, h)
		i := slices.IndexFunc(p.Findings, func(f plan.Finding) bool { return f.Code == "SRN1072" })
		if len(p.Steps) > 0 || i < 0 || !strings.Contains(p.Findings[i].Reason, want) || strings.Contains(p.Findings[i].Reason, "s3cret") {
			t.Errorf("%+v: %d steps, %+v", h, len(p.Steps), p.Findings)
		}
	}
}
