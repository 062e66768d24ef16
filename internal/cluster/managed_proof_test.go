package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

func (d *deployed) move(p plan.Plan) error {
	d.t.Helper()
	return d.writer.Apply(d.t.Context(), moveOf("prod"), p, mesh.Snapshot{})
}

func accepting(patterns ...string) plan.Plan {
	return plan.Plan{Request: plan.Request{Prove: &plan.Prove{Accept: patterns}}}
}

// S-22: what the new revision's pod would be given is compared once both revisions
// program the Gateway and before any pod is replaced. What differs, and what could not
// be compared, stops it with the Gateway's own label back; mended or accepted it goes on.
func TestS22_comparedBeforeAnyPodIsReplaced(t *testing.T) {
	gone := gate.Difference{Pattern: "RDS virtualHosts[] removed", What: "RDS virtualHosts[] removed in 1 of 1 workload (a host is gone)", Dangerous: true}
	odd := gate.Difference{Pattern: "CDS connectTimeout changed", What: "CDS connectTimeout changed in 1 of 1 workload"}
	bare := gate.Difference{What: "LDS 0.0.0.0_80 (Envoy would reject it)", Dangerous: true}
	full := func(ds ...gate.Difference) gate.Foresight {
		return gate.Foresight{Workloads: 1, Resources: 31, Istiods: 2, Expected: 2, Found: ds}
	}
	for _, tt := range []struct {
		name  string
		found gate.Foresight
		wrong error
		plan  plan.Plan
		says  []string // of the error; none is where it goes on
		not   string   // in it
		told  string
		asked int
	}{
		{name: "nothing differs", found: full(), told: "31 resources that its proxies are given compared, as 2 istiods of 1-29-1 and default have them, 2 differences expected", asked: 1},
		{name: "dangerous", found: full(odd, gone), says: []string{"moving gateway shop/edge to 1-29-1", "dangerous: RDS virtualHosts[] removed", "(a host is gone); unexplained: CDS connectTimeout changed", "none of them was replaced", "remedy: mend it, and serin resume", "--accept 'RDS virtualHosts[] removed' --accept 'CDS connectTimeout changed'"}, asked: 1},
		{name: "unexplained", found: full(odd), says: []string{"unexplained: CDS connectTimeout changed"}, asked: 1},
		{name: "unexplained, and another is accepted", found: full(odd), plan: accepting("CDS connectTimeout removed"), says: []string{"unexplained: CDS connectTimeout changed"}, asked: 1},
		{name: "accepted", found: full(odd), plan: accepting("CDS connectTimeout changed"), told: "2 differences expected, 1 accepted", asked: 1},
		{name: "what has no pattern cannot be accepted", found: full(bare, odd), says: []string{"Envoy would reject it"}, not: "--accept", asked: 1},
		{name: "the old proxy cannot be asked", wrong: errors.New("no istiod has its proxy on revision default"), says: []string{"could not be compared: no istiod has its proxy on revision default", "remedy: "}, asked: 1},
		{name: "nothing is asked at all", plan: plan.Plan{Request: plan.Request{Prove: &plan.Prove{Off: true}}}, told: "was not compared: the request asks for no proof"},
		{name: "a repair brings it home", found: full(gone), plan: plan.Plan{Request: plan.Request{Operation: &plan.Operation{}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDeployed(t, "prod")
			d.found, d.wrong = tt.found, tt.wrong
			start := d.state()
			err := d.move(tt.plan)
			if (err == nil) != (tt.says == nil) || err != nil && !errors.Is(err, drive.ErrShut) {
				t.Fatalf("%v", err)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is not in %v", s, err)
				}
			}
			if tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("%q is in %v", tt.not, err)
			}
			if notes := strings.Join(d.writer.Told(), "\n"); tt.told != "" && !strings.Contains(notes, tt.told) {
				t.Errorf("told %q", notes)
			}
			if want := slices.Repeat([]string{"proxyv2:1-29-1 gateways/edge edge"}, tt.asked); !slices.Equal(want, d.compared) {
				t.Errorf("compared %v, want what the new revision makes of it %d times", d.compared, tt.asked)
			}
			d.fine()
			if err == nil {
				return
			}
			if slices.ContainsFunc(d.did, func(s string) bool { return strings.HasPrefix(s, "roll") }) || d.gateway().GetLabels()[mesh.RevLabel] != "prod" {
				t.Errorf("it was rolled, or has not its own label: %v", d.did)
			}
			d.mended(t, start)
		})
	}
}

