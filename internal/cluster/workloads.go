package cluster

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serin-mesh/serin/internal/mesh"
)

// workloads is what was listed of applications, before it is known who injects them.
type workloads struct {
	all      []mesh.Workload
	labels   []map[string]string // of each one's pod template, all of them
	pods     []mesh.Pod
	owners   map[string]mesh.Ref // ReplicaSet namespace/name -> its Deployment
	services []corev1.Service
	budgets  []policyv1.PodDisruptionBudget
}

func (r *Reader) applications(ctx context.Context, w *workloads) error {
	var deployments, sets, daemons []mesh.Workload
	w.owners = map[string]mesh.Ref{}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.deployments(ctx, &deployments) })
	g.Go(func() error { return r.statefulSets(ctx, &sets) })
	g.Go(func() error { return r.daemonSets(ctx, &daemons) })
	g.Go(func() error { return r.replicaSets(ctx, w) })
	g.Go(func() error { return r.podsOf(ctx, w) })
	g.Go(func() error {
		list, err := r.kube.CoreV1().Services("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return listing("services", err)
		}
		w.services = list.Items
		return nil
	})
	g.Go(func() error {
		list, err := r.kube.PolicyV1().PodDisruptionBudgets("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return listing("poddisruptionbudgets.policy", err)
		}
		w.budgets = list.Items
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	w.all = slices.Concat(deployments, sets, daemons)
	return nil
}

func template(t corev1.PodTemplateSpec, w mesh.Workload) mesh.Workload {
	w.TemplateLabels, w.HostNetwork = t.Labels, t.Spec.HostNetwork
	for k, v := range t.Annotations {
		if strings.Contains(k, "istio.io/") {
			if w.TemplateAnnotations == nil {
				w.TemplateAnnotations = map[string]string{}
			}
			w.TemplateAnnotations[k] = v
		}
	}
	return w
}

func (r *Reader) deployments(ctx context.Context, out *[]mesh.Workload) error {
	opts := metav1.ListOptions{Limit: page}
	for {
		list, err := r.kube.AppsV1().Deployments("").List(ctx, opts)
		if err != nil {
			return listing("deployments.apps", err)
		}
		for _, d := range list.Items {
			*out = append(*out, deployment(d))
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return nil
		}
	}
}

func deployment(d appsv1.Deployment) mesh.Workload {
	w := template(d.Spec.Template, mesh.Workload{
		Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: d.Namespace, Name: d.Name}, Replicas: 1,
		Ready: int(d.Status.ReadyReplicas), Strategy: string(d.Spec.Strategy.Type), Paused: d.Spec.Paused, Owner: ownerOf(d.ObjectMeta),
	})
	if d.Spec.Replicas != nil {
		w.Replicas = int(*d.Spec.Replicas)
	}
	if u := d.Spec.Strategy.RollingUpdate; u != nil {
		w.MaxSurge, w.MaxUnavailable = scaled(u.MaxSurge, w.Replicas, true), scaled(u.MaxUnavailable, w.Replicas, false)
		if w.MaxSurge == 0 && w.MaxUnavailable == 0 { // Kubernetes never lets both be zero after rounding
			w.MaxUnavailable = 1
		}
	}
	st := d.Status
	w.Settled = st.ObservedGeneration >= d.Generation && int(st.UpdatedReplicas) == w.Replicas && int(st.Replicas) == w.Replicas && int(st.AvailableReplicas) == w.Replicas
	return w
}

func scaled(v *intstr.IntOrString, total int, up bool) int { //nolint:revive // which way Kubernetes rounds each field
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, total, up)
	if err != nil {
		return 0
	}
	return n
}

func (r *Reader) statefulSets(ctx context.Context, out *[]mesh.Workload) error {
	list, err := r.kube.AppsV1().StatefulSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return listing("statefulsets.apps", err)
	}
	for _, d := range list.Items {
		w := template(d.Spec.Template, mesh.Workload{
			Ref: mesh.Ref{Kind: mesh.KindStatefulSet, Namespace: d.Namespace, Name: d.Name}, Replicas: 1,
			Ready: int(d.Status.ReadyReplicas), Strategy: string(d.Spec.UpdateStrategy.Type), MaxUnavailable: 1, Owner: ownerOf(d.ObjectMeta),
		})
		if d.Spec.Replicas != nil {
			w.Replicas = int(*d.Spec.Replicas)
		}
		if u := d.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
			w.Partition = int(*u.Partition)
		}
		w.Settled = d.Status.ObservedGeneration >= d.Generation && d.Status.CurrentRevision == d.Status.UpdateRevision && w.Ready == w.Replicas
		*out = append(*out, w)
	}
	return nil
}

func (r *Reader) daemonSets(ctx context.Context, out *[]mesh.Workload) error {
	list, err := r.kube.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return listing("daemonsets.apps", err)
	}
	for _, d := range list.Items {
		w := template(d.Spec.Template, mesh.Workload{
			Ref: mesh.Ref{Kind: mesh.KindDaemonSet, Namespace: d.Namespace, Name: d.Name}, Replicas: int(d.Status.DesiredNumberScheduled),
			Ready: int(d.Status.NumberReady), Strategy: string(d.Spec.UpdateStrategy.Type), Owner: ownerOf(d.ObjectMeta),
		})
		if u := d.Spec.UpdateStrategy.RollingUpdate; u != nil {
			w.MaxSurge, w.MaxUnavailable = scaled(u.MaxSurge, w.Replicas, true), scaled(u.MaxUnavailable, w.Replicas, true)
		}
		w.Settled = d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedNumberScheduled == d.Status.DesiredNumberScheduled && w.Ready == w.Replicas
		*out = append(*out, w)
	}
	return nil
}

