package rehearse_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/rehearse"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func shop() *meshtest.World {
	return meshtest.New().ControlPlane("default", "1.27.0").ControlPlane("1-29-1", "1.29.1").
		Namespace("shop", "istio-injection", "enabled", "team", "a", "app.kubernetes.io/instance", "shop", "pod-security.kubernetes.io/enforce", "baseline",
			"istio.io/dataplane-mode", "none", "kustomize.toolkit.fluxcd.io/name", "x").
		Deployment("shop", "web").Workload(mesh.KindPod, "shop", "bare").Namespace("other")
}

func unready(s *mesh.Snapshot) {
	for i := range s.ControlPlanes {
		s.ControlPlanes[i].Ready = 0
	}
}

func request() rehearse.Request {
	return rehearse.Request{Namespace: "shop", Copy: "shop-rehearsal", Revision: "1-29-1"}
}

// source reads a file of objects.
func source(tb testing.TB, file string) rehearse.Source {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var out rehearse.Source
	for doc := range bytes.SplitSeq(b, []byte("\n---\n")) {
		var o rehearse.Object
		if err := yaml.Unmarshal(doc, &o); err != nil {
			tb.Fatalf("%v in\n%s", err, doc)
		}
		out.Objects = append(out.Objects, o)
	}
	out.Unseen = []string{"rolebindings.rbac.authorization.k8s.io: forbidden"}
	return out
}