// mended wants what stopped to go on once there is nothing to stop it, and before that
// to be as before when it is taken back.
func (d *deployed) mended(t *testing.T, start string) {
	t.Helper()
	if err := d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Fatalf("taking it back: %v", err)
	}
	if diff := cmp.Diff(start, d.state()); diff != "" {
		t.Errorf("taken back it is not as before: %s", diff)
	}
	if slices.ContainsFunc(d.did, func(s string) bool { return strings.HasPrefix(s, "roll") }) {
		t.Errorf("taken back it was rolled: %v", d.did)
	}
	d.found, d.wrong = gate.Foresight{Resources: 1, Istiods: 1}, nil
	if err := d.move(plan.Plan{}); err != nil {
		t.Errorf("mended: %v", err)
	}
	if !slices.Contains(d.did, "roll 1-29-1") {
		t.Errorf("mended it was not rolled: %v", d.did)
	}
	d.fine()
}

// S-22: nothing that a comparison finds keeps a Gateway from going back, or from being
// taken again; and what an earlier life has compared and begun is not stopped half-way.
func TestS22_theWayBackIsNeverBlocked(t *testing.T) {
	d := newDeployed(t, "prod")
	start := d.state()
	if err := d.move(plan.Plan{}); err != nil {
		t.Fatal(err)
	}
	d.found = gate.Foresight{Found: []gate.Difference{{What: "a host is gone", Dangerous: true}}}
	d.compared = nil
	if err := d.move(plan.Plan{}); err != nil { // a life before this one died after the roll
		t.Errorf("done again: %v", err)
	}
	for _, back := range []func() error{
		func() error {
			return d.writer.Apply(t.Context(), returnOf("prod"), plan.Plan{}, mesh.Snapshot{})
		},
		func() error {
			return d.writer.Revert(t.Context(), returnOf("prod"), plan.Plan{}, mesh.Snapshot{})
		},
		func() error {
			return d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{})
		},
	} {
		if err := back(); err != nil {
			t.Error(err)
		}
	}
	if len(d.compared) > 0 {
		t.Errorf("compared %v", d.compared)
	}
	if diff := cmp.Diff(start, d.state()); diff != "" {
		t.Error(diff)
	}
	d.fine()
	d = newDeployed(t, "prod") // and a Writer that nobody has given a comparer moves nothing
	d.writer.Compares(nil)
	if err := d.move(plan.Plan{}); !errors.Is(err, drive.ErrRefused) || slices.Contains(d.did, "roll 1-29-1") {
		t.Errorf("%v, %v", err, d.did)
	}
}

func httpRoutes() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: mesh.GatewayAPIGroup, Version: "v1", Resource: "httproutes"}
}

// route is an HTTPRoute of which each parent says whether it is accepted.
func route(name string, parents map[string]string) *unstructured.Unstructured {
	var refs, said []any
	for p, accepted := range parents {
		ref := map[string]any{"name": p, "namespace": "shop"}
		refs = append(refs, ref)
		said = append(said, map[string]any{
			"parentRef": ref, "controllerName": mesh.ControllerGateway,
			"conditions": []any{map[string]any{"type": "ResolvedRefs", "status": "True"}, map[string]any{"type": "Accepted", "status": accepted}},
		})
	}
	r := in("web", custom("gateway.networking.k8s.io/v1", "HTTPRoute", name, nil, map[string]any{"parentRefs": refs}))
	r.Object["status"] = map[string]any{"parents": said}
	return r
}

func (d *deployed) put(gvr schema.GroupVersionResource, o *unstructured.Unstructured) {
	d.t.Helper()
	if err := d.dyn.Tracker().Update(gvr, o, o.GetNamespace()); err != nil {
		d.t.Error(err)
	}
}

