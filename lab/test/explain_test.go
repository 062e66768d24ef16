package test_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// explained holds what serin explains of a workload's next pod against what the
// API server and the injectors do with that pod, over the truth table of R§1.7 and
// what istiod itself refuses (R§1.3).
func (p parity) explained(t *testing.T) {
	t.Helper()
	namespaces := map[string]map[string]string{
		"none": {}, "enabled": {mesh.InjectionLabel: "enabled"}, "disabled": {mesh.InjectionLabel: "disabled"},
		"canary": {mesh.RevLabel: "canary"}, "prod": {mesh.RevLabel: "prod"}, "default": {mesh.RevLabel: "default"},
		"both": {mesh.InjectionLabel: "enabled", mesh.RevLabel: "canary"}, "off": {mesh.InjectionLabel: "disabled", mesh.RevLabel: "canary"},
		"empty": {mesh.RevLabel: ""}, "nope": {mesh.RevLabel: "nope"},
	}
	pods := map[string]corev1.PodTemplateSpec{
		"plain": {}, "in": {ObjectMeta: labels(mesh.InjectLabel, "true")}, "out": {ObjectMeta: labels(mesh.InjectLabel, "false")},
		"canary": {ObjectMeta: labels(mesh.RevLabel, "canary")}, "prod": {ObjectMeta: labels(mesh.RevLabel, "prod")},
		"nope": {ObjectMeta: labels(mesh.RevLabel, "nope", mesh.InjectLabel, "true")},
		"host": {Spec: corev1.PodSpec{HostNetwork: true}}, "noted": {ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{mesh.InjectLabel: "false"}}},
	}
	var wg sync.WaitGroup
	slots, outcomes := make(chan struct{}, 6), sync.Map{}
	for ns, l := range namespaces {
		ns = "explain-" + ns
		if _, err := p.w.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: l}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for name, template := range pods {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				outcomes.Store(p.explainedPod(t, ns, name, template), true)
			})
		}
	}
	wg.Wait()
	for _, want := range []string{"none", "canary"} { // istioctl install has led the default there, too
		if _, ok := outcomes.Load(want); !ok {
			t.Errorf("no pod came out as %s: the test proves nothing", want)
		}
	}
}

func labels(keysAndValues ...string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Labels: map[string]string{}}
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		m.Labels[keysAndValues[i]] = keysAndValues[i+1]
	}
	return m
}

// explainedPod makes a Deployment without replicas, asks serin about it and the API
// server for a dry run of its pod, and returns who takes it.
func (p parity) explainedPod(t *testing.T, ns, name string, template corev1.PodTemplateSpec) string {
	t.Helper()
	if template.Labels == nil {
		template.Labels = map[string]string{}
	}
	of := map[string]string{"app": name}
	pod := template.DeepCopy()
	pod.Labels["app"] = name
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "app:1"}}
	none := int32(0)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       appsv1.DeploymentSpec{Replicas: &none, Selector: &metav1.LabelSelector{MatchLabels: of}, Template: *pod},
	}
	if _, err := p.w.kube.AppsV1().Deployments(ns).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Error(err)
		return ""
	}
	made, err := p.w.kube.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec,
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Error(err)
		return ""
	}
	is := "none"
	if rev := made.Annotations[mesh.RevLabel]; rev != "" {
		is = rev
	}
	var a struct {
		Next      string   `json:"next"`
		Because   []string `json:"because"`
		Injectors []struct {
			Name    string `json:"name"`
			Matches bool   `json:"matches"`
		} `json:"injectors"`
	}
	unmarshal(t, p.serin(t, "explain", fmt.Sprintf("deployment/%s.%s", name, ns), "-o", "json"), &a)
	if a.Next != is || len(a.Because) == 0 || len(a.Injectors) == 0 {
		t.Errorf("%s in %s: the API server makes a pod of %s, serin says %s because %s", name, ns, is, a.Next, strings.Join(a.Because, "; "))
	}
	return is
}
