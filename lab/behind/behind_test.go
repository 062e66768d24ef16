package behind_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/lab/behind"
)

func slice(name string, ready map[string]bool) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "gw"}}}
	for pod, ok := range ready {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Conditions: discoveryv1.EndpointConditions{Ready: &ok}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod},
		})
	}
	return s
}

// A dip between two looks is not missed, pods of two slices add up, a pod that is
// not ready does not count, and a watch that has ended says so.
func TestEveryInstantCounts(t *testing.T) {
	kube := fake.NewClientset(slice("one", map[string]bool{"a": true, "b": true}), slice("two", map[string]bool{"c": false}))
	events := watch.NewFake()
	kube.PrependWatchReactor("endpointslices", clienttesting.DefaultWatchReactor(events, nil))
	s, err := behind.Watch(t.Context(), kube, "edge", "gw")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Least(); n != 2 || err != nil || s.Met("c") {
		t.Errorf("at first: %d, %v, c met: %v", n, err, s.Met("c"))
	}
	events.Modify(slice("two", map[string]bool{"c": true}))
	events.Modify(slice("one", map[string]bool{"a": false, "b": false}))
	events.Modify(slice("one", map[string]bool{"a": true, "b": true}))
	events.Delete(slice("two", nil))
	events.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := s.Least(); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a watch that ended is not noticed")
		}
	}
	if n, _ := s.Least(); n != 1 || !s.Met("c") {
		t.Errorf("at least %d, want the one that was left for an instant; c met: %v", n, s.Met("c"))
	}
	s.Reset()
	if n, _ := s.Least(); n != 2 {
		t.Errorf("counted anew: %d, want 2", n)
	}
}
