package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// guardLook is how often what was seen of a Gateway is judged.
const guardLook = 100 * time.Millisecond

// guard watches a Gateway's status and its Routes' while two revisions claim it, and
// cancels what is done within it when they fight or a Route is lost (S-23).
type guard struct {
	w    *Writer
	st   plan.Step
	stop context.CancelCauseFunc
	ends sync.WaitGroup

	mu     sync.Mutex
	seen   gate.Contest
	before map[attachment]bool // what it had accepted
}

// attachment is a Route's parent that is the Gateway: the whole of it, or one listener.
type attachment struct{ route, section, port string }

func (a attachment) String() string {
	out := a.route
	if a.section != "" {
		out += " at listener " + a.section
	}
	if a.port != "" {
		out += " at port " + a.port
	}
	return out
}

// guarded begins to watch, and returns the context that ends with bad news.
func (w *Writer) guarded(ctx context.Context, st plan.Step) (*guard, context.Context, error) {
	g := &guard{w: w, st: st, before: map[attachment]bool{}, seen: gate.Contest{Patience: w.paces.Accept}}
	if err := mayWatch(ctx, gatewayCRD, w.Dynamic.Resource(gatewayResource()).Namespace(st.Namespace), named(st.Gateway)); err != nil {
		return nil, nil, err
	}
	known, err := g.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	var kinds []schema.GroupVersionResource
	for _, versions := range routeKinds() {
		had := len(g.before)
		gvr, err := g.accepted(ctx, versions, known)
		if err != nil {
			return nil, nil, err
		}
		if len(g.before) > had { // of others there is nothing to lose
			kinds = append(kinds, gvr)
		}
	}
	within, stop := context.WithCancelCause(ctx)
	g.stop = stop
	g.ends.Go(func() {
		g.follow(within, w.Dynamic.Resource(gatewayResource()).Namespace(st.Namespace), named(st.Gateway), g.gateway)
	})
	for _, gvr := range kinds {
		g.ends.Go(func() { g.follow(within, w.Dynamic.Resource(gvr), metav1.ListOptions{}, g.route) })
	}
	g.ends.Go(func() { g.judge(within) })
	return g, within, nil
}

// routeKinds are the kinds that attach to a Gateway, each in the versions that may be
// served, of which one is enough.
func routeKinds() [][]schema.GroupVersionResource {
	var out [][]schema.GroupVersionResource
	for _, k := range [][]string{{"httproutes", "v1"}, {"grpcroutes", "v1"}, {"tlsroutes", "v1", "v1alpha3", "v1alpha2"}, {"tcproutes", "v1alpha2"}} {
		var versions []schema.GroupVersionResource
		for _, v := range k[1:] {
			versions = append(versions, schema.GroupVersionResource{Group: mesh.GatewayAPIGroup, Version: v, Resource: k[0]})
		}
		out = append(out, versions)
	}
	return out
}

// acceptedAnnotation is on the old revision's claim: what the Gateway had accepted when
// the claim was made. A later life that finds a Route lost finds here that it was there.
const acceptedAnnotation = "serin.dev/accepted"

// known is what an earlier life of the step has noted.
func (g *guard) known(ctx context.Context) (map[string]bool, error) {
	name := mesh.ClaimOf(mesh.PrivateTag(g.st.Namespace, g.st.Gateway), g.st.From).Name
	c, err := g.w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, reading())
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nothing is noted
	}
	if err != nil {
		return nil, asking("get", "mutatingwebhookconfigurations "+name, err)
	}
	out := map[string]bool{}
	for d := range strings.SplitSeq(c.Annotations[acceptedAnnotation], ",") {
		out[d] = true
	}
	return out, nil
}

// kept is what a later life must know.
func (g *guard) kept() map[string]string {
	var all []string
	for at := range g.before {
		all = append(all, at.digest())
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return map[string]string{acceptedAnnotation: strings.Join(all, ",")}
}

// digest is short: there may be thousands of them in one annotation.
func (a attachment) digest() string {
	sum := sha256.Sum256([]byte(a.route + "\x00" + a.section + "\x00" + a.port))
	return hex.EncodeToString(sum[:4])
}

// accepted notes which Routes of a kind the Gateway has accepted, and returns the
// version that is served; none is where the kind is not there.
func (g *guard) accepted(ctx context.Context, versions []schema.GroupVersionResource, known map[string]bool) (schema.GroupVersionResource, error) {
	for _, gvr := range versions {
		err := each(ctx, gvr.GroupResource().String(), metav1.ListOptions{}, g.w.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
			for i := range l.Items {
				for at, ok := range g.attached(&l.Items[i]) {
					if ok || known[at.digest()] {
						g.before[at] = true
					}
				}
			}
		})
		switch {
		case err == nil:
			return gvr, mayWatch(ctx, gvr.GroupResource().String(), g.w.Dynamic.Resource(gvr), metav1.ListOptions{})
		case !apierrors.IsNotFound(err):
			return gvr, err
		}
	}
	return schema.GroupVersionResource{}, nil
}

