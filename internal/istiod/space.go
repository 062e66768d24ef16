package istiod

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/room"
	"github.com/serin-mesh/serin/internal/shadow"
)

// wish is a pod that a move would make, and what goes for it only afterwards.
type wish struct {
	ref   mesh.Ref
	pod   corev1.Pod
	spare mesh.Room // what its node gets back at once: of a pod that goes before the new one comes
	on    string    // that node; empty where any may take it
}

// wishOf is the pod's. Only a Deployment that surges makes the new one first;
// elsewhere it takes the place of the one that went, and may ask for more.
func wishOf(q shadow.Question, ref mesh.Ref, now, after corev1.Pod) wish {
	w := wish{ref: ref, pod: after}
	if d, ok := q.Snapshot.Workload(ref); !ok || d.Kind != mesh.KindDeployment || d.MaxSurge == 0 {
		w.spare, w.on = room.Asked(now.Spec), now.Spec.NodeName
	}
	return w
}

// place is a node and what is free of it.
type place struct {
	node corev1.Node
	free mesh.Room
}

// places are the nodes that pods are scheduled to, each with what nobody has asked for.
func (a *Asker) places(ctx context.Context) ([]place, error) {
	taken := map[string]mesh.Room{}
	running := metav1.ListOptions{Limit: page, FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"}
	for {
		pods, err := a.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, running)
		if err != nil {
			return nil, fmt.Errorf("listing pods: %w", err)
		}
		for i := range pods.Items {
			p := &pods.Items[i]
			taken[p.Spec.NodeName] = taken[p.Spec.NodeName].Plus(room.Asked(p.Spec))
		}
		if running.Continue = pods.Continue; running.Continue == "" {
			break
		}
	}
	var out []place
	listed := metav1.ListOptions{Limit: page}
	for {
		nodes, err := a.Client.CoreV1().Nodes().List(ctx, listed)
		if err != nil {
			return nil, fmt.Errorf("listing nodes: %w", err)
		}
		for _, n := range nodes.Items {
			if !n.Spec.Unschedulable {
				out = append(out, place{n, room.Of(n.Status.Allocatable).Less(taken[n.Name])})
			}
		}
		if listed.Continue = nodes.Continue; listed.Continue == "" {
			return out, nil
		}
	}
}

// need is how many of the nodes may take the pod, and how many have the room.
// Affinities and volumes are left to the scheduler: what they rule out besides is
// not known here.
func (w wish) need(nodes []place) shadow.Need {
	n := shadow.Need{Object: w.ref.String(), Asks: room.Asked(w.pod.Spec).Less(w.spare)}
	if n.Asks.CPU <= 0 && n.Asks.Memory <= 0 {
		n.Nodes, n.Fit = 1, 1 // it takes the place of one that asks for as much
		return n
	}
	for _, p := range nodes {
		if w.on != "" && p.node.Name != w.on || !takes(p.node, w.pod.Spec) {
			continue
		}
		n.Nodes++
		if p.free.Holds(n.Asks) {
			n.Fit++
		}
	}
	return n
}

// takes says whether a node's labels and taints let the pod on it.
func takes(n corev1.Node, spec corev1.PodSpec) bool {
	for k, v := range spec.NodeSelector {
		if n.Labels[k] != v {
			return false
		}
	}
	return !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Effect != corev1.TaintEffectPreferNoSchedule && !slices.ContainsFunc(spec.Tolerations, func(o corev1.Toleration) bool { return tolerates(o, t) })
	})
}

func tolerates(o corev1.Toleration, t corev1.Taint) bool {
	if o.Effect != "" && o.Effect != t.Effect || o.Key != "" && o.Key != t.Key {
		return false
	}
	return o.Operator == corev1.TolerationOpExists || o.Value == t.Value
}

// waiting are the istiods of a revision that no node has room for.
func (a *Asker) waiting(ctx context.Context, revision string) ([]string, error) {
	list, err := a.Client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return nil, fmt.Errorf("listing the istiod pods of %s: %w", a.Namespace, err)
	}
	var out []string
	for _, p := range list.Items {
		if of(p) == revision && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
		}) {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}