// The whole of a namespace with one of each: what is copied, how it is changed,
// what stays and why. Secrets' values are in the objects and in nothing that is shown.
func TestBuild_ofOneOfEach(t *testing.T) {
	src := source(t, "testdata/shop.yaml")
	before := encoded(t, src)
	p, err := rehearse.Build(shop().Snapshot(), request(), src)
	if err != nil {
		t.Fatal(err)
	}
	if encoded(t, src) != before {
		t.Error("it has changed what it was given")
	}
	shown := encoded(t, p)
	for _, secret := range []string{"aHVudGVyMg", "hunter2", "Y2FydC5z"} {
		if strings.Contains(shown, secret) {
			t.Errorf("a Secret's value is shown: %s", secret)
		}
	}
	golden(t, "testdata/shop.plan.yaml", "shown:\n"+shown+"\nlabels:\n"+encoded(t, p.Labels)+"\nmade:\n"+encoded(t, p.Objects))
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// Whatever is copied, nobody but the copy is given it: no client's route, no
// address outside, no name that another tool would publish or prune (the law of off the routes).
func TestBuild_keepsOffTheRoutesOfClients(t *testing.T) {
	p, err := rehearse.Build(shop().Snapshot(), request(), source(t, "testdata/shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range p.Objects {
		name := o.Kind() + " " + o.Name()
		meta, _ := o["metadata"].(map[string]any)
		spec, _ := o["spec"].(map[string]any)
		if meta["namespace"] != "shop-rehearsal" || meta["uid"] != nil || meta["ownerReferences"] != nil {
			t.Errorf("%s: %v", name, meta)
		}
		text := fmt.Sprint(meta)
		for _, mark := range []string{"argocd", "helm", "external-dns", "app.kubernetes.io/instance"} {
			if strings.Contains(text, mark) {
				t.Errorf("%s carries the mark of %s: %s", name, mark, text)
			}
		}
		switch o.Kind() {
		case "Service":
			a, _ := meta["annotations"].(map[string]any)
			if a["networking.istio.io/exportTo"] != "." || (spec["type"] != "ClusterIP" && spec["type"] != "ExternalName") || spec["externalIPs"] != nil || strings.Contains(fmt.Sprint(spec), "nodePort") {
				t.Errorf("%s is seen from outside: %v %v", name, a, spec)
			}
		case "VirtualService", "DestinationRule", "ServiceEntry":
			if fmt.Sprint(spec["exportTo"]) != "[.]" || spec["gateways"] != nil || strings.Contains(fmt.Sprint(spec), "gateways") {
				t.Errorf("%s is seen from outside: %v", name, spec)
			}
		case "Gateway", "Ingress", "HTTPRoute", "WorkloadEntry":
			t.Errorf("%s is copied", name)
		}
	}
}

func TestBuild_onlyWhatIsNamed(t *testing.T) {
	r := request()
	r.Only = []string{"cart"}
	p, err := rehearse.Build(shop().Snapshot(), r, source(t, "testdata/shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"cart"}, p.Workloads()); d != "" {
		t.Error(d)
	}
	r.Only = []string{"none"}
	if _, err := rehearse.Build(shop().Snapshot(), r, source(t, "testdata/shop.yaml")); err == nil || !strings.Contains(err.Error(), "no Deployment none") {
		t.Errorf("got %v", err)
	}
}

func TestRefuse_saysWhyNot(t *testing.T) {
	label := func(ns string) *meshtest.World { return shop().Namespace("shop-rehearsal", rehearse.Label, ns) }
	for name, tt := range map[string]struct {
		mesh   *meshtest.World
		change func(*rehearse.Request)
		want   string
	}{
		"fine":                          {shop(), func(*rehearse.Request) {}, ""},
		"one that was left behind":      {label("shop"), func(*rehearse.Request) {}, ""},
		"no such revision":              {shop(), func(r *rehearse.Request) { r.Revision = "1-30" }, "there is no revision 1-30"},
		"no revision named":             {shop(), func(r *rehearse.Request) { r.Revision = "" }, "there is no revision"},
		"nobody of it is ready":         {shop().Change(unready), func(*rehearse.Request) {}, "no istiod of revision 1-29-1 is ready"},
		"no such namespace":             {shop(), func(r *rehearse.Request) { r.Namespace = "none" }, "no namespace none"},
		"Istio's own":                   {shop(), func(r *rehearse.Request) { r.Namespace = "istio-system" }, "cluster's own"},
		"the copy is somebody's":        {shop().Namespace("shop-rehearsal"), func(*rehearse.Request) {}, "is no rehearsal of shop"},
		"the copy is another's":         {label("other"), func(*rehearse.Request) {}, "is no rehearsal of shop"},
		"a rehearsal of a rehearsal":    {label("shop"), func(r *rehearse.Request) { r.Namespace, r.Copy = "shop-rehearsal", "x" }, "itself the rehearsal of shop"},
		"a copy of the namespace's own": {shop(), func(r *rehearse.Request) { r.Copy = "shop" }, "a name of its own"},
		"a name that is none":           {shop(), func(r *rehearse.Request) { r.Copy = "Shop_1" }, "cannot be a namespace's name"},
		"a name that is too long":       {shop(), func(r *rehearse.Request) { r.Copy = strings.Repeat("a", 64) }, "cannot be a namespace's name"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			tt.change(&r)
			err := rehearse.Refuse(tt.mesh.Snapshot(), r)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// What is in an object is anybody's: none of it may stop serin, and none of it may
// make an object that leads clients to the copy.
func TestBuild_ofHostileObjects(t *testing.T) {
	whole := source(t, "testdata/shop.yaml")
	n := 0
	for i := range whole.Objects {
		for _, odd := range []any{nil, "text", 7, []any{nil, "x", 3}, map[string]any{"x": nil}} {
			for _, path := range paths(whole.Objects[i], nil) {
				src := rehearse.Source{Objects: slices.Clone(whole.Objects)}
				src.Objects[i] = alone(t, src.Objects[i])
				set(src.Objects[i], odd, path)
				n++
				p, err := rehearse.Build(shop().Snapshot(), request(), src)
				if err != nil {
					t.Fatalf("%v at %v: %v", odd, path, err)
				}
				for _, o := range p.Objects {
					if o.Kind() == "Service" && strings.Contains(fmt.Sprint(o), "LoadBalancer") {
						t.Fatalf("%v at %v: %v", odd, path, o)
					}
				}
				rehearse.Secrets(src.Objects)
			}
		}
		if testing.Short() && n > 500 {
			return
		}
	}
	if n < 500 {
		t.Errorf("only %d inputs", n)
	}
}

// alone shares nothing with the other.
func alone(t *testing.T, o rehearse.Object) rehearse.Object {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var out rehearse.Object
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// paths lead to each place in a value, through maps and the first elements of lists.
func paths(v any, to []any) [][]any {
	var out [][]any
	switch v := v.(type) {
	case rehearse.Object:
		return paths(map[string]any(v), to)
	case map[string]any:
		for k, e := range v {
			at := append(append([]any{}, to...), k)
			out = append(append(out, at), paths(e, at)...)
		}
	case []any:
		if len(v) > 0 {
			at := append(append([]any{}, to...), 0)
			out = append(append(out, at), paths(v[0], at)...)
		}
	}
	return out
}

func set(o rehearse.Object, v any, path []any) {
	var in any = map[string]any(o)
	for i, p := range path {
		last := i == len(path)-1
		switch p := p.(type) {
		case string:
			m, _ := in.(map[string]any)
			if last {
				m[p] = v
			}
			in = m[p]
		case int:
			l, _ := in.([]any)
			if last {
				l[p] = v
			}
			in = l[p]
		}
	}
}

func TestJudge_unknownNeverOpens(t *testing.T) {
	p := rehearse.Plan{
		Request: request(), Version: "1.29.1", Copied: []rehearse.Item{{Kind: "Deployment", Name: "web"}}, Meshed: []string{"web"},
		Asks: []rehearse.Ask{{Service: "web", Port: 80, Path: "/"}},
	}
	ready := []rehearse.Standing{{Workload: "web", Ready: true}}
	same := []rehearse.Answer{{Ask: p.Asks[0], Was: "200 OK", Is: "200 OK"}}
	s := shop().Namespace("shop-rehearsal", mesh.RevLabel, "1-29-1", rehearse.Label, "shop").Deployment("shop-rehearsal", "web").Snapshot()
	full := gate.Evidence{Snapshot: s, Proxies: []gate.Proxy{{Namespace: "shop-rehearsal", Name: podOf(s), Revision: "1-29-1", Version: "1.29.1"}}}
	for range 2 {
		full.DryRuns = append(full.DryRuns, gate.DryRun{Namespace: "shop-rehearsal", Revision: "1-29-1", Proxies: 1})
	}
	for name, tt := range map[string]struct {
		ev       gate.Evidence
		standing []rehearse.Standing
		answers  []rehearse.Answer
		missing  []rehearse.Item
		want     gate.State
		says     string
	}{
		"all is well":            {full, ready, same, nil, gate.Open, "1 of 1 question answered"},
		"nothing is known":       {gate.Evidence{}, nil, nil, nil, gate.Unknown, "waiting for web"},
		"not asked":              {full, ready, nil, nil, gate.Unknown, "not asked yet"},
		"nobody could be asked":  {full, ready, []rehearse.Answer{{Ask: p.Asks[0], Unasked: "the original has no ready pod"}}, nil, gate.Unknown, "no ready pod"},
		"another answer":         {full, ready, []rehearse.Answer{{Ask: p.Asks[0], Was: "200 OK", Is: "no answer"}}, nil, gate.Shut, "web:80/: no answer by the copy, 200 OK by the original"},
		"no pod":                 {full, []rehearse.Standing{{Workload: "web", Trouble: "denied the request"}}, same, nil, gate.Shut, "web: denied the request"},
		"something is not there": {full, ready, same, []rehearse.Item{{Kind: "ConfigMap", Name: "lost", Why: "web needs it"}}, gate.Shut, "ConfigMap lost is not there"},
		"no proxy is connected":  {gate.Evidence{Snapshot: s, DryRuns: full.DryRuns}, ready, same, nil, gate.Unknown, "is not connected"},
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			p.Missing = tt.missing
			proof := p.Judge(tt.ev, tt.standing, tt.answers)
			if got := rehearse.StateOf(proof); got != tt.want {
				t.Errorf("%s, want %s: %+v", got, tt.want, proof)
			}
			if !strings.Contains(fmt.Sprint(proof), tt.says) {
				t.Errorf("it does not say %q: %+v", tt.says, proof)
			}
		})
	}
}

func podOf(s mesh.Snapshot) string {
	for _, p := range s.Pods {
		if p.Namespace == "shop-rehearsal" {
			return p.Name
		}
	}
	return ""
}
