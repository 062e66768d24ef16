package istiod

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// Pods is, of each workload, the pod that the API server makes of its template
// today, as a dry run, and the one that it would make once the new revision
// injects. That one the new istiod makes, and the API server is asked whether it
// takes it: policies, quotas and Pod Security say now what they would say then.
func (a *Asker) Pods(ctx context.Context, q shadow.Question) (shadow.Report, error) {
	return a.pods(ctx, q, nil)
}

func (a *Asker) pods(ctx context.Context, q shadow.Question, seen *seen) (shadow.Report, error) {
	next, err := a.servers(ctx, q.New.Revision)
	if err != nil {
		return shadow.Report{}, err
	}
	defer next[0].close()
	old, err := a.servers(ctx, q.Old.Revision)
	if err != nil {
		return shadow.Report{}, err
	}
	defer old[0].close()
	asked := podsOf{a, q, next[0], old[0], seen}
	return compared(ctx, q, nil, func(ref mesh.Ref) shadow.Subject { return asked.subject(ctx, ref) })
}

// podsOf is one round of questions about pods.
type podsOf struct {
	*Asker
	q         shadow.Question
	next, old *server
	seen      *seen
}

// compared asks about each workload, a few at once, and compares what is answered.
func compared(ctx context.Context, q shadow.Question, hosts []string, ask func(mesh.Ref) shadow.Subject) (shadow.Report, error) {
	c := shadow.NewComparison(q.Sides, hosts)
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, ref := range q.Workloads {
		group.Go(func() error {
			c.Add(ask(ref))
			return nil // what fails is in the Subject
		})
	}
	_ = group.Wait() // no question returns an error to the group
	if err := ctx.Err(); err != nil {
		return shadow.Report{}, fmt.Errorf("asking about %s: %w", mesh.Count(len(q.Workloads), "workload"), err)
	}
	return c.Report(), nil
}

func (a podsOf) subject(ctx context.Context, ref mesh.Ref) shadow.Subject {
	s := shadow.Subject{Workload: ref.String()}
	now, err := a.anyPod(ctx, a.q, ref)
	if err != nil {
		s.Failed = err.Error()
		return s
	}
	template, err := a.template(ctx, ref, now)
	if err != nil {
		s.Failed = err.Error()
		return s
	}
	// Order: first whether it would be refused, for then today's pod says nothing.
	injected, err := a.injected(ctx, template)
	if err != nil {
		s.Refused = err.Error()
		return s
	}
	if _, ok := sidecar(injected); !ok {
		s.Refused = "revision " + a.q.New.Revision + " would give it no proxy"
		return s
	}
	after, err := a.dryRun(ctx, aside(injected))
	if err != nil {
		return refusal(s, err)
	}
	began := clock.Now()
	before, err := a.dryRun(ctx, template)
	if err != nil {
		s.Failed = "today's pod: " + err.Error()
		return s
	}
	a.seen.note(func(s *seen) {
		s.Admission = append(s.Admission, took(began))
		s.wishes = append(s.wishes, wishOf(a.q, ref, now, after))
	})
	s.Old, s.New = a.document(before), a.document(back(after, injected))
	return s
}

// injected is the pod that the new revision makes of a template. How long that took
// is held against the old one, which is asked for the same first.
func (a podsOf) injected(ctx context.Context, template corev1.Pod) (corev1.Pod, error) {
	if a.seen != nil {
		began := clock.Now()
		if _, err := a.old.inject(ctx, template); err == nil { // the old one is not in question
			a.seen.note(func(s *seen) { s.Injection.Old = append(s.Injection.Old, took(began)) })
		}
	}
	began := clock.Now()
	out, err := a.next.inject(ctx, template)
	a.seen.note(func(s *seen) { s.Injection.New = append(s.Injection.New, took(began)) })
	return out, err
}

// refusal tells a pod that is refused from a server that does not answer.
func refusal(s shadow.Subject, err error) shadow.Subject {
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err) {
		s.Refused = err.Error()
	} else {
		s.Failed = err.Error()
	}
	return s
}

