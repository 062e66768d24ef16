package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
)

// selectors looks at whatever selects pods by their labels, or takes pods that are
// nobody's (S-37, S-41). What may not be looked at is noted: it may be anything.
func (r *Reader) selectors(ctx context.Context, v *survey) error {
	all := &selectorSurvey{}
	v.nameHash(all)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for what, read := range map[string]func(context.Context, *selectorSurvey) error{
		"networkpolicies.networking.k8s.io": r.networkPolicies, "replicationcontrollers": r.replicationControllers,
		"replicasets.apps": func(ctx context.Context, all *selectorSurvey) error { return r.looseSets(ctx, v, all) }, "daemonsets.apps": r.daemons,
		verticalScalers: func(ctx context.Context, all *selectorSurvey) error { return r.verticalScalers(ctx, v, all) },
	} {
		g.Go(func() error { return all.tolerate(what, read(ctx, all)) })
	}
	for _, name := range v.definitions {
		if ofIstio(name) {
			g.Go(func() error { return all.tolerate(name, r.namesHash(ctx, v, name, all)) })
		}
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("looking at what selects pods: %w", err)
	}
	out := all.sorted()
	v.note(func() { v.Selectors = out })
	return nil
}

// selectorSurvey is mesh.Selectors while several look at once.
type selectorSurvey struct {
	mesh.Selectors
	mu sync.Mutex
}

func (s *selectorSurvey) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// tolerate notes what is not permitted.
func (s *selectorSurvey) tolerate(what string, err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	s.note(func() { s.Unseen = append(s.Unseen, what+": "+notPermitted) })
	return nil
}

func (s *selectorSurvey) sorted() *mesh.Selectors {
	slices.Sort(s.Unseen)
	slices.SortFunc(s.Hash, byIdentity)
	slices.SortFunc(s.Adopters, func(a, b mesh.Adopter) int { return byIdentity(a.Object, b.Object) })
	slices.SortFunc(s.Sized, func(a, b mesh.Ref) int { return strings.Compare(a.String(), b.String()) })
	return &s.Selectors
}

// nameHash are those of what was observed anyway.
func (v *survey) nameHash(all *selectorSurvey) {
	for _, services := range v.services {
		for _, s := range services {
			if _, named := s.selector[mesh.HashLabel]; named {
				all.Hash = append(all.Hash, mesh.Object{Kind: "Service", Namespace: s.namespace, Name: s.name})
			}
		}
	}
	for _, b := range v.budgets {
		if namesLabel(b.Spec.Selector) {
			all.Hash = append(all.Hash, mesh.Object{Kind: "PodDisruptionBudget", Namespace: b.Namespace, Name: b.Name})
		}
	}
}

// names says whether a text of JSON names the label, as a key or as a value.
func names(text []byte) bool { return bytes.Contains(text, []byte(`"`+mesh.HashLabel+`"`)) }

func namesLabel(spec any) bool {
	text, err := json.Marshal(spec)
	return err == nil && names(text)
}

// namesHash notes the objects of one of Istio's kinds that name the label:
// policies and routes by workload, subsets, sources.
func (r *Reader) namesHash(ctx context.Context, v *survey, kind string, all *selectorSurvey) error {
	gvr, err := r.resource(ctx, v, kind)
	if err != nil || gvr.Version == "" {
		return err
	}
	return each(ctx, kind, metav1.ListOptions{}, r.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
		for _, o := range l.Items {
			if namesLabel(o.Object["spec"]) {
				all.note(func() {
					all.Hash = append(all.Hash, mesh.Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()})
				})
			}
		}
	})
}

func (r *Reader) networkPolicies(ctx context.Context, all *selectorSurvey) error {
	return each(ctx, "networkpolicies.networking.k8s.io", metav1.ListOptions{}, r.Kube.NetworkingV1().NetworkPolicies("").List, func(l *networkingv1.NetworkPolicyList) {
		for _, p := range l.Items {
			if namesLabel(p.Spec) {
				all.note(func() {
					all.Hash = append(all.Hash, mesh.Object{Kind: "NetworkPolicy", Namespace: p.Namespace, Name: p.Name})
				})
			}
		}
	})
}

func (r *Reader) replicationControllers(ctx context.Context, all *selectorSurvey) error {
	return each(ctx, "replicationcontrollers", metav1.ListOptions{}, r.Kube.CoreV1().ReplicationControllers("").List, func(l *corev1.ReplicationControllerList) {
		for _, c := range l.Items {
			all.adopter("ReplicationController", &c, mesh.Selector{MatchLabels: c.Spec.Selector})
		}
	})
}

// looseSets are ReplicaSets that are no Deployment's: a Deployment's own asks for
// the label, and takes no pod without it.
func (r *Reader) looseSets(ctx context.Context, v *survey, all *selectorSurvey) error {
	for _, name := range v.looseSets {
		set, err := r.Kube.AppsV1().ReplicaSets(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return asking("get", "replicasets.apps "+name.Name, err)
		case !namesLabel(set.Spec.Selector):
			all.adopter("ReplicaSet", set, selectorOf(set.Spec.Selector))
		}
	}
	return nil
}

func (r *Reader) daemons(ctx context.Context, all *selectorSurvey) error {
	return each(ctx, "daemonsets.apps", metav1.ListOptions{}, r.Kube.AppsV1().DaemonSets("").List, func(l *appsv1.DaemonSetList) {
		for i := range l.Items {
			all.adopter("DaemonSet", &l.Items[i], selectorOf(l.Items[i].Spec.Selector))
		}
	})
}

func (s *selectorSurvey) adopter(kind string, o metav1.Object, by mesh.Selector) {
	s.note(func() {
		s.Adopters = append(s.Adopters, mesh.Adopter{Object: mesh.Object{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}, Selector: by})
	})
}

const verticalScalers = "verticalpodautoscalers.autoscaling.k8s.io"

func (r *Reader) verticalScalers(ctx context.Context, v *survey, all *selectorSurvey) error {
	if !slices.Contains(v.definitions, verticalScalers) {
		return nil
	}
	gvr := schema.GroupVersionResource{Group: "autoscaling.k8s.io", Version: "v1", Resource: "verticalpodautoscalers"}
	return each(ctx, verticalScalers, metav1.ListOptions{}, r.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
		for _, o := range l.Items {
			target, _, _ := unstructured.NestedStringMap(o.Object, "spec", "targetRef")
			all.note(func() {
				all.Sized = append(all.Sized, mesh.Ref{Kind: mesh.WorkloadKind(target["kind"]), Namespace: o.GetNamespace(), Name: target["name"]})
			})
		}
	})
}
