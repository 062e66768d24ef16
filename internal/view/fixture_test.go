package view_test

import (
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/run"
)

// noon is when everything in these tests begins.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func deployment(ns, name string) mesh.Ref {
	return mesh.Ref{Kind: mesh.KindDeployment, Namespace: ns, Name: name}
}

// upgrade is a plan of every kind of step.
func upgrade() plan.Plan {
	q := gate.Question{Revision: "1-29-1", Old: "default", Version: "1.29.1"}
	soak := plan.Duration(5 * time.Minute)
	rest := []mesh.Ref{deployment("default", "productpage-v1"), deployment("default", "ratings-v1"), deployment("default", "reviews-v1")}
	moved := []gate.Name{gate.RolledOut, gate.Proxies, gate.Served, gate.Requests}
	return plan.Plan{
		APIVersion: plan.APIVersion, Kind: "Plan",
		From: []string{"default"}, FromVersions: []string{"1.27.0"}, To: "1-29-1", Version: "1.29.1",
		Counts: plan.Counts{ControlPlanes: 1, Namespaces: 2, Workloads: 6, Gateways: 1, Proxies: 7},
		Steps: []plan.Step{
			{Number: 1, Kind: plan.PinDefault, Target: "default", To: "default", Proof: []gate.Name{gate.Tags}, Undo: plan.Undo{What: "injector on, tag off"}, Question: q},
			{Number: 2, Kind: plan.UpgradeBase, Target: "istio-base", Version: "1.29.1", Proof: []gate.Name{gate.CRDs}, Undo: plan.Undo{Nothing: true, What: "CRDs stay (additive)"}, Question: q},
			{Number: 3, Kind: plan.InstallRevision, Target: "istiod-1-29-1", To: "1-29-1", Version: "1.29.1", Proof: []gate.Name{gate.ControlPlane, gate.Injection}, Undo: plan.Undo{What: "uninstall"}, Question: q},
			{
				Number: 4, Kind: plan.MoveNamespace, Target: "default", Namespace: "default", From: "default", To: "1-29-1",
				Before: map[string]*string{"istio-injection": new("enabled"), "istio.io/rev": nil}, After: map[string]*string{"istio-injection": nil, "istio.io/rev": new("1-29-1")},
				Needs: []gate.Name{gate.ControlPlane}, Proof: []gate.Name{gate.Injection}, Undo: plan.Undo{What: "label back"}, Question: q,
			},
			{Number: 5, Kind: plan.Restart, Target: "default/details-v1", Workloads: []mesh.Ref{deployment("default", "details-v1")}, Proof: moved, Soak: soak, Undo: plan.Undo{What: "restart on default"}, UndoFirst: 4, Question: q},
			{Number: 6, Kind: plan.Restart, Target: "default/*", Workloads: rest, Pace: 2, Proof: moved, Soak: soak, Undo: plan.Undo{What: "restart on default"}, UndoFirst: 4, Question: q},
			{Number: 7, Kind: plan.MoveTag, Target: "default", Tag: "default", From: "default", To: "1-29-1", Proof: []gate.Name{gate.Tags}, Undo: plan.Undo{What: "move back"}, Question: q},
			{Number: 8, Kind: plan.RestoreLabels, Target: "default", Namespace: "default", Proof: []gate.Name{gate.Injection}, Undo: plan.Undo{What: "label back"}, Question: q},
			{Number: 9, Kind: plan.RemoveRevision, Target: "default", From: "default", Needs: []gate.Name{gate.NothingRefers, gate.Approval}, Proof: []gate.Name{gate.NothingRefers}, Undo: plan.Undo{What: "reinstall it as it was"}, Question: q},
		},
		Findings: []plan.Finding{{
			Code: "SRN0301", Severity: plan.Warning, Object: "default/ratings-v1",
			Reason: "it has one replica and stops at once: the seconds in which its callers still know the old pod cost requests",
			Remedy: "give it two replicas, or a preStop sleep of five seconds",
		}},
		Request: plan.Request{To: "1.29.1", Pace: 2},
		Digest:  "sha256:1",
	}
}

