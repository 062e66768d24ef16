package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/room"
	"github.com/serin-mesh/serin/internal/skew"
)

// Survey observes the mesh and looks at what only checks need. It writes nothing:
// an access review is a question. What the user may not look at is noted as
// unseen and fails nothing.
func (r *Reader) Survey(ctx context.Context) (mesh.Snapshot, error) {
	s, raw, err := r.observe(ctx)
	if err != nil {
		return s, err
	}
	v := &survey{facts: raw, kinds: map[string]bool{}}
	v.Services = slices.Sorted(slices.Values(raw.istioServices))
	v.Annotations = raw.annotated.with(raw.spaces, raw.deployed, raw.alphaPods())
	v.Installers = raw.operators
	v.PlainProxies = raw.plainProxies()
	v.TwoBudgets = raw.twoBudgets
	v.Istiods = raw.istiodFacts()
	g, ctx2 := errgroup.WithContext(ctx)
	for what, look := range map[string]func(context.Context, *survey) error{
		"permissions": r.denied, "nodes": r.nodes, "Gateway API definitions": r.gatewayAPI, "mesh configuration": r.meshConfigs,
		"custom resources": r.kinds, "envoyfilters.networking.istio.io": r.envoyFilters, "installers": r.installers, "selectors of pods": r.selectors,
	} {
		g.Go(func() error { return v.tolerate(what, look(ctx2, v)) })
	}
	if err := g.Wait(); err != nil {
		return s, fmt.Errorf("surveying the cluster: %w", err)
	}
	s.Survey = v.sorted()
	return s, nil
}

// Loose observes the mesh and looks at what else selects pods, or takes them: all
// that decides whether pods may be detached, and no more.
func (r *Reader) Loose(ctx context.Context) (mesh.Snapshot, error) {
	s, raw, err := r.observe(ctx)
	if err != nil {
		return s, err
	}
	v := &survey{facts: raw}
	v.TwoBudgets = raw.twoBudgets
	if err := r.selectors(ctx, v); err != nil {
		return s, err
	}
	s.Survey = v.sorted()
	return s, nil
}

// survey is a Survey while several look at once.
type survey struct {
	mesh.Survey
	*facts
	mu    sync.Mutex
	kinds map[string]bool
}

// note changes the survey while nobody else does.
func (v *survey) note(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

// notPermitted is why something could not be looked at, most often.
const notPermitted = "not permitted"

// tolerate notes as unseen what is not permitted and what somebody else's
// resources fail with (a conversion webhook that is gone must stop no upgrade),
// and returns every other error.
func (v *survey) tolerate(what string, err error) error {
	_, group, custom := strings.Cut(what, ".")
	foreign := custom && !ofIstio("."+group) && !strings.Contains(what, " ")
	why := ""
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		why = notPermitted
	case foreign && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		why, _, _ = strings.Cut(err.Error(), "\n")
	default:
		return err
	}
	v.note(func() { v.Unseen = append(v.Unseen, what+": "+why) })
	return nil
}

func (v *survey) sorted() *mesh.Survey {
	s := v.Survey
	s.Kinds = slices.Sorted(maps.Keys(v.kinds))
	slices.Sort(s.Unseen)
	s.Unseen = slices.Compact(s.Unseen)
	slices.Sort(s.Denied)
	slices.SortFunc(s.GatewayAPI, func(a, b mesh.CRD) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Installers, byIdentity)
	slices.SortFunc(s.EnvoyFilters, func(a, b mesh.EnvoyFilter) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	slices.SortFunc(s.TwoBudgets, func(a, b mesh.Ref) int { return strings.Compare(a.String(), b.String()) })
	for k := range s.Texts {
		slices.Sort(s.Texts[k])
	}
	return &s
}

// needs are what an installation creates: istioctl asks for the same.
func (r *Reader) needs() []authorizationv1.ResourceAttributes {
	const rbac, admission = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
	return []authorizationv1.ResourceAttributes{
		{Resource: "namespaces"},
		{Group: rbac, Resource: "clusterroles"},
		{Group: rbac, Resource: "clusterrolebindings"},
		{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Group: admission, Resource: "mutatingwebhookconfigurations"},
		{Group: admission, Resource: "validatingwebhookconfigurations"},
		{Namespace: r.namespace, Group: rbac, Resource: "roles"},
		{Namespace: r.namespace, Resource: "serviceaccounts"},
		{Namespace: r.namespace, Resource: "services"},
		{Namespace: r.namespace, Group: "apps", Resource: "deployments"},
		{Namespace: r.namespace, Resource: "configmaps"},
	}
}

// denied asks the API server what the user may not create.
func (r *Reader) denied(ctx context.Context, v *survey) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range r.needs() {
		g.Go(func() error {
			a.Verb, a.Version = "create", "v1"
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}
			answer, err := r.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return asking("create", "selfsubjectaccessreviews.authorization.k8s.io", err)
			}
			if answer.Status.Allowed {
				return nil
			}
			what := strings.TrimSuffix(a.Resource+"."+a.Group, ".")
			if a.Namespace != "" {
				what += " in namespace " + a.Namespace
			}
			v.note(func() { v.Denied = append(v.Denied, what) })
			return nil
		})
	}
	return g.Wait()
}

// meshConfigs reads the ConfigMap of each control plane's mesh configuration.
func (r *Reader) meshConfigs(ctx context.Context, v *survey) error {
	configs := map[string]map[string]any{}
	for _, c := range v.controlPlanes {
		name := "istio"
		if c.Revision != mesh.DefaultRevision {
			name += "-" + c.Revision
		}
		cm, err := r.Kube.CoreV1().ConfigMaps(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue // a check says that it cannot tell
		}
		if err != nil {
			return asking("get", "configmaps "+c.Namespace+"/"+name, err)
		}
		config := map[string]any{}
		if err := yaml.Unmarshal([]byte(cm.Data["mesh"]), &config); err != nil {
			v.note(func() { v.Unseen = append(v.Unseen, "configmap "+c.Namespace+"/"+name+": its mesh is no YAML") })
			continue
		}
		config = mesh.Masked(config)
		if config == nil {
			config = map[string]any{}
		}
		configs[c.Revision] = config
	}
	v.note(func() { v.MeshConfigs = configs })
	return nil
}

// emptiest is how many of the emptiest nodes are kept.
const emptiest = 8

// nodes adds up what is allocatable and not requested, and finds the oldest kubelet.
func (r *Reader) nodes(ctx context.Context, v *survey) error {
	out := mesh.Nodes{}
	err := each(ctx, "nodes", metav1.ListOptions{}, r.Kube.CoreV1().Nodes().List, func(l *corev1.NodeList) {
		for i := range l.Items {
			n := &l.Items[i]
			if k := n.Status.NodeInfo.KubeletVersion; out.OldestKubelet == "" || skew.SameOrOlder(k, out.OldestKubelet) {
				out.OldestKubelet = k
			}
			if n.Spec.Unschedulable || tainted(n) {
				continue
			}
			out.Count++
			out.Free = append(out.Free, room.Of(n.Status.Allocatable).Less(v.requested[n.Name]))
		}
		slices.SortFunc(out.Free, func(a, b mesh.Room) int { return int(b.Memory - a.Memory) })
		out.Free = slices.Clone(out.Free[:min(emptiest, len(out.Free))])
	})
	if err != nil {
		return err
	}
	v.note(func() { v.Nodes = &out })
	return nil
}

// tainted says whether pods without a toleration, as istiod's, are kept off.
func tainted(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule })
}