// written has the Gateway's status written so often, to and fro between so many values.
func (d *deployed) written(ctx context.Context, times, values int, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range times {
		g := d.gateway()
		g.Object["status"] = map[string]any{"attachedRoutes": strconv.Itoa(i % values), "conditions": []any{map[string]any{"lastTransitionTime": strconv.Itoa(i)}}}
		d.put(gatewayKind(), g)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// passes lets time pass in which what is watched would be told, and judged.
func passes(ctx context.Context, d time.Duration) { _ = clock.Wait(ctx, d) }

// S-23: while both revisions claim a Gateway they may fight over its status, or one
// may refuse a Route that the other accepts: either stops the move before any pod is
// replaced. What only goes on, is late for a moment, or is another's stops nothing.
func TestS23_statusAndRoutesAreWatched(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		during func(ctx context.Context, d *deployed)
		says   []string
		told   string
	}{
		{"nothing happens", func(context.Context, *deployed) {}, nil, ""},
		{"a fight", func(ctx context.Context, d *deployed) { d.written(ctx, 1000, 2, 10*time.Millisecond) }, []string{
			"moving gateway shop/edge to 1-29-1", "while default and 1-29-1 both claim it, both revisions write its status, and fight over it", "remedy: ",
		}, "its status was written"},
		{"a status that goes on", func(ctx context.Context, d *deployed) { d.written(ctx, 200, 1000, 10*time.Millisecond) }, nil, "put back 0 times"},
		{"a Route is accepted no more", func(ctx context.Context, d *deployed) {
			d.put(httpRoutes(), route("cart", map[string]string{"edge": "False", "other": "True"}))
			<-ctx.Done()
		}, []string{"1 Route that it had accepted it has not accepted for 300ms: HTTPRoute web/cart"}, ""},
		{"its status is lost", func(ctx context.Context, d *deployed) {
			r := route("cart", map[string]string{"edge": "True"})
			r.Object["status"] = map[string]any{}
			d.put(httpRoutes(), r)
			<-ctx.Done()
		}, []string{"HTTPRoute web/cart"}, ""},
		{"a Route is lost at the last moment", func(ctx context.Context, d *deployed) {
			d.put(httpRoutes(), route("cart", map[string]string{"edge": "False"}))
			passes(ctx, 50*time.Millisecond) // it is heard of
		}, []string{"HTTPRoute web/cart"}, ""},
		{"a Route is not accepted for a moment", func(ctx context.Context, d *deployed) {
			d.put(httpRoutes(), route("cart", map[string]string{"edge": "False"}))
			passes(ctx, 50*time.Millisecond)
			d.put(httpRoutes(), route("cart", map[string]string{"edge": "True"}))
		}, nil, ""},
		{"another Gateway refuses it", func(ctx context.Context, d *deployed) {
			d.put(httpRoutes(), route("cart", map[string]string{"edge": "True", "other": "False"}))
			passes(ctx, 500*time.Millisecond)
		}, nil, ""},
		{"it is attached no more, and one that never was accepted is not", func(ctx context.Context, d *deployed) {
			d.put(httpRoutes(), route("cart", map[string]string{"other": "False"}))
			d.put(httpRoutes(), route("never", map[string]string{"edge": "False"}))
			passes(ctx, 500*time.Millisecond)
		}, nil, ""},
		{"it is deleted", func(ctx context.Context, d *deployed) {
			if err := d.dyn.Tracker().Delete(httpRoutes(), "web", "cart"); err != nil {
				d.t.Error(err)
			}
			passes(ctx, 500*time.Millisecond)
		}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDeployed(t, "prod")
			d.found = gate.Foresight{Resources: 1, Istiods: 1}
			for _, r := range []*unstructured.Unstructured{route("cart", map[string]string{"edge": "True", "other": "True"}), route("never", map[string]string{"edge": "False"})} {
				if err := d.dyn.Tracker().Create(httpRoutes(), r, "web"); err != nil {
					t.Fatal(err)
				}
			}
			start := d.state()
			d.during = func(ctx context.Context) { tt.during(ctx, d) }
			err := d.move(plan.Plan{})
			d.during = nil
			if (err == nil) != (tt.says == nil) || err != nil && !errors.Is(err, drive.ErrShut) {
				t.Fatalf("%v", err)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is not in %v", s, err)
				}
			}
			if notes := fmt.Sprint(d.writer.Told()); !strings.Contains(notes, tt.told) {
				t.Errorf("told %s", notes)
			}
			if err != nil {
				if d.gateway().GetLabels()[mesh.RevLabel] != "prod" {
					t.Errorf("it has not its own label: %v", d.did)
				}
				d.put(gatewayKind(), d.gateway()) // the fight is over
				d.mended(t, start)
			}
			d.fine()
		})
	}
}

