package mesh_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
)

// The table of R§1.7, as it was found by running the rendered selectors: the
// default injector, a revision canary and a tag prod.
const truth = `
namespace                     none    inject=true inject=false rev=canary rev=prod rev=default rev=nope+inject=true
-                             -       default     -            canary     prod     default     -
istio-injection=enabled       default default     -            default    default  default     default
istio-injection=disabled      -       -           -            -          -        -           -
istio.io/rev=canary           canary  canary      -            canary     canary   canary      canary
istio.io/rev=prod             prod    prod        -            prod       prod     prod        prod
istio.io/rev=default          default default     -            default    default  default     default
enabled+istio.io/rev=canary   default default     -            default    default  default     default
disabled+istio.io/rev=canary  -       -           -            -          -        -           -
istio.io/rev=                 -       -           -            -          -        -           -
`

func labels(text string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(text, "+") {
		k, v, found := strings.Cut(part, "=")
		switch {
		case part == "-" || part == "none":
		case !found:
			out[mesh.InjectionLabel] = k
		case k == "inject":
			out[mesh.InjectLabel] = v
		case k == "rev":
			out[mesh.RevLabel] = v
		default:
			out[k] = v
		}
	}
	return out
}

// rows calls f for each cell of the truth table.
func rows(f func(ns, pod, want string)) {
	lines := strings.Split(strings.TrimSpace(truth), "\n")
	head := strings.Fields(lines[0])[1:]
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		for i, want := range cells[1:] {
			f(cells[0], head[i], want)
		}
	}
}

func threeInjectors() *meshtest.World {
	return meshtest.New().Base("1.27.0", "default").ControlPlane("default", "1.27.0").ControlPlane("canary", "1.28.0").
		ControlPlane("1-26-0", "1.26.0").Tag("prod", "1-26-0")
}

func TestInjection_isTheTruthTable(t *testing.T) {
	s := threeInjectors().Snapshot()
	rows(func(ns, pod, want string) {
		i := s.Injection(labels(ns), labels(pod))
		got := i.Revision
		switch {
		case i.None():
			got = "-"
		case i.Tag != "":
			got = i.Tag
		}
		if got != want || i.Conflict || len(i.Injectors) > 1 {
			t.Errorf("namespace %s, pod %s: %v, want %s", ns, pod, i, want)
		}
	})
}

func TestS01_aPinnedTagAnswersLikeTheInjectorItReplaces(t *testing.T) {
	s := threeInjectors().Tag("default", "default").Snapshot()
	rows(func(ns, pod, want string) {
		i := s.Injection(labels(ns), labels(pod))
		got := i.Tag
		switch {
		case i.None():
			got = "-"
		case got == "":
			got = i.Revision
		}
		if got != want || len(i.Injectors) > 1 {
			t.Errorf("namespace %s, pod %s: %v, want %s by one injector", ns, pod, i, want)
		}
	})
}

func TestInjection_anActiveInjectorBesideTheDefaultTagIsAConflict(t *testing.T) {
	w := threeInjectors()
	s := w.Change(func(s *mesh.Snapshot) {
		s.Injectors = append(s.Injectors, mesh.TagInjector("default", "canary", "istio-system"))
	}).Snapshot()
	rows(func(ns, pod, want string) {
		if i := s.Injection(labels(ns), labels(pod)); i.Conflict != (want == "default") || i.Conflict && i.Revision != "" {
			t.Errorf("namespace %s, pod %s: %+v, want a conflict: %v", ns, pod, i, want == "default")
		}
	})
	same := w.Change(func(s *mesh.Snapshot) {
		s.Injectors[len(s.Injectors)-1] = mesh.TagInjector("default", "default", "istio-system")
	}).Snapshot()
	i := same.Injection(labels("enabled"), nil)
	if i.Conflict || i.Revision != "default" || len(i.Injectors) != 2 {
		t.Errorf("two injectors of one revision are no conflict, got %+v", i)
	}
}

