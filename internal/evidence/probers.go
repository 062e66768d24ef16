package evidence

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

// Probers are all probes of a request, each sending by itself.
type Probers struct{ list []*Prober }

// NewProbers returns Probers that send nothing until Run, nil for none.
func NewProbers(probes []plan.Probe, now func() time.Time, options ...Option) *Probers {
	if len(probes) == 0 {
		return nil
	}
	p := &Probers{}
	for _, probe := range probes {
		p.list = append(p.list, NewProber(probe, now, options...))
	}
	return p
}

// Run sends until ctx ends. One that cannot send does not keep the others from it.
func (p *Probers) Run(ctx context.Context) error {
	failed := make([]error, len(p.list))
	var running sync.WaitGroup
	for i, prober := range p.list {
		running.Go(func() { failed[i] = prober.Run(ctx) })
	}
	running.Wait()
	return errors.Join(failed...)
}

// Ended counts the requests of all that have finished, and those of them that failed.
func (p *Probers) Ended() (ended, failed int) { //nolint:nonamedreturns // two numbers of one kind
	for _, prober := range p.list {
		e, f := prober.Ended()
		ended, failed = ended+e, failed+f
	}
	return ended, failed
}

// idle are the probes that do not run, in words.
func (p *Probers) idle() string {
	var out []string
	for _, prober := range p.list {
		if !prober.Running() {
			out = append(out, "probe "+prober.probe.Title()+" is not running")
		}
	}
	return strings.Join(out, ", ")
}

func (p *Probers) cold() string {
	for _, prober := range p.list {
		if why := prober.Cold(); why != "" {
			return why
		}
	}
	return ""
}

func (p *Probers) compare(mark, done time.Time) []gate.Comparison {
	out := make([]gate.Comparison, 0, len(p.list))
	for _, prober := range p.list {
		out = append(out, prober.Compare(mark, done))
	}
	return out
}
