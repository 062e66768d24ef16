package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/serin-mesh/serin/internal/plan"
)

// Watcher tells when what a step is about has changed. It watches names and labels
// of the step's kinds of objects, one step at a time, and writes nothing.
type Watcher struct {
	Clients
	namespace string // Istio's

	mu   sync.Mutex
	step int
	stop func()
	bell chan struct{} // rung once for any number of changes that nobody has heard of
}

// NewWatcher returns a watcher of the mesh whose control planes live in istioNamespace.
func NewWatcher(cfg *rest.Config, istioNamespace string) (*Watcher, error) {
	c, err := NewClients(cfg)
	if err != nil {
		return nil, err
	}
	return WatcherOf(c, istioNamespace), nil
}

// WatcherOf returns a watcher that uses these clients.
func WatcherOf(c Clients, istioNamespace string) *Watcher {
	return &Watcher{Clients: c, namespace: istioNamespace}
}

// Changed returns true as soon as an object that the step is about may have
// changed since it was last asked of this step, and false once d has passed. The
// first time it is true at once: whoever looks now misses nothing that comes later.
func (w *Watcher) Changed(ctx context.Context, st plan.Step, d time.Duration) (bool, error) {
	if w.begin(ctx, st) {
		return true, nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.bell:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, fmt.Errorf("watching for step %d: %w", st.Number, ctx.Err())
	}
}

// begin watches for another step than before, and says whether it had to.
func (w *Watcher) begin(ctx context.Context, st plan.Step) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop != nil && w.step == st.Number {
		return false
	}
	w.end()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // of many calls, each with a context of its own
	bell := make(chan struct{}, 1)
	var running sync.WaitGroup
	for _, what := range w.about(st) {
		informer := metadatainformer.NewFilteredMetadataInformer(w.Metadata, what.resource, what.namespace, 0, cache.Indexers{}, what.only).Informer()
		ring := func(any) {
			select {
			case bell <- struct{}{}:
			default: // it rings already
			}
		}
		// The handler's own errors are those of an informer that has ended: this one has not begun.
		_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: ring, UpdateFunc: func(_, now any) { ring(now) }, DeleteFunc: ring})
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	w.step, w.bell = st.Number, bell
	w.stop = func() { cancel(); running.Wait() }
	return true
}

// Close ends the watches.
func (w *Watcher) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

func (w *Watcher) end() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// watched is a kind of objects, or one of them.
type watched struct {
	resource  schema.GroupVersionResource
	namespace string
	only      func(*metav1.ListOptions)
}

// about are the objects that a step changes. All of Istio's webhooks belong to
// each step of a tag or a revision: a tag's parts are several.
func (w *Watcher) about(st plan.Step) []watched {
	webhooks := []watched{{resource: injectorResource()}, {resource: validatorResource()}}
	deployments := watched{resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, namespace: w.namespace}
	services := watched{resource: schema.GroupVersionResource{Version: "v1", Resource: "services"}, namespace: w.namespace}
	switch st.Kind {
	case plan.MoveNamespace, plan.RestoreLabels:
		return []watched{{resource: namespaceResource(), only: func(o *metav1.ListOptions) { o.FieldSelector = named(st.Namespace).FieldSelector }}}
	case plan.UpgradeBase:
		return []watched{{resource: crdResource()}}
	case plan.InstallRevision, plan.RemoveRevision:
		return append(webhooks, deployments)
	case plan.PinDefault, plan.MoveTag, plan.SetTag, plan.RemoveTag:
		return append(webhooks, services)
	case plan.FirstPods, plan.Surge, plan.Restart, plan.InstallChart, plan.RemoveChart,
		plan.RestoreRevision, plan.RemoveRest, plan.AddGateway, plan.OpenGateway, plan.ScaleGateway, plan.RenewGateway, plan.MoveGateway, plan.ReturnGateway, plan.RenderGateway, plan.PutBackGateway, plan.DropClaims, plan.DropTelemetry: // never through Git
	}
	return nil
}