// S-23, S-49: a life that dies once a Route is lost leaves the next to find it so: what
// had been accepted is noted with the claim, and goes with it.
func TestS23_aLaterLifeKnowsWhatWasAccepted(t *testing.T) {
	d := newDeployed(t, "prod")
	d.found = gate.Foresight{Resources: 1, Istiods: 1}
	for _, r := range []*unstructured.Unstructured{route("cart", map[string]string{"edge": "True"}), route("never", map[string]string{"edge": "False"})} {
		if err := d.dyn.Tracker().Create(httpRoutes(), r, "web"); err != nil {
			t.Fatal(err)
		}
	}
	start := d.state()
	d.during = func(context.Context) {
		d.put(httpRoutes(), route("cart", map[string]string{"edge": "False"}))
		d.dies = d.writes + 1
	}
	d.wrong = fmt.Errorf("%w: it dies", drive.ErrShut) // and its label is not given back
	if err := d.move(plan.Plan{}); err == nil {
		t.Fatal("nobody noticed")
	}
	d.dies, d.during, d.wrong = 0, nil, nil
	err := d.move(plan.Plan{})
	if !errors.Is(err, drive.ErrShut) || !strings.Contains(err.Error(), "HTTPRoute web/cart") || strings.Contains(err.Error(), "never") {
		t.Errorf("the next life: %v", err)
	}
	if err := d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(start, d.state()); diff != "" {
		t.Errorf("taken back it is not as before: %s", diff)
	}
	if err := d.move(plan.Plan{}); err != nil { // it is as it was before this move
		t.Errorf("a new move: %v", err)
	}
	d.fine()
}

// Who may not watch would hear of nothing: that is said before anything is touched.
func TestS23_whoCannotWatchMovesNothing(t *testing.T) {
	for _, kind := range []string{"gateways", "httproutes"} {
		d := newDeployed(t, "prod")
		d.dyn.PrependWatchReactor(kind, func(clienttesting.Action) (bool, watch.Interface, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: kind}, "", errors.New("no"))
		})
		err := d.move(plan.Plan{})
		if err == nil || !strings.Contains(err.Error(), "the user needs verb watch on "+kind) || len(d.did) > 0 {
			t.Errorf("%s: %v, %v", kind, err, d.did)
		}
	}
	d := newDeployed(t, "prod")
	d.dyn.PrependReactor("list", "grpcroutes", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errAway })
	if err := d.move(plan.Plan{}); !errors.Is(err, errAway) || len(d.did) > 0 {
		t.Errorf("%v, %v", err, d.did)
	}
}

// S-49, S-22: the API server goes away at each write of a move that a comparison stops,
// before one and after the next: taken back it is as before, and nothing was rolled.
func TestS49_aStoppedMoveDiesAtEachWrite(t *testing.T) {
	bad := gate.Foresight{Found: []gate.Difference{{What: "a host is gone", Dangerous: true}}}
	whole := newDeployed(t, "prod")
	whole.found = bad
	if err := whole.move(plan.Plan{}); err == nil {
		t.Fatal("nothing stopped it")
	}
	if whole.writes < 10 {
		t.Fatalf("only %d writes: the test proves nothing", whole.writes)
	}
	for n := 1; n <= whole.writes; n++ {
		after := n%2 == 0
		d := newDeployed(t, "prod")
		start := d.state()
		d.found, d.dies, d.after = bad, n, after
		if err := d.move(plan.Plan{}); err == nil {
			t.Errorf("write %d, after it %t: nobody noticed", n, after)
		}
		d.dies = 0
		if err := d.move(plan.Plan{}); !errors.Is(err, drive.ErrShut) {
			t.Errorf("write %d, after it %t: done again: %v", n, after, err)
		}
		if err := d.writer.Revert(t.Context(), moveOf("prod"), plan.Plan{}, mesh.Snapshot{}); err != nil {
			t.Errorf("write %d, after it %t: taken back: %v", n, after, err)
		}
		if diff := cmp.Diff(start, d.state()); diff != "" {
			t.Errorf("write %d, after it %t: %s", n, after, diff)
		}
		if slices.ContainsFunc(d.did, func(s string) bool { return strings.HasPrefix(s, "roll") }) {
			t.Errorf("write %d, after it %t: %v", n, after, d.did)
		}
		d.fine()
	}
}
