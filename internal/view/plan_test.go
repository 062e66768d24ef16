package view_test

import (
	"bytes"
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/skew"
	"github.com/serin-mesh/serin/internal/view"
)

func TestPlan(t *testing.T) {
	blocked := upgrade()
	blocked.Steps = nil
	blocked.Findings = []plan.Finding{
		{Code: "SRN0102", Severity: plan.Mandatory, Object: "1.31.0", Reason: "it is three minors ahead of default 1.27.0, and two are the most", Remedy: "go to 1.29 first: serin plan --to 1.29.1"},
		{Code: "SRN0401", Severity: plan.Overridable, Object: "probe", Reason: "no probe is configured", Remedy: "--probe-url, or --ignore-check SRN0401"},
		{Code: "SRN0501", Severity: plan.Info, Object: "istio-cni", Reason: "it has no revision and stays"},
	}
	nothing := upgrade()
	nothing.Steps, nothing.Findings = nil, nil
	many := upgrade()
	many.From, many.FromVersions = []string{"prod-stable", "prod-canary"}, []string{"1.27.0", "1.28.2"}
	for name, p := range map[string]plan.Plan{"whole": upgrade(), "blocked": blocked, "nothing": nothing, "many": many} {
		t.Run(name, func(t *testing.T) {
			golden(t, "plan-"+name+".txt", func(b *bytes.Buffer) error { return view.Plan(b, p, "serin apply plan.yaml") })
		})
	}
	golden(t, "precheck-blocked.txt", func(b *bytes.Buffer) error { return prechecked(blocked).Text(b) })
	golden(t, "precheck-clear.txt", func(b *bytes.Buffer) error { return prechecked(nothing).Text(b) })
	golden(t, "findings.txt", func(b *bytes.Buffer) error { return view.Findings(b, blocked.Findings) })
	golden(t, "plan.yaml", func(b *bytes.Buffer) error { return view.Encode(b, view.YAML, upgrade()) })
	golden(t, "plan.json", func(b *bytes.Buffer) error { return view.Encode(b, view.JSON, upgrade()) })
}

func TestPlanIsWrittenTheSameWayEachTime(t *testing.T) {
	var first string
	for i := range 20 {
		var b bytes.Buffer
		if err := view.Plan(&b, upgrade(), ""); err != nil {
			t.Fatal(err)
		}
		if err := view.Encode(&b, view.YAML, upgrade()); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b.String()
		}
		if b.String() != first {
			t.Fatal("two writings of one plan differ")
		}
	}
}

func TestEveryKindAndGateHasWords(t *testing.T) {
	for _, k := range plan.Kinds() {
		if got := view.Step(plan.Step{Kind: k}); got == "" || got == string(k) {
			t.Errorf("kind %s has no words of its own: %q", k, got)
		}
	}
	if got := view.Step(plan.Step{Kind: "later"}); got != "later" {
		t.Errorf("a kind that this serin does not know is shown as %q", got)
	}
	all := upgrade()
	all.Steps = all.Steps[:1]
	all.Steps[0].Needs = []gate.Name{
		gate.ControlPlane, gate.Injection, gate.Tags, gate.CRDs, gate.RolledOut,
		gate.Proxies, gate.Served, gate.Requests, gate.NothingRefers, gate.OldRevision, gate.Approval, "later",
	}
	golden(t, "plan-gates.txt", func(b *bytes.Buffer) error { return view.Plan(b, all, "") })
}

func TestEncodeKnowsItsFormats(t *testing.T) {
	for _, f := range []view.Format{view.Text, view.Wide, "xml"} {
		if err := view.Encode(&bytes.Buffer{}, f, 1); err == nil {
			t.Errorf("encoding as %s is not refused", f)
		}
	}
}

func TestPlanDiff(t *testing.T) {
	now := upgrade()
	now.Counts.Workloads++
	now.Steps[5].Workloads = append(now.Steps[5].Workloads, deployment("default", "reviews-v2"))
	now.Steps = append(now.Steps[:3], now.Steps[4:]...)
	for i := range now.Steps {
		now.Steps[i].Number = i + 1
	}
	now.Findings = nil
	golden(t, "plan-diff.txt", func(b *bytes.Buffer) error { return view.PlanDiff(b, upgrade(), now) })
}

func prechecked(p plan.Plan) view.Precheck {
	return view.NewPrecheck(plan.Prechecked{From: p.From, Versions: p.FromVersions, To: p.Version, Findings: p.Findings, Notes: skew.Notes("1.28.0", "1.29.1", p.From, mesh.Snapshot{})})
}
