package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// podUsage is how Istio's tools let a pod be named.
const podUsage = "[TYPE/]NAME[.NAMESPACE]"

// podName is what a person typed for a pod.
type podName struct {
	kind      mesh.WorkloadKind // empty or Pod: the name is a pod's
	namespace string
	name      string
}

// parsePod reads [TYPE/]NAME[.NAMESPACE] as istioctl does: what follows the last
// dot is the namespace, and without one it is that of -n, or "default".
func (a *app) parsePod(arg string) (podName, error) {
	p := podName{namespace: cmp.Or(a.target.namespace(), "default"), name: arg}
	if kind, name, ok := strings.Cut(arg, "/"); ok {
		if p.kind, ok = workloadKinds()[strings.ToLower(kind)]; !ok {
			return p, fmt.Errorf("%q is not a kind of workload that serin knows\n  remedy: name a pod, deployment/NAME, statefulset/NAME or daemonset/NAME", kind)
		}
		p.name = name
	}
	if i := strings.LastIndexByte(p.name, '.'); i >= 0 {
		p.name, p.namespace = p.name[:i], p.name[i+1:]
	}
	if p.name == "" || p.namespace == "" {
		return p, fmt.Errorf("%q names no pod: it is %s", arg, podUsage)
	}
	return p, nil
}

func workloadKinds() map[string]mesh.WorkloadKind {
	kinds := map[string]mesh.WorkloadKind{}
	for kind, names := range map[mesh.WorkloadKind]string{
		mesh.KindPod: "pod pods po", mesh.KindDeployment: "deployment deployments deploy deployment.apps",
		mesh.KindStatefulSet: "statefulset statefulsets sts statefulset.apps", mesh.KindDaemonSet: "daemonset daemonsets ds daemonset.apps",
	} {
		for n := range strings.FieldsSeq(names) {
			kinds[n] = kind
		}
	}
	return kinds
}

// find is the pod that was named: for a workload the first of its pods that is
// ready and stays, for those that are not may have no proxy to ask.
func (p podName) find(s mesh.Snapshot) (mesh.Pod, error) {
	if p.kind == "" || p.kind == mesh.KindPod {
		for _, pod := range s.Pods {
			if pod.Namespace == p.namespace && pod.Name == p.name {
				return pod, nil
			}
		}
		return mesh.Pod{}, fmt.Errorf("there is no pod %s with a proxy in namespace %s\n  remedy: serin proxy-status -n %s lists them", p.name, p.namespace, p.namespace)
	}
	ref := mesh.Ref{Kind: p.kind, Namespace: p.namespace, Name: p.name}
	pods := slices.DeleteFunc(s.PodsOf(ref), func(pod mesh.Pod) bool { return pod.Leaving || pod.Revision == "" })
	if len(pods) == 0 {
		return mesh.Pod{}, fmt.Errorf("%s has no pod with a proxy\n  remedy: serin proxy-status -n %s lists them", ref, p.namespace)
	}
	if i := slices.IndexFunc(pods, func(pod mesh.Pod) bool { return pod.Ready }); i >= 0 {
		return pods[i], nil
	}
	return pods[0], nil
}

// observe is the mesh as it is now.
func (a *app) observe(ctx context.Context) (mesh.Snapshot, error) {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return mesh.Snapshot{}, err
	}
	s, err := reader.Observe(ctx)
	if err != nil {
		return mesh.Snapshot{}, fmt.Errorf("looking at the mesh: %w", err)
	}
	return s, nil
}
