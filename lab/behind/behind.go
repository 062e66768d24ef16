// Package behind records from the API, for as long as a test lasts, how many pods
// were ready behind a Service at every instant, and which.
package behind

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// Service is what a watch of a Service's EndpointSlices has seen.
type Service struct {
	name string

	mu     sync.Mutex
	slices map[string][]string // of each EndpointSlice: its ready pods
	fewest int
	now    int
	seen   map[string]bool
	ended  error
}

// Watch begins to record; it ends with ctx.
func Watch(ctx context.Context, kube kubernetes.Interface, namespace, service string) (*Service, error) {
	s := &Service{name: namespace + "/" + service, slices: map[string][]string{}, seen: map[string]bool{}, fewest: math.MaxInt}
	api := kube.DiscoveryV1().EndpointSlices(namespace)
	opts := metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service}
	list, err := api.List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("listing what is behind %s: %w", s.name, err)
	}
	for i := range list.Items {
		s.take(list.Items[i].Name, readyOf(&list.Items[i]))
	}
	s.Reset()
	opts.ResourceVersion = list.ResourceVersion
	events, err := api.Watch(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("watching what is behind %s: %w", s.name, err)
	}
	go s.follow(ctx, events)
	return s, nil
}

func (s *Service) follow(ctx context.Context, events watch.Interface) {
	defer events.Stop()
	for e := range events.ResultChan() {
		if slice, ok := e.Object.(*discoveryv1.EndpointSlice); ok {
			ready := readyOf(slice)
			if e.Type == watch.Deleted {
				ready = nil
			}
			s.take(slice.Name, ready)
		}
	}
	if ctx.Err() == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = errors.New("the watch of what is behind " + s.name + " ended early: nobody has counted since")
	}
}

// readyOf are the pods of a slice that are ready.
func readyOf(slice *discoveryv1.EndpointSlice) []string {
	var ready []string
	for _, e := range slice.Endpoints {
		if e.Conditions.Ready != nil && *e.Conditions.Ready && e.TargetRef != nil {
			ready = append(ready, e.TargetRef.Name)
		}
	}
	return ready
}

// take notes which pods of a slice are ready now.
func (s *Service) take(slice string, ready []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range ready {
		s.seen[name] = true
	}
	s.slices[slice] = ready
	s.now = 0
	for _, r := range s.slices {
		s.now += len(r)
	}
	s.fewest = min(s.fewest, s.now)
}

// Reset begins to count anew.
func (s *Service) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fewest = s.now
}

// Least is the fewest pods that were ready at any instant since the last Reset; an
// error where that is not known.
func (s *Service) Least() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fewest, s.ended
}

// Met says whether a pod whose name begins so was ever among them.
func (s *Service) Met(prefix string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.seen {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
