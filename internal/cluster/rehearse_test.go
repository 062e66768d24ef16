package cluster_test

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/rehearse"
)

// rehearsing is a cluster whose own kinds the dynamic client serves.
func rehearsing(t *testing.T, typed []runtime.Object, custom ...runtime.Object) (*world, *cluster.Rehearsal, *dynamicfake.FakeDynamicClient) {
	t.Helper()
	w := newWorld(t, typed...)
	lists := map[schema.GroupVersionResource]string{{Version: "v1", Resource: "secrets"}: "SecretList"}
	for _, gvr := range cluster.RehearsalKinds() {
		lists[gvr] = gvr.Resource + "List"
	}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, custom...)
	w.Dynamic = client
	return w, cluster.RehearsalOf(cluster.ReaderOf(w.Clients, istioSystem)), client
}

func secret(name string) *corev1.Secret {
	return &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: ofShop(name)}
}

func untyped(t *testing.T, o runtime.Object) *unstructured.Unstructured {
	t.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: m}
}

func ofShop(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name} }

// A Secret that nothing refers to is never read, and a kind that the user may not
// list is said, not fatal.
func TestSource_readsNoSecretThatNobodyNeeds(t *testing.T) {
	d := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: ofShop("web"), Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "a", EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "used"}}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "gone"}}},
		},
	}}}}}}
	_, r, client := rehearsing(t, nil, untyped(t, d), untyped(t, secret("used")), untyped(t, secret("unused")))
	client.PrependReactor("list", "rolebindings", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "rolebindings"}, "", errors.New("no"))
	})
	s, err := r.Source(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range s.Objects {
		names = append(names, o.Kind()+" "+o.Name())
	}
	if got := strings.Join(names, ", "); got != "Deployment web, Secret used" {
		t.Errorf("got %s", got)
	}
	if len(s.Unseen) != 1 || !strings.Contains(s.Unseen[0], "rolebindings.rbac.authorization.k8s.io") {
		t.Errorf("unseen %q", s.Unseen)
	}
	for _, a := range client.Actions() {
		if a.GetResource().Resource == "secrets" && a.GetVerb() != "get" {
			t.Errorf("secrets are asked for by %s", a.GetVerb())
		}
	}
}

// The mark is on the namespace from its first instant, and a namespace that is
// there is never filled.
func TestMake_marksTheNamespaceFirst(t *testing.T) {
	w, r, client := rehearsing(t, nil)
	account := rehearse.Object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"name": "default", "namespace": "copy"}, "imagePullSecrets": []any{map[string]any{"name": "pull"}}}
	p := rehearse.Plan{Request: rehearse.Request{Namespace: "shop", Copy: "copy"}, Labels: map[string]string{rehearse.Label: "shop"}, Objects: []rehearse.Object{account}}
	if err := r.Make(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	ns, err := w.kube.CoreV1().Namespaces().Get(t.Context(), "copy", metav1.GetOptions{})
	if err != nil || ns.Labels[rehearse.Label] != "shop" {
		t.Fatalf("%v %v", ns, err)
	}
	made := len(client.Actions())
	if err := r.Make(t.Context(), p); !apierrors.IsAlreadyExists(err) {
		t.Errorf("got %v", err)
	}
	if len(client.Actions()) != made {
		t.Error("something was made in a namespace that was there")
	}
	p.Copy, p.Objects = "other", []rehearse.Object{{"apiVersion": "x.example.com/v1", "kind": "Unheard", "metadata": map[string]any{"name": "a"}}}
	if err := r.Make(t.Context(), p); err == nil || !strings.Contains(err.Error(), "copying Unheard a") {
		t.Errorf("got %v", err)
	}
}

// What does not carry the mark of that very rehearsal is never removed.
func TestRemove_refusesWhatIsNotOurs(t *testing.T) {
	ours := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "copy", UID: "1", Labels: map[string]string{rehearse.Label: "shop"}}}
	w, r, _ := rehearsing(t, []runtime.Object{ours, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "plain"}}})
	for _, of := range [][2]string{{"shop", "plain"}, {"other", "copy"}} {
		if err := r.Remove(t.Context(), of[0], of[1]); err == nil || !strings.Contains(err.Error(), "is no rehearsal of "+of[0]) {
			t.Errorf("%v: %v", of, err)
		}
	}
	for _, a := range w.kube.Actions() {
		if a.GetVerb() == "delete" {
			t.Errorf("%v", a)
		}
	}
	if err := r.Remove(t.Context(), "shop", "copy"); err != nil {
		t.Error(err)
	}
	last := w.kube.Actions()
	deleted := false
	for _, a := range last {
		if d, ok := a.(clienttesting.DeleteActionImpl); ok {
			deleted = d.Name == "copy" && d.DeleteOptions.Preconditions != nil && *d.DeleteOptions.Preconditions.UID == "1"
		}
	}
	if !deleted {
		t.Errorf("it was not removed by its UID: %v", last)
	}
	if err := r.Remove(t.Context(), "shop", "copy"); err != nil {
		t.Errorf("what is gone: %v", err)
	}
}

func TestStanding_saysWhatKeepsAPod(t *testing.T) {
	deployment := func(name string, ready int32, c ...appsv1.DeploymentCondition) *appsv1.Deployment {
		return &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "copy", Name: name},
			Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}},
			Status:     appsv1.DeploymentStatus{ReadyReplicas: ready, Conditions: c},
		}
	}
	pod := func(name string, s corev1.PodStatus) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "copy", Name: name + "-0", Labels: map[string]string{"app": name}}, Status: s}
	}
	waiting := func(reason string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "a", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "why"}}}}}
	}
	_, r, _ := rehearsing(t, []runtime.Object{
		deployment("fine", 1), deployment("denied", 0, appsv1.DeploymentCondition{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "denied the request"}),
		deployment("image", 0), pod("image", waiting("ImagePullBackOff")),
		deployment("config", 0), pod("config", waiting("CreateContainerConfigError")),
		deployment("starting", 0), pod("starting", waiting("PodInitializing")),
		deployment("large", 0), pod("large", corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "no cpu"}}}),
	})
	got, err := r.Standing(t.Context(), rehearse.Plan{Request: rehearse.Request{Copy: "copy"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"fine": "", "denied": "no pod can be made: denied the request", "image": "container a of pod image-0: ImagePullBackOff why",
		"config": "container a of pod config-0: CreateContainerConfigError why", "starting": "", "large": "pod large-0 fits no node: no cpu",
	}
	for _, s := range got {
		if s.Trouble != want[s.Workload] || s.Ready != (s.Workload == "fine") {
			t.Errorf("%+v", s)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d", len(got))
	}
}
