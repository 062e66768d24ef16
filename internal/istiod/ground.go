package istiod

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/shadow"
)

// seen is what is noted along the way of a proof: how long answers took, and which
// pods there must be room for. A nil one notes nothing.
type seen struct {
	mu sync.Mutex
	shadow.Facts
	wishes []wish
}

// note changes what was seen while nobody else does.
func (s *seen) note(f func(*seen)) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// reads is how often the API server is asked how long it takes.
const reads = 5

// firm looks at what a move stands on before anything is asked: where the roots
// differ no other answer means anything.
func (a *Asker) firm(ctx context.Context, q shadow.Question, s *seen) error {
	istiods, trusted, err := a.certified(ctx, q)
	if err != nil {
		return err
	}
	s.Istiods, s.Trusted = istiods, trusted
	for range reads {
		began := clock.Now()
		if _, err := a.Client.CoreV1().ConfigMaps(a.Namespace).Get(ctx, rootsName, metav1.GetOptions{}); err != nil {
			return fmt.Errorf("reading the mesh's root certificate: %w", err)
		}
		s.Reads = append(s.Reads, took(began))
	}
	return nil
}

// spacious looks whether there is room for the pods that were seen.
func (a *Asker) spacious(ctx context.Context, q shadow.Question, s *seen) error {
	var err error
	if s.Waiting, err = a.waiting(ctx, q.New.Revision); err != nil {
		return err
	}
	nodes, err := a.places(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("looking for room: %w", ctx.Err())
	}
	if err != nil {
		s.Unseen = map[shadow.About]string{shadow.Space: "whether there is room could not be seen: " + err.Error()}
		return nil //nolint:nilerr // it is noted, and asks a person
	}
	for _, w := range s.wishes {
		s.Needs = append(s.Needs, w.need(nodes))
	}
	return nil
}

func took(began time.Time) time.Duration { return clock.Now().Sub(began) }
