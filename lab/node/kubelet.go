package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/serin-mesh/serin/lab/app"
	"github.com/serin-mesh/serin/lab/cluster"
	"github.com/serin-mesh/serin/lab/fabric"
)

// rootCA is the ConfigMap in which istiod publishes its root to each namespace.
const rootCA = "istio-ca-root-cert"

// Options say what the nodes are and what they run on.
type Options struct {
	Nodes     int // default 1
	Client    kubernetes.Interface
	Fabric    *fabric.Fabric
	Authority *cluster.Authority // signs the kubelets' certificates
	Dir       string             // pods' volumes
	Log       io.Writer

	// Server and CA are what a kubeconfig of an istiod says.
	Server string
	CA     []byte
	// Pilot returns the pilot-discovery of a version.
	Pilot func(ctx context.Context, version string) (string, error)
}

// Kubelet runs the pods of all the lab's nodes. Make one with Start.
type Kubelet struct {
	opts  Options
	nodes map[string]string // name -> IP
	roots cache.SharedIndexInformer
	stop  context.CancelFunc
	all   sync.WaitGroup

	mu      sync.Mutex
	workers map[types.UID]*worker
	ips     map[string]bool
	lastIP  int
	stalls  map[string]bool     // namespace/workload
	failing map[string]app.Flaw // namespace/workload
	losing  map[string]string   // namespace/workload -> host
	insists map[string]bool     // namespace/workload
}

// Start registers the nodes and runs pods until ctx ends or Stop.
func Start(ctx context.Context, o Options) (*Kubelet, error) {
	ctx, cancel := context.WithCancel(ctx)
	k := &Kubelet{
		opts: o, nodes: map[string]string{}, stop: cancel, workers: map[types.UID]*worker{}, ips: map[string]bool{}, stalls: map[string]bool{}, failing: map[string]app.Flaw{}, losing: map[string]string{}, insists: map[string]bool{},
	}
	for i := range max(o.Nodes, 1) {
		name, ip := fmt.Sprintf("n%d", i+1), fmt.Sprintf("10.99.0.%d", i+1)
		k.nodes[name] = ip
		if err := k.serve(ctx, name, ip); err != nil {
			cancel()
			return nil, err
		}
		if err := k.register(ctx, name, ip); err != nil {
			cancel()
			return nil, err
		}
	}
	if err := k.watch(ctx); err != nil {
		cancel()
		return nil, err
	}
	return k, nil
}

// Stop kills everything that runs.
func (k *Kubelet) Stop() {
	k.stop()
	k.all.Wait()
}

func (k *Kubelet) watch(ctx context.Context) error {
	k.roots = informers.NewSharedInformerFactoryWithOptions(k.opts.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", rootCA).String()
	})).Core().V1().ConfigMaps().Informer()
	pods := informers.NewSharedInformerFactoryWithOptions(k.opts.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
	})).Core().V1().Pods().Informer()
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { k.see(ctx, o) },
		UpdateFunc: func(_, o any) { k.see(ctx, o) },
		DeleteFunc: k.forget,
	}); err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	go k.roots.Run(ctx.Done())
	go pods.Run(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), k.roots.HasSynced, pods.HasSynced) {
		return errors.New("watching pods: ended before the first list")
	}
	return nil
}

// see gives a pod to its worker, which it makes for a new one.
func (k *Kubelet) see(ctx context.Context, o any) {
	pod, ok := o.(*corev1.Pod)
	if !ok || k.nodes[pod.Spec.NodeName] == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.workers[pod.UID]; w != nil {
		w.update(pod)
		return
	}
	if ctx.Err() != nil {
		return
	}
	w := newWorker(k, pod, k.allot())
	k.workers[pod.UID] = w
	k.all.Go(func() { w.run(ctx) })
}

// forget ends the worker of a pod that is gone from the API, by force or not.
func (k *Kubelet) forget(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.workers[pod.UID]; w != nil {
		delete(k.workers, pod.UID)
		w.gone()
	}
}

// allot returns an unused pod IP; the caller holds mu.
func (k *Kubelet) allot() string {
	for {
		k.lastIP = k.lastIP%65000 + 1
		ip := net.IPv4(10, 244, byte(k.lastIP/250), byte(k.lastIP%250+2)).String() //nolint:gosec // both fit
		if !k.ips[ip] {
			k.ips[ip] = true
			return ip
		}
	}
}

func (k *Kubelet) release(ip string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.ips, ip)
}

// find returns the worker of a pod by name, nil if none; of two with the same
// name, the one that is not being deleted.
func (k *Kubelet) find(namespace, name string) *worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found *worker
	for _, w := range k.workers {
		if p := w.current(); p.Namespace == namespace && p.Name == name && (found == nil || p.DeletionTimestamp == nil) {
			found = w
		}
	}
	return found
}

// root is a namespace's copy of istiod's root certificate.
func (k *Kubelet) root(namespace string) []byte {
	o, ok, err := k.roots.GetStore().GetByKey(namespace + "/" + rootCA)
	if err != nil || !ok {
		return nil
	}
	cm, ok := o.(*corev1.ConfigMap)
	if !ok {
		return nil
	}
	return []byte(cm.Data["root-cert.pem"])
}

func (k *Kubelet) say(format string, args ...any) {
	if k.opts.Log != nil {
		fmt.Fprintf(k.opts.Log, time.Now().Format("15:04:05.000 ")+format+"\n", args...)
	}
}
