package istiod

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// Gateway is what the proxies of a Gateway that istiod deploys are given now, and what
// each istiod of the revision that has claimed it would give one whose pod comes from
// the template: one report an istiod, for each hears of a claim by itself. The pod is
// as istiod made it: nothing injects it.
func (a *Asker) Gateway(ctx context.Context, q shadow.Question, t corev1.PodTemplateSpec) ([]shadow.Report, error) {
	s, err := a.begin(ctx, q)
	if err != nil {
		return nil, err
	}
	defer s.end()
	all, err := a.servers(ctx, q.New.Revision)
	if err != nil {
		return nil, err
	}
	var out []shadow.Report
	for _, server := range all {
		if !ready(server.pod) { // it has no stream to give
			continue
		}
		r, err := s.by(ctx, server, t)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no istiod of revision %s is ready", q.New.Revision)
	}
	return out, nil
}

// by is what one istiod of the new revision would give.
func (s *shadows) by(ctx context.Context, next *server, t corev1.PodTemplateSpec) (shadow.Report, error) {
	one := &shadows{Asker: s.Asker, q: s.q, new: next, old: s.old, limit: s.limit, ways: map[string]*grpc.ClientConn{}}
	defer next.close()
	defer one.hangUp()
	return compared(ctx, s.q, s.q.Hosts(), func(ref mesh.Ref) shadow.Subject { return one.gateway(ctx, ref, t) })
}

func (s *shadows) gateway(ctx context.Context, ref mesh.Ref, t corev1.PodTemplateSpec) shadow.Subject {
	out := shadow.Subject{Workload: ref.String()}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	older, newer, err := s.between(ctx, ref, func(now corev1.Pod) (corev1.Pod, error) { return inPlaceOf(now, t), nil })
	switch {
	case err != nil:
		out.Failed = err.Error()
	case len(older[shadow.Listeners]) == 0:
		out.Failed = fmt.Sprintf("revision %s gives its proxies no listener: there is nothing to compare with", s.q.Old.Revision)
	case s.notYetIts(ref, older, newer.config):
		out.Failed = fmt.Sprintf("istiod %s of revision %s gives its proxies no listener", s.new.pod.Name, s.q.New.Revision)
	default:
		out.Old, out.New, out.Rejects = older, newer.config, newer.rejects
	}
	return out
}

// inPlaceOf is the pod that the template makes in the place of another.
func inPlaceOf(now corev1.Pod, t corev1.PodTemplateSpec) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
	pod.Namespace, pod.GenerateName, pod.OwnerReferences = now.Namespace, now.GenerateName, now.OwnerReferences
	return pod
}