// mayWatch says why something cannot be watched: who is not permitted to would wait
// for news for ever, and hear none.
func mayWatch(ctx context.Context, what string, api dynamic.ResourceInterface, opts metav1.ListOptions) error {
	opts.TimeoutSeconds = new(int64)
	*opts.TimeoutSeconds = 1
	w, err := api.Watch(ctx, opts)
	if err != nil {
		return asking("watch", what, err)
	}
	w.Stop()
	return nil
}

// follow tells of each state of the objects, until ctx ends. A watch that breaks is
// begun again.
func (g *guard) follow(ctx context.Context, api dynamic.ResourceInterface, opts metav1.ListOptions, saw func(watch.EventType, *unstructured.Unstructured)) {
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return api.List(ctx, narrowed(o, opts))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return api.Watch(ctx, narrowed(o, opts))
		},
	}, g.w.Dynamic)
	_, _ = watchtools.UntilWithSync(ctx, lw, &unstructured.Unstructured{}, nil, func(e watch.Event) (bool, error) { // it ends with ctx
		if o, ok := e.Object.(*unstructured.Unstructured); ok {
			g.mu.Lock()
			defer g.mu.Unlock()
			saw(e.Type, o)
		}
		return false, nil
	})
}

func (g *guard) gateway(e watch.EventType, o *unstructured.Unstructured) {
	if e == watch.Deleted || o.GetName() != g.st.Gateway { // fakes do not select by field
		return
	}
	g.seen.Status(clock.Now(), timeless(o.Object["status"]))
}

func (g *guard) route(e watch.EventType, o *unstructured.Unstructured) {
	now := g.attached(o)
	for at := range g.before {
		if at.route == routeName(o) {
			ok, attached := now[at]
			g.seen.Route(clock.Now(), at.String(), ok || !attached || e == watch.Deleted)
		}
	}
}

// judge ends what is guarded as soon as there is a reason.
func (g *guard) judge(ctx context.Context) {
	tick := time.NewTicker(guardLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		g.mu.Lock()
		why := g.seen.Shut(clock.Now())
		g.mu.Unlock()
		if why != "" {
			g.stop(fmt.Errorf("%w: while %s and %s both claim it, %s\n  remedy: find what the two make of it differently, as a Route or a policy that only one of them reads; %s",
				drive.ErrShut, g.st.From, g.st.To, why, onwards))
			return
		}
	}
}

// steady waits until nothing is being waited out.
func (g *guard) steady(ctx context.Context) error {
	for {
		g.mu.Lock()
		ok := g.seen.Steady()
		g.mu.Unlock()
		if ok {
			return nil
		}
		if err := clock.Wait(ctx, guardLook); err != nil {
			return fmt.Errorf("waiting for its Routes: %w", err)
		}
	}
}

// end stops watching, and returns how what was watched over has ended: by bad news
// where there is some.
func (g *guard) end(within context.Context, err error) error {
	if cause := context.Cause(within); err != nil && errors.Is(cause, drive.ErrShut) {
		err = cause
	}
	g.stop(nil)
	g.ends.Wait()
	if writes, back := g.seen.Writes(); writes > 0 {
		g.w.notes.add(fmt.Sprintf("gateway %s: its status was written %d times while two revisions could, and put back %d times", g.st.Target, writes, back))
	}
	return err
}

// attached are the Route's parents that are the Gateway, and whether it accepts each.
func (g *guard) attached(o *unstructured.Unstructured) map[attachment]bool {
	out := map[attachment]bool{}
	refs, _, _ := unstructured.NestedSlice(o.Object, "spec", "parentRefs")
	for _, r := range refs {
		if at, ok := g.attachment(o, r); ok {
			out[at] = false
		}
	}
	parents, _, _ := unstructured.NestedSlice(o.Object, "status", "parents")
	for _, p := range parents {
		parent, _ := p.(map[string]any)
		at, ok := g.attachment(o, parent["parentRef"])
		if _, named := out[at]; ok && named && parent["controllerName"] == mesh.ControllerGateway && accepts(parent["conditions"]) {
			out[at] = true
		}
	}
	return out
}

// attachment is a parent of the Route, if that is the Gateway.
func (g *guard) attachment(o *unstructured.Unstructured, ref any) (attachment, bool) {
	r, _ := ref.(map[string]any)
	field := func(key, otherwise string) string {
		if s := fmt.Sprint(r[key]); r[key] != nil && s != "" {
			return s
		}
		return otherwise
	}
	its := field("group", mesh.GatewayAPIGroup) == mesh.GatewayAPIGroup && field("kind", "Gateway") == "Gateway" &&
		field("name", "") == g.st.Gateway && field("namespace", o.GetNamespace()) == g.st.Namespace
	return attachment{routeName(o), field("sectionName", ""), field("port", "")}, its
}

func routeName(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

func accepts(conditions any) bool {
	list, _ := conditions.([]any)
	for _, c := range list {
		if m, ok := c.(map[string]any); ok && m["type"] == "Accepted" {
			return m["status"] == "True"
		}
	}
	return false
}

// timeless is a status without when it became so, which each writer sets anew.
func timeless(status any) string {
	b, err := json.Marshal(untimed(status))
	if err != nil { // it came from JSON
		return err.Error()
	}
	return string(b)
}

func untimed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			if k != "lastTransitionTime" {
				out[k] = untimed(e)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = untimed(e)
		}
		return out
	}
	return v
}
