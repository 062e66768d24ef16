package cluster

import (
	"context"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/serin-mesh/serin/internal/mesh"
)

// set is a Deployment, StatefulSet or DaemonSet, before it is known whether it matters.
type set struct {
	mesh.Workload
	template corev1.PodTemplateSpec
}

func (r *Reader) deployments(ctx context.Context, f *facts) error {
	f.istiods, f.deployed = map[string]istiodFact{}, annotations{}
	return each(ctx, "deployments.apps", metav1.ListOptions{}, r.Kube.AppsV1().Deployments("").List, func(l *appsv1.DeploymentList) {
		for i := range l.Items {
			d := &l.Items[i]
			f.deployments = append(f.deployments, deploymentOf(d))
			f.deployed.note("workload "+d.Namespace+"/"+d.Name, d.Annotations)
			if d.Labels["app"] == "istiod" && d.Spec.Template.Labels["app"] == "istiod" {
				c := controlPlaneOf(d)
				f.controlPlanes = append(f.controlPlanes, c)
				f.istiods[c.Revision] = istiodOf(d)
			}
			if d.Name == "istio-operator" || d.Spec.Template.Labels["name"] == "istio-operator" {
				f.operators = append(f.operators, mesh.Object{Kind: "Deployment", Namespace: d.Namespace, Name: d.Name, Note: "Istio's operator in the cluster"})
			}
		}
	})
}

func (r *Reader) statefulSets(ctx context.Context, f *facts) error {
	return each(ctx, "statefulsets.apps", metav1.ListOptions{}, r.Kube.AppsV1().StatefulSets("").List, func(l *appsv1.StatefulSetList) {
		for i := range l.Items {
			f.statefulSets = append(f.statefulSets, statefulSetOf(&l.Items[i]))
		}
	})
}

func (r *Reader) daemonSets(ctx context.Context, f *facts) error {
	return each(ctx, "daemonsets.apps", metav1.ListOptions{}, r.Kube.AppsV1().DaemonSets("").List, func(l *appsv1.DaemonSetList) {
		for i := range l.Items {
			d := &l.Items[i]
			if s, ok := singletonOf(d); ok {
				f.singletons = append(f.singletons, s)
				continue
			}
			f.daemonSets = append(f.daemonSets, daemonSetOf(d))
		}
	})
}

func (r *Reader) budgets(ctx context.Context, f *facts) error {
	return each(ctx, "poddisruptionbudgets.policy", metav1.ListOptions{}, r.Kube.PolicyV1().PodDisruptionBudgets("").List, func(l *policyv1.PodDisruptionBudgetList) {
		f.budgets = append(f.budgets, l.Items...)
	})
}

func deploymentOf(d *appsv1.Deployment) set {
	w := workloadOf(mesh.KindDeployment, d, d.Spec.Template)
	w.Replicas, w.Ready = int(orOne(d.Spec.Replicas)), int(d.Status.ReadyReplicas)
	w.Strategy, w.Paused = string(d.Spec.Strategy.Type), d.Spec.Paused
	if w.Strategy == "" {
		w.Strategy = string(appsv1.RollingUpdateDeploymentStrategyType)
	}
	if w.Strategy == string(appsv1.RollingUpdateDeploymentStrategyType) {
		u := d.Spec.Strategy.RollingUpdate
		if u == nil {
			u = &appsv1.RollingUpdateDeployment{}
		}
		quarter := intstr.FromString("25%")
		w.MaxSurge, w.MaxUnavailable = scaled(u.MaxSurge, quarter, w.Replicas, true), scaled(u.MaxUnavailable, quarter, w.Replicas, false)
		if w.MaxSurge == 0 && w.MaxUnavailable == 0 {
			w.MaxUnavailable = 1 // both rounded to nothing would never move: the controller takes one
		}
	}
	w.Settled = deploymentSettled(d)
	return set{Workload: w, template: d.Spec.Template}
}

func statefulSetOf(s *appsv1.StatefulSet) set {
	w := workloadOf(mesh.KindStatefulSet, s, s.Spec.Template)
	w.Replicas, w.Ready = int(orOne(s.Spec.Replicas)), int(s.Status.ReadyReplicas)
	w.Strategy = string(s.Spec.UpdateStrategy.Type)
	if w.Strategy == "" {
		w.Strategy = string(appsv1.RollingUpdateStatefulSetStrategyType)
	}
	if w.Strategy == string(appsv1.RollingUpdateStatefulSetStrategyType) {
		w.MaxUnavailable = 1
		if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil {
			w.MaxUnavailable = max(1, scaled(u.MaxUnavailable, intstr.FromInt32(1), w.Replicas, true))
			if u.Partition != nil {
				w.Partition = int(*u.Partition)
			}
		}
	}
	w.Settled = statefulSetSettled(s)
	return set{Workload: w, template: s.Spec.Template}
}

