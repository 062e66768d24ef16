package node

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// runnable is what runs in a container.
type runnable interface {
	Run(ctx context.Context) error // until it ends by itself, by Terminate, or ctx is done
	Terminate()                    // SIGTERM
	Ready() bool                   // its probes' answer
	Accept(port int, c net.Conn) bool
}

// slot is a container of a pod: what is to run, what runs, and how often it has.
type slot struct {
	spec    corev1.Container
	sidecar bool
	log     *Log

	mu       sync.Mutex
	now      runnable
	since    metav1.Time
	last     *corev1.ContainerStateTerminated
	waiting  *corev1.ContainerStateWaiting
	restarts int32
	starts   int32
	termed   bool
	notYet   time.Time // a fault: it is not started again before
}

func newSlot(c corev1.Container, sidecar bool) *slot {
	return &slot{
		spec: c, sidecar: sidecar, log: NewLog(),
		waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"},
	}
}

func (s *slot) get() runnable {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *slot) running() bool { return s.get() != nil }

func (s *slot) isReady() bool {
	r := s.get()
	return r != nil && r.Ready()
}

func (s *slot) start(r runnable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.since, s.waiting = r, metav1.Now(), nil
	s.restarts = s.starts
	s.starts++
}

// stayAway keeps the container from being started again before a time.
func (s *slot) stayAway(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notYet = until
}

func (s *slot) away() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.notYet)
}

func (s *slot) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: s.since, FinishedAt: metav1.Now()}
	if err != nil {
		t.Reason, t.ExitCode, t.Message = "Error", 1, err.Error()
	}
	s.now, s.last = nil, t
}

func (s *slot) wait(reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
}

// terminate sends SIGTERM, once.
func (s *slot) terminate() {
	s.mu.Lock()
	r, again := s.now, s.termed
	if r != nil {
		s.termed = true
	}
	s.mu.Unlock()
	if r != nil && !again {
		r.Terminate()
	}
}

// key changes when status would.
func (s *slot) key() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := ""
	if s.waiting != nil {
		w = s.waiting.Reason
	}
	return fmt.Sprint(s.now != nil, s.now != nil && s.now.Ready(), s.restarts, s.last != nil, w, ";")
}

// status is the container's part of the pod's status.
func (s *slot) status(ready bool) corev1.ContainerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	started := s.now != nil && (!s.sidecar || ready || s.restarts > 0)
	st := corev1.ContainerStatus{
		Name: s.spec.Name, Image: s.spec.Image, ImageID: s.spec.Image, RestartCount: s.restarts, Ready: ready, Started: &started,
		ContainerID: fmt.Sprintf("serin-lab://%s-%d", s.spec.Name, s.restarts),
	}
	switch {
	case s.now != nil:
		st.State.Running = &corev1.ContainerStateRunning{StartedAt: s.since}
	case s.waiting != nil:
		st.State.Waiting = s.waiting
	default:
		st.State.Terminated = s.last
	}
	if s.last != nil && st.State.Terminated == nil {
		st.LastTerminationState.Terminated = s.last
	}
	return st
}

// probe is a readiness probe in the kubelet's rhythm.
type probe struct {
	mu     sync.Mutex
	period time.Duration
	next   time.Time
	ok     bool
	busy   bool
	ask    func() bool
}

func newProbe(p *corev1.Probe, ask func() bool) *probe {
	pr := &probe{period: time.Second, ask: ask, next: time.Now()}
	if p != nil {
		if p.PeriodSeconds > 0 {
			pr.period = time.Duration(p.PeriodSeconds) * time.Second
		}
		pr.next = pr.next.Add(time.Duration(p.InitialDelaySeconds) * time.Second)
	}
	return pr
}

// answer is the last answer; a probe that is due is asked in the background.
func (p *probe) answer() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.busy && !time.Now().Before(p.next) {
		p.busy = true
		p.next = time.Now().Add(p.period)
		go func() {
			ok := p.ask()
			p.mu.Lock()
			defer p.mu.Unlock()
			p.ok, p.busy = ok, false
		}()
	}
	return p.ok
}