func (r *Reader) replicaSets(ctx context.Context, w *workloads) error {
	opts := metav1.ListOptions{Limit: page}
	for {
		list, err := r.kube.AppsV1().ReplicaSets("").List(ctx, opts)
		if err != nil {
			return listing("replicasets.apps", err)
		}
		for _, s := range list.Items {
			if o := metav1.GetControllerOf(&s); o != nil && o.Kind == "Deployment" {
				w.owners[s.Namespace+"/"+s.Name] = mesh.Ref{Kind: mesh.KindDeployment, Namespace: s.Namespace, Name: o.Name}
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return nil
		}
	}
}

func (r *Reader) podsOf(ctx context.Context, w *workloads) error {
	opts := metav1.ListOptions{Limit: page}
	for {
		list, err := r.kube.CoreV1().Pods("").List(ctx, opts)
		if err != nil {
			return listing("pods", err)
		}
		for i := range list.Items {
			p := &list.Items[i]
			if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				w.pods = append(w.pods, pod(p))
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return nil
		}
	}
}

func pod(p *corev1.Pod) mesh.Pod {
	out := mesh.Pod{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Leaving: p.DeletionTimestamp != nil}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Ready = c.Status == corev1.ConditionTrue
		}
	}
	if c, ok := proxyContainer(p.Spec); ok {
		out.Version = tagOf(c.Image)
		out.Revision = revisionOf(p)
	}
	out.Workload = mesh.Ref{Kind: mesh.KindPod, Namespace: p.Namespace, Name: p.Name}
	if o := metav1.GetControllerOf(p); o != nil {
		kind := mesh.WorkloadKind(o.Kind)
		switch o.Kind {
		case "StatefulSet", "DaemonSet", "Job", "ReplicaSet": // a ReplicaSet is looked up once all are known
		default:
			kind = mesh.KindOther
		}
		out.Workload = mesh.Ref{Kind: kind, Namespace: p.Namespace, Name: o.Name}
	}
	return out
}

// revisionOf reads who injected the pod (R§1.5): the annotation, else the status.
func revisionOf(p *corev1.Pod) string {
	if rev := p.Annotations[mesh.RevLabel]; rev != "" {
		return rev
	}
	var st struct {
		Revision string `json:"revision"`
	}
	if json.Unmarshal([]byte(p.Annotations["sidecar.istio.io/status"]), &st) == nil && st.Revision != "" {
		return st.Revision
	}
	return mesh.DefaultRevision
}

// into keeps what has, or would have, a proxy. It runs when the injectors are known.
func (w *workloads) into(s *mesh.Snapshot) {
	proxied := map[mesh.Ref]bool{}
	for i := range w.pods {
		p := &w.pods[i]
		if p.Workload.Kind == "ReplicaSet" {
			if ref, ok := w.owners[p.Namespace+"/"+p.Workload.Name]; ok {
				p.Workload = ref
			} else {
				p.Workload.Kind = mesh.KindOther
			}
		}
		if p.Revision != "" {
			proxied[p.Workload] = true
		}
	}
	nsLabels := map[string]map[string]string{}
	for _, n := range s.Namespaces {
		nsLabels[n.Name] = n.Labels
	}
	keep := map[mesh.Ref]bool{}
	for _, x := range w.all {
		injected := !x.HostNetwork && len(s.InjectorFor(nsLabels[x.Namespace], x.TemplateLabels)) > 0
		if injected || proxied[x.Ref] {
			keep[x.Ref] = true
			s.Workloads = append(s.Workloads, w.surroundings(x))
		}
	}
	for ref := range maps.Keys(proxied) {
		if !keep[ref] { // bare pods, Jobs and what other controllers own
			keep[ref] = true
			s.Workloads = append(s.Workloads, mesh.Workload{Ref: ref, Replicas: 1, Settled: true, Owner: mesh.Owner{Kind: mesh.OwnerNone}})
		}
	}
	for _, p := range w.pods {
		if p.Revision != "" || keep[p.Workload] {
			s.Pods = append(s.Pods, p)
		}
	}
}

// surroundings adds the Services and the budget that select the workload's pods.
func (w *workloads) surroundings(x mesh.Workload) mesh.Workload {
	set := labels.Set(x.TemplateLabels)
	for _, svc := range w.services {
		if svc.Namespace == x.Namespace && len(svc.Spec.Selector) > 0 && labels.SelectorFromSet(svc.Spec.Selector).Matches(set) {
			x.Services = append(x.Services, svc.Namespace+"/"+svc.Name)
		}
	}
	slices.Sort(x.Services)
	for _, b := range w.budgets {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if b.Namespace == x.Namespace && err == nil && !sel.Empty() && sel.Matches(set) {
			x.Budget = &mesh.Budget{Name: b.Name, DisruptionsAllowed: int(b.Status.DisruptionsAllowed)}
		}
	}
	return x
}