func daemonSetOf(d *appsv1.DaemonSet) set {
	w := workloadOf(mesh.KindDaemonSet, d, d.Spec.Template)
	w.Replicas, w.Ready = int(d.Status.DesiredNumberScheduled), int(d.Status.NumberReady)
	w.Strategy = string(d.Spec.UpdateStrategy.Type)
	if w.Strategy == "" {
		w.Strategy = string(appsv1.RollingUpdateDaemonSetStrategyType)
	}
	if w.Strategy == string(appsv1.RollingUpdateDaemonSetStrategyType) {
		u := d.Spec.UpdateStrategy.RollingUpdate
		if u == nil {
			u = &appsv1.RollingUpdateDaemonSet{}
		}
		w.MaxSurge = scaled(u.MaxSurge, intstr.FromInt32(0), w.Replicas, true)
		w.MaxUnavailable = scaled(u.MaxUnavailable, intstr.FromInt32(1), w.Replicas, true)
		if w.MaxSurge > 0 && u.MaxUnavailable == nil {
			w.MaxUnavailable = 0
		}
	}
	w.Settled = daemonSetSettled(d)
	return set{Workload: w, template: d.Spec.Template}
}

func workloadOf(kind mesh.WorkloadKind, o metav1.Object, t corev1.PodTemplateSpec) mesh.Workload {
	w := mesh.Workload{
		Ref:            mesh.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()},
		TemplateLabels: t.Labels, HostNetwork: t.Spec.HostNetwork, Owner: ownerOf(o), Proxy: templateProxy(t.Spec), Gated: gated(t.Spec),
		Template: templateOf(o, t),
	}
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

// scaled resolves a number or a percentage as the controllers do: surge rounds
// up, and so does what may be unavailable everywhere but in a Deployment.
func scaled(v *intstr.IntOrString, absent intstr.IntOrString, replicas int, up bool) int {
	if v == nil {
		v = &absent
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, replicas, up)
	if err != nil {
		return 0
	}
	return n
}

func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func deploymentSettled(d *appsv1.Deployment) bool {
	n, s := orOne(d.Spec.Replicas), d.Status
	return s.ObservedGeneration >= d.Generation && s.Replicas == n && s.UpdatedReplicas == n && s.AvailableReplicas == n
}

// statefulSetSettled counts a partition as settled: its pods stay by wish.
func statefulSetSettled(s *appsv1.StatefulSet) bool {
	n, st := orOne(s.Spec.Replicas), s.Status
	updated := n
	if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		updated = max(0, n-*u.Partition)
	}
	if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		updated = 0
	}
	return st.ObservedGeneration >= s.Generation && st.Replicas == n && st.UpdatedReplicas >= updated && st.AvailableReplicas == n
}

func daemonSetSettled(d *appsv1.DaemonSet) bool {
	n, s := d.Status.DesiredNumberScheduled, d.Status
	updated := d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType || s.UpdatedNumberScheduled == n
	return s.ObservedGeneration >= d.Generation && updated && s.NumberAvailable == n
}

func controlPlaneOf(d *appsv1.Deployment) mesh.ControlPlane {
	c := mesh.ControlPlane{
		Revision: d.Labels[mesh.RevLabel], Namespace: d.Namespace, Name: d.Name,
		Replicas: int(orOne(d.Spec.Replicas)), Ready: int(d.Status.ReadyReplicas), Owner: ownerOf(d),
	}
	if c.Revision == "" {
		c.Revision = mesh.DefaultRevision
	}
	for _, k := range d.Spec.Template.Spec.Containers {
		if k.Name == "discovery" || c.Version == "" {
			c.Version = imageVersion(k.Image)
		}
	}
	if c.Version == "" { // an image by digest: what the chart says of itself
		c.Version = d.Labels["app.kubernetes.io/version"]
	}
	return c
}

// singletonOf recognises istio-cni and ztunnel, which have no revision (R§10).
func singletonOf(d *appsv1.DaemonSet) (mesh.Singleton, bool) {
	if d.Name != "istio-cni-node" && d.Name != "ztunnel" && d.Spec.Template.Labels["k8s-app"] != "istio-cni-node" {
		return mesh.Singleton{}, false
	}
	s := mesh.Singleton{Name: d.Name}
	if c := d.Spec.Template.Spec.Containers; len(c) > 0 {
		s.Version = imageVersion(c[0].Image)
	}
	return s, true
}