// anyPod is one of the workload's, for the owner and the hash in its labels.
func (a *Asker) anyPod(ctx context.Context, q shadow.Question, ref mesh.Ref) (corev1.Pod, error) {
	for _, p := range q.Snapshot.PodsOf(ref) {
		if p.Leaving || p.Revision != q.Old.Revision {
			continue
		}
		pod, err := a.Client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
		if err != nil {
			return corev1.Pod{}, fmt.Errorf("reading pod %s of %s: %w", p.Name, ref, err)
		}
		return *pod, nil
	}
	return corev1.Pod{}, fmt.Errorf("it has no pod on revision %s", q.Old.Revision)
}

// dryRun is what the API server makes of a pod; none is made. The name is always
// the same, so that two answers differ in nothing that is by chance.
func (a *Asker) dryRun(ctx context.Context, p corev1.Pod) (corev1.Pod, error) {
	p.Name = strings.TrimSuffix(p.GenerateName, "-") + "-serin"
	made, err := a.Client.CoreV1().Pods(p.Namespace).Create(ctx, &p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "serin"})
	if err != nil {
		return corev1.Pod{}, err
	}
	return *made, nil
}

// aside keeps today's injector off a pod that is injected already: in a namespace
// that leads to the old revision nothing else does (R§1.2).
func aside(p corev1.Pod) corev1.Pod {
	p.Labels = maps.Clone(p.Labels)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Labels[mesh.InjectLabel] = "false"
	return p
}

// back undoes aside.
func back(made, injected corev1.Pod) corev1.Pod {
	if v, ok := injected.Labels[mesh.InjectLabel]; ok {
		made.Labels[mesh.InjectLabel] = v
	} else {
		delete(made.Labels, mesh.InjectLabel)
	}
	return made
}

// accessVolume is the volume of the account's token, whose name ends by chance.
const accessVolume = "kube-api-access"

// overrides is where the injector writes down what of the proxy's container was in
// the template: the template is the same, only when it is read differs.
const overrides = "proxy.istio.io/overrides"

// document is what of a pod is compared: what its controller and the injectors say.
func (a *Asker) document(p corev1.Pod) shadow.Config {
	for i, v := range p.Spec.Volumes {
		p.Spec.Volumes[i].Name = steady(v.Name)
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			a.settle(&list[i])
		}
	}
	annotations := maps.Clone(p.Annotations)
	delete(annotations, overrides)
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": p.Labels, "annotations": annotations}, "spec": p.Spec})
	if err != nil {
		return nil
	}
	var body any
	if json.Unmarshal(b, &body) != nil {
		return nil
	}
	return shadow.Config{shadow.Pods: {"pod": body}}
}

// steady is a volume's name without what is by chance.
func steady(name string) string {
	if strings.HasPrefix(name, accessVolume+"-") {
		return accessVolume
	}
	return name
}

// settle writes out what a container leaves to defaults.
func (a *Asker) settle(c *corev1.Container) {
	for i, m := range c.VolumeMounts {
		c.VolumeMounts[i].Name = steady(m.Name)
	}
	for i, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.ResourceFieldRef != nil && e.ValueFrom.ResourceFieldRef.Divisor.IsZero() {
			e.ValueFrom.ResourceFieldRef.Divisor = resource.MustParse("1")
		}
		if e.Name == "PROXY_CONFIG" {
			c.Env[i].Value = a.proxyConfig(e.Value)
		}
	}
}

// proxyConfig has the address of istiod written out: the default revision leaves it out.
func (a *Asker) proxyConfig(value string) string {
	conf := map[string]any{}
	if json.Unmarshal([]byte(value), &conf) != nil {
		return value
	}
	if _, ok := conf["discoveryAddress"]; !ok {
		conf["discoveryAddress"] = fmt.Sprintf("istiod.%s.svc:%d", a.Namespace, securePort)
	}
	b, err := json.Marshal(conf)
	if err != nil {
		return value
	}
	return string(b)
}