func TestInjection_namespacesEnabledByDefault(t *testing.T) {
	s := threeInjectors().EnableByDefault().Snapshot()
	if i := s.Injection(nil, nil); i.Revision != "default" {
		t.Errorf("an unlabelled namespace: %v, want default", i)
	}
	if i := s.Injection(map[string]string{"kubernetes.io/metadata.name": "kube-system"}, nil); !i.None() {
		t.Errorf("kube-system: %v, want none", i)
	}
	if i := s.Injection(labels("disabled"), nil); !i.None() {
		t.Errorf("a namespace that says no: %v, want none", i)
	}
}

func TestInjectorFor_countsAnInjectorOnce(t *testing.T) {
	in := mesh.Injector{Name: "both", Revision: "r", Webhooks: []mesh.Webhook{{Name: "a"}, {Name: "b"}}}
	s := mesh.Snapshot{Injectors: []mesh.Injector{in, in.Off()}}
	if got := s.InjectorFor(nil, nil); len(got) != 1 {
		t.Errorf("got %d injectors, want the one that is on, once", len(got))
	}
	if in.IsOff() || !in.Off().IsOff() {
		t.Error("IsOff must tell a switched-off injector")
	}
}

func TestInjectionOf_whatIstiodItselfRefuses(t *testing.T) {
	s := meshtest.New().ControlPlane("default", "1.27.0").Namespace("shop", "istio-injection", "enabled").Namespace("kube-system", "istio-injection", "enabled").
		Deployment("shop", "plain").Deployment("shop", "host", meshtest.With(func(w *mesh.Workload) { w.HostNetwork = true })).
		Deployment("shop", "out", meshtest.Labels(mesh.InjectLabel, "false")).Deployment("kube-system", "dns").
		Deployment("shop", "note", meshtest.With(func(w *mesh.Workload) { w.TemplateAnnotations = map[string]string{mesh.InjectLabel: "false"} })).
		Deployment("shop", "both", meshtest.Labels(mesh.InjectLabel, "true"), meshtest.With(func(w *mesh.Workload) {
			w.TemplateAnnotations = map[string]string{mesh.InjectLabel: "false"}
		})).Snapshot()
	got := map[string]string{}
	for _, w := range s.Workloads {
		got[w.Name] = s.InjectionOf(w).String()
	}
	want := map[string]string{"plain": "default", "host": "none", "out": "none", "dns": "none", "note": "none", "both": "default"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestInjection_String(t *testing.T) {
	for want, i := range map[string]mesh.Injection{
		"none":              {},
		"conflict":          {Conflict: true, Injectors: []string{"a", "b"}},
		"1-29-1 (tag prod)": {Revision: "1-29-1", Tag: "prod", Injectors: []string{"a"}},
		"1-29-1":            {Revision: "1-29-1", Injectors: []string{"a"}},
	} {
		if got := i.String(); got != want {
			t.Errorf("%+v: %q, want %q", i, got, want)
		}
	}
}

func TestSelector_unknownOperatorMatchesNothing(t *testing.T) {
	s := mesh.Selector{MatchExpressions: []mesh.Requirement{{Key: "a", Operator: "Gt", Values: []string{"1"}}}}
	if s.Matches(map[string]string{"a": "2"}) {
		t.Error("an operator that serin does not know must not match")
	}
}

func TestRender_namesOutsideIstioSystem(t *testing.T) {
	got := fmt.Sprint(
		mesh.RevisionInjector("default", "mesh").Name, " ", mesh.RevisionInjector("x", "mesh").Name, " ",
		mesh.TagInjector("default", "x", "mesh").Name, " ", mesh.RevisionValidator("x", "mesh").Name, " ",
		mesh.TagInjector("p", "x", "mesh").Webhooks[0].Service,
	)
	const want = "istio-sidecar-injector-mesh istio-sidecar-injector-x-mesh istio-revision-tag-default-mesh istio-validator-x-mesh mesh/istiod-x"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