// world is a mesh in the middle of that plan: details has moved, its neighbours have not.
func world() mesh.Snapshot {
	sel := func(match map[string]string) mesh.Selector { return mesh.Selector{MatchLabels: match} }
	s := mesh.Snapshot{
		KubernetesVersion: "v1.36.3", IstioNamespace: "istio-system",
		ControlPlanes: []mesh.ControlPlane{
			{Revision: "1-29-1", Version: "1.29.1", Namespace: "istio-system", Name: "istiod-1-29-1", Replicas: 2, Ready: 2, Owner: mesh.Owner{Kind: mesh.OwnerHelm, Name: "istio-system/istiod-1-29-1"}},
			{Revision: "default", Version: "1.27.0", Namespace: "istio-system", Name: "istiod", Replicas: 1, Ready: 1, Owner: mesh.Owner{Kind: mesh.OwnerHelm, Name: "istio-system/istiod"}},
		},
		Injectors: []mesh.Injector{
			{Name: "istio-revision-tag-default", Revision: "default", Tag: "default", Webhooks: []mesh.Webhook{{NamespaceSelector: sel(map[string]string{"istio-injection": "enabled"})}}},
			{Name: "istio-sidecar-injector-1-29-1", Revision: "1-29-1", Webhooks: []mesh.Webhook{{NamespaceSelector: sel(map[string]string{"istio.io/rev": "1-29-1"})}}},
		},
		Validators:  []mesh.Validator{{Name: "istiod-default-validator", Revision: "default", Tag: "default"}},
		TagServices: []mesh.TagService{{Name: "istiod-revision-tag-default", Tag: "default", Revision: "default"}},
		Namespaces: []mesh.Namespace{
			{Name: "default", Labels: map[string]string{"istio.io/rev": "1-29-1"}},
			{Name: "kube-system"},
			{Name: "shop", Labels: map[string]string{"istio-injection": "enabled"}},
		},
	}
	for _, w := range []struct{ ns, name, rev, version string }{
		{"default", "details-v1", "1-29-1", "1.29.1"}, {"default", "ratings-v1", "default", "1.27.0"}, {"shop", "cart", "default", "1.26.0"},
	} {
		ref := deployment(w.ns, w.name)
		s.Workloads = append(s.Workloads, mesh.Workload{Ref: ref, Replicas: 1, Ready: 1})
		s.Pods = append(s.Pods, mesh.Pod{Namespace: w.ns, Name: w.name + "-abc", Workload: ref, Revision: w.rev, Version: w.version, Ready: true})
	}
	return s
}

func synced() []gate.Proxy {
	return []gate.Proxy{
		{Namespace: "default", Name: "details-v1-abc", Revision: "1-29-1", Istiod: "istiod-1-29-1-x", Version: "1.29.1"},
		{Namespace: "default", Name: "ratings-v1-abc", Revision: "default", Istiod: "istiod-y", Version: "1.27.0", Stale: []string{"CDS"}},
		{Namespace: "shop", Name: "cart-abc", Revision: "default", Istiod: "istiod-y", Version: "1.26.0"},
	}
}

// halfway is a run of that plan that proves its fifth step.
func halfway() run.Run {
	p := upgrade()
	r := run.Run{
		ID: "20260301-120000", Plan: p, At: 4, Phase: run.Proving, By: "max@laptop", Started: noon,
		Steps: make([]run.Record, len(p.Steps)),
		Verdicts: []gate.Verdict{
			{Gate: gate.Proxies, State: gate.Open, Reason: "1 moved proxy in sync with 1-29-1"},
			{Gate: gate.Requests, State: gate.Unknown, Reason: "12 of 50 samples"},
		},
	}
	for i := range 4 {
		r.Steps[i] = run.Record{
			State: "done", Started: noon.Add(time.Duration(i) * time.Minute), Ended: noon.Add(time.Duration(i)*time.Minute + 40*time.Second), Sent: 800,
			Verdicts: []gate.Verdict{{Gate: gate.Tags, State: gate.Open, Reason: "injector, Service and validator of each tag agree"}},
		}
	}
	r.Steps[4] = run.Record{State: "applying", Started: noon.Add(4 * time.Minute), Sent: 240, Failed: 1}
	return r
}
