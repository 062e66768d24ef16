package evidence

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// repeats is how many dry-run pods are made for each question: API servers learn
// of a moved label or webhook one after the other, so two must agree (S-8).
const repeats = 2

// proxyContainer is the container, or init container, that injection adds (R§1.5).
const proxyContainer = "istio-proxy"

// candidate is a dry-run pod to make.
type candidate struct {
	namespace string
	labels    map[string]string
}

// dryRunPart asks the API server who would inject a pod, without making one.
// Injectors declare that they have no side effects, so a dry run reaches them (R§1.1).
func (g *Gatherer) dryRunPart(ctx context.Context, q gate.Question, s mesh.Snapshot, gates []gate.Name) part {
	var wanted []candidate
	missing := map[gate.Name]string{}
	if slices.Contains(gates, gate.Injection) {
		for _, ns := range q.Namespaces {
			wanted = append(wanted, candidates(ns, q, s)...)
		}
	}
	if slices.Contains(gates, gate.ControlPlane) {
		if ns, ok := neutral(s, g.namespace); ok {
			wanted = append(wanted, candidate{ns, map[string]string{mesh.RevLabel: q.Revision, mesh.InjectLabel: "true"}})
		} else {
			missing[gate.ControlPlane] = "every namespace carries an injection label, so no dry-run pod can choose revision " + q.Revision + " by itself"
		}
	}
	runs := make([][repeats]gate.DryRun, len(wanted))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, c := range wanted {
		group.Go(func() error {
			// One after the other: two at once are likelier to meet the same cache.
			for n := range repeats {
				runs[i][n] = g.dryRun(ctx, c)
			}
			return nil // what fails is in the DryRun
		})
	}
	_ = group.Wait() // no dry run returns an error to the group
	var all []gate.DryRun
	for _, r := range runs {
		all = append(all, r[:]...)
	}
	return part{dryRuns: all, missing: missing}
}

// candidates returns the pods that show who injects a namespace. Where the
// namespace has a label that decides, an unlabelled pod shows it. Where it has
// none, pods opt in themselves (R§1.7): then one pod for each way the workloads
// in question do, labelled as theirs are; without any, an unlabelled one. Where those
// that were in question are gone, none: a plain pod is not injected, and need not be.
func candidates(ns string, q gate.Question, s mesh.Snapshot) []candidate {
	if q.Deserted(ns, s) {
		return nil
	}
	if space, _ := s.Namespace(ns); space.Labelled() {
		return []candidate{{namespace: ns}}
	}
	type choice struct{ rev, inject string }
	var list []candidate
	seen := map[choice]bool{}
	for _, w := range s.Workloads {
		c := choice{w.TemplateLabels[mesh.RevLabel], w.TemplateLabels[mesh.InjectLabel]}
		if w.Namespace != ns || seen[c] || !slices.Contains(q.Workloads, w.Ref) {
			continue
		}
		seen[c] = true
		list = append(list, candidate{ns, w.TemplateLabels})
	}
	if len(list) == 0 {
		return []candidate{{namespace: ns}}
	}
	return list
}

// neutral returns a namespace where a pod's own label chooses its injector:
// Istio's, or another where that one is labelled, as some installations label it
// istio-injection=disabled.
func neutral(s mesh.Snapshot, preferred string) (string, bool) {
	if ns, _ := s.Namespace(preferred); !ns.Labelled() {
		return preferred, true
	}
	for _, ns := range s.Namespaces {
		switch ns.Name {
		case "kube-system", "kube-public", "kube-node-lease", "local-path-storage":
			continue // istiod injects nothing there, whatever the labels (R§1.3)
		}
		if !ns.Labelled() {
			return ns.Name, true
		}
	}
	return "", false
}

func (g *Gatherer) dryRun(ctx context.Context, c candidate) gate.DryRun {
	run := gate.DryRun{Namespace: c.namespace}
	pod, err := g.client.CoreV1().Pods(c.namespace).Create(ctx, dryRunPod(c), metav1.CreateOptions{
		DryRun:       []string{metav1.DryRunAll},
		FieldManager: "serin",
	})
	if err != nil {
		run.Error = err.Error()
		return run
	}
	run.Revision = pod.Annotations[mesh.RevLabel]
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, container := range list {
			if container.Name == proxyContainer {
				run.Proxies++
			}
		}
	}
	return run
}

// dryRunPod is a pod that passes Pod Security "restricted" and a quota that wants
// requests and limits. Its image is never pulled.
func dryRunPod(c candidate) *corev1.Pod {
	no, yes, nobody := false, true, int64(65532)
	size := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("10m"),
		corev1.ResourceMemory: resource.MustParse("16Mi"),
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "serin-dry-run-", Namespace: c.namespace, Labels: c.labels},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   &yes,
				RunAsUser:      &nobody,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name:      "dry-run",
				Image:     "registry.k8s.io/pause:3.10",
				Resources: corev1.ResourceRequirements{Requests: size, Limits: size},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no,
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}
