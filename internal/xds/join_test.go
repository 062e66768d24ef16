package xds_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/xds"
)

const cds, rds = "type.googleapis.com/envoy.config.cluster.v3.Cluster", "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

func kind(url string, s xds.State) xds.Type {
	return xds.Type{URL: url, Name: xds.Short(url), State: s}
}

func old() xds.Istiod {
	return xds.Istiod{Namespace: "istio-system", Pod: "istiod-0", Revision: "default", Version: "1.27.0"}
}

// shop is a namespace with one workload whose pod was injected by the default revision.
func shop() mesh.Snapshot {
	return meshtest.New().ControlPlane("default", "1.27.0").Namespace("shop", "istio-injection", "enabled").Deployment("shop", "cart").Snapshot()
}

// withPods is a mesh whose pods are still those of the shop.
func withPods(w *meshtest.World) mesh.Snapshot {
	s := w.Snapshot()
	s.Pods = shop().Pods
	return s
}

func TestJoin_saysHowEachProxyStands(t *testing.T) {
	pod := shop().Pods[0]
	here := xds.Connection{Namespace: pod.Namespace, Name: pod.Name, Cluster: "Kubernetes", Version: "1.27.0", Types: []xds.Type{kind(cds, xds.Synced)}}
	with := func(types ...xds.Type) xds.Connection {
		c := here
		c.Types = types
		return c
	}
	silent := old()
	silent.Error = "connection refused"
	canary := xds.Istiod{Pod: "istiod-1-29-1-0", Revision: "1-29-1"}
	refused := kind(rds, xds.Failed)
	refused.Error = "no such cluster"
	for name, tt := range map[string]struct {
		mesh    mesh.Snapshot
		answers []xds.Answer
		want    []string // sync, why, note of each row
	}{
		"in sync":      {shop(), []xds.Answer{{old(), []xds.Connection{here}}}, []string{"synced [] "}},
		"nothing sent": {shop(), []xds.Answer{{old(), []xds.Connection{with(kind(cds, xds.Synced), kind(rds, xds.NotSent))}}}, []string{"synced [] "}},
		"stale":        {shop(), []xds.Answer{{old(), []xds.Connection{with(kind(cds, xds.Stale))}}}, []string{"stale [CDS] "}},
		"refused": {
			shop(),
			[]xds.Answer{{old(), []xds.Connection{with(kind(cds, xds.Stale), refused)}}},
			[]string{"rejected [CDS RDS: no such cluster] "},
		},
		"nobody lists it":             {shop(), []xds.Answer{{old(), nil}}, []string{"not connected [] "}},
		"an istiod does not answer":   {shop(), []xds.Answer{{silent, nil}, {canary, nil}}, []string{"unknown [] "}},
		"there is no istiod to ask":   {shop(), nil, []string{"unknown [] "}},
		"listed though one is silent": {shop(), []xds.Answer{{silent, nil}, {old(), []xds.Connection{here}}}, []string{"synced [] "}},
		"two istiods list it": {
			shop(),
			[]xds.Answer{{old(), []xds.Connection{here}}, {canary, []xds.Connection{here}}},
			[]string{
				"synced [] listed by several istiods: it has just reconnected, or one does not know that it is gone",
				"synced [] listed by several istiods: it has just reconnected, or one does not know that it is gone; injected by default, programmed by 1-29-1",
			},
		},
		"its namespace has moved": {
			withPods(meshtest.New().ControlPlane("default", "1.27.0").ControlPlane("1-29-1", "1.29.1").
				Namespace("shop", "istio.io/rev", "1-29-1").Deployment("shop", "cart")),
			[]xds.Answer{{old(), []xds.Connection{here}}},
			[]string{"synced [] a restart moves it to 1-29-1"},
		},
		"its control plane is gone": {
			withPods(meshtest.New()),
			[]xds.Answer{{canary, nil}},
			[]string{"not connected [] revision default has no control plane"},
		},
		"outside the cluster": {
			meshtest.New().ControlPlane("default", "1.27.0").Snapshot(),
			[]xds.Answer{{old(), []xds.Connection{here}}},
			[]string{"synced [] no such pod: it is outside the cluster, or just gone"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range xds.Join(tt.mesh, tt.answers).Proxies {
				got = append(got, fmt.Sprint(r.Sync, " ", r.Why, " ", r.Note))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJoin_countsPodsByWhatTheyWantHaveAndAreConnectedTo(t *testing.T) {
	s := meshtest.Bookinfo("1.27.0").Snapshot()
	var all []xds.Connection
	for _, p := range s.Pods {
		all = append(all, xds.Connection{Namespace: p.Namespace, Name: p.Name})
	}
	canary := xds.Istiod{Pod: "istiod-1-29-1-0", Revision: "1-29-1"}
	report := xds.Join(s, []xds.Answer{{old(), all[1:]}, {canary, all[:2]}})
	want := []xds.RevisionCount{
		{Revision: "1-29-1", Connected: 2},
		{Revision: "default", Desired: len(all), Actual: len(all), Connected: len(all) - 1},
	}
	if diff := cmp.Diff(want, report.Revisions); diff != "" {
		t.Error(diff)
	}
	if got := report.Only(xds.Filter{Revision: "1-29-1"}); len(got.Proxies) != 2 || len(got.Istiods) != 1 {
		t.Errorf("of revision 1-29-1: %d proxies, %d istiods; want 2 and 1", len(got.Proxies), len(got.Istiods))
	}
	if got := report.Only(xds.Filter{Namespace: "istio-ingress"}); len(got.Proxies) != 1 || len(got.Istiods) != 2 {
		t.Errorf("of namespace istio-ingress: %d proxies, %d istiods; want 1 and 2", len(got.Proxies), len(got.Istiods))
	}
	if got := report.Only(xds.Filter{Name: s.Pods[3].Name}); len(got.Proxies) != 1 {
		t.Errorf("of one pod: %d proxies", len(got.Proxies))
	}
}

func TestTypes_haveTheOrderOfIstioctl(t *testing.T) {
	sds := "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	row := xds.Join(mesh.Snapshot{}, []xds.Answer{{old(), []xds.Connection{{Namespace: "a", Name: "b", Types: []xds.Type{
		kind(sds, xds.Synced), kind(rds, xds.Synced), kind(cds, xds.Synced), kind("istio.io/new", xds.Synced),
	}}}}}).Proxies
	if diff := cmp.Diff([]string{"CDS", "RDS", "istio.io/new", "SDS"}, row[0].Subscribed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"istio.io/new", "CDS", "ECDS", "EDS", "LDS", "RDS", "SDS"}, xds.Columns(row)); diff != "" {
		t.Error(diff)
	}
}
