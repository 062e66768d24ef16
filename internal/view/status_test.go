package view_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/run"
	"github.com/serin-mesh/serin/internal/view"
)

func TestStatus(t *testing.T) {
	half := halfway()
	held := halfway()
	held.Phase, held.HeldFrom, held.Cause = run.Held, run.Proving, "gate requests is shut: 3 of 240 failed (503 from details.default.svc), 0 before"
	done := halfway()
	done.Phase = run.Done
	broken := world()
	broken.TagServices[0].Revision = "1-29-1"
	broken.Injectors[0].Webhooks[0].NamespaceSelector = mesh.Selector{}
	for name, l := range map[string]view.Look{
		"calm":    {Snapshot: world(), Proxies: synced()},
		"moving":  {Snapshot: world(), Proxies: synced(), Run: &half, Holder: "max@laptop"},
		"held":    {Snapshot: world(), Proxies: synced(), Run: &held},
		"done":    {Snapshot: world(), Proxies: synced(), Run: &done},
		"blind":   {Snapshot: world(), ProxiesUnknown: "no permission to port-forward to istiod", RunUnknown: "no permission to read ConfigMaps"},
		"broken":  {Snapshot: broken, Proxies: synced()[:1]},
		"nothing": {Snapshot: mesh.Snapshot{IstioNamespace: "istio-system"}, ProxiesUnknown: "there is no istiod to ask"},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, "status-"+name+".txt", func(b *bytes.Buffer) error { return view.NewStatus(l).Text(b, view.Text) })
		})
	}
	s := view.NewStatus(view.Look{Snapshot: world(), Proxies: synced(), Run: &half, Holder: "max@laptop"})
	golden(t, "status-wide.out", func(b *bytes.Buffer) error { return s.Text(b, view.Wide) })
	golden(t, "status.json", func(b *bytes.Buffer) error { return view.Encode(b, view.JSON, s) })
	golden(t, "status.yaml", func(b *bytes.Buffer) error { return view.Encode(b, view.YAML, s) })
	golden(t, "status-shop.txt", func(b *bytes.Buffer) error { return s.In("shop").Text(b, view.Text) })
	golden(t, "status-line.out", func(b *bytes.Buffer) error {
		_, err := b.WriteString(s.Line() + "\n")
		return err
	})
}

func TestStatusOfEachProxy(t *testing.T) {
	ps := synced()
	ps[0].Rejected = []string{"LDS: bad filter"}
	ps[2].Revision = "1-29-1"
	s := view.NewStatus(view.Look{Snapshot: world(), Proxies: ps})
	var got []string
	for _, p := range s.Proxies {
		got = append(got, p.Name+" "+p.Sync+" "+p.Skew)
	}
	want := []string{"details-v1-abc rejected ", "ratings-v1-abc stale ", "cart-abc synced connected-to-1-29-1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAProxyThatTwoRevisionsListIsShownAsSuch(t *testing.T) {
	twice := append(synced(), gate.Proxy{Namespace: "shop", Name: "cart-abc", Revision: "1-29-1", Version: "1.26.0"})
	s := view.NewStatus(view.Look{Snapshot: world(), Proxies: twice})
	if got, want := s.Proxies[2].Skew, "connected-to-default-and-1-29-1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAProxyThatNobodyCouldAskIsNeverInSync(t *testing.T) {
	s := view.NewStatus(view.Look{Snapshot: world(), ProxiesUnknown: "no permission"})
	for _, p := range s.Proxies {
		if p.Sync != "unknown" {
			t.Errorf("%s is %s", p.Name, p.Sync)
		}
	}
	for _, r := range s.Revisions {
		if r.Connected != nil {
			t.Errorf("%s: %d connected, which nobody knows", r.Revision, *r.Connected)
		}
	}
}
