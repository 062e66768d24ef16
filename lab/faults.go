package lab

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/serin-mesh/serin/lab/app"
)

// Fault is a thing that goes wrong on demand: its name and its arguments.
type Fault struct {
	Name string
	Args []string
}

// faultKind is one kind of fault: what it takes and what it does.
type faultKind struct {
	name, usage string
	args        int
	do          func(ctx context.Context, l *Lab, args []string) error
}

// faults are all kinds. A pod or workload is named namespace/name.
func faults() []faultKind {
	pod := func(f func(l *Lab, ns, name string) error) func(context.Context, *Lab, []string) error {
		return func(_ context.Context, l *Lab, args []string) error {
			ns, name, ok := strings.Cut(args[0], "/")
			if !ok {
				return fmt.Errorf("reading %q: want namespace/name", args[0])
			}
			return f(l, ns, name)
		}
	}
	return []faultKind{
		{"kill-istiod", "NAMESPACE/POD", 1, pod(func(l *Lab, ns, n string) error { return l.kubelet.KillIstiod(ns, n, 0) })},
		{"istiod-away", "NAMESPACE/POD DURATION", 2, timed(func(l *Lab, ns, n string, d time.Duration) error { return l.kubelet.KillIstiod(ns, n, d) })},
		{"stop-pushing", "NAMESPACE/POD", 1, pod(func(l *Lab, ns, n string) error { return l.kubelet.StopPushing(ns, n, true) })},
		{"push-again", "NAMESPACE/POD", 1, pod(func(l *Lab, ns, n string) error { return l.kubelet.StopPushing(ns, n, false) })},
		{"slow-istiod", "NAMESPACE/POD DURATION", 2, timed(func(l *Lab, ns, n string, d time.Duration) error { return l.kubelet.Slow(ns, n, d) })},
		{"webhook-gone", "NAMESPACE/POD", 1, pod(func(l *Lab, ns, n string) error { return l.kubelet.DropWebhook(ns, n, true) })},
		{"webhook-back", "NAMESPACE/POD", 1, pod(func(l *Lab, ns, n string) error { return l.kubelet.DropWebhook(ns, n, false) })},
		{"stall", "NAMESPACE/WORKLOAD", 1, pod(func(l *Lab, ns, n string) error { l.kubelet.Stall(ns, n, true); return nil })},
		{"unstall", "NAMESPACE/WORKLOAD", 1, pod(func(l *Lab, ns, n string) error { l.kubelet.Stall(ns, n, false); return nil })},
		{"fail-app", "NAMESPACE/WORKLOAD", 1, pod(func(l *Lab, ns, n string) error { l.kubelet.SpoilNew(ns, n, app.Flaw{Share: 1}); return nil })},
		{"fail-some", "NAMESPACE/WORKLOAD SHARE", 2, func(_ context.Context, l *Lab, args []string) error {
			ns, name, _ := strings.Cut(args[0], "/")
			share, err := strconv.ParseFloat(args[1], 64)
			if err != nil {
				return fmt.Errorf("reading the share: %w", err)
			}
			l.kubelet.SpoilNew(ns, name, app.Flaw{Share: share})
			return nil
		}},
		{"slow-app", "NAMESPACE/WORKLOAD DURATION", 2, timed(func(l *Lab, ns, n string, d time.Duration) error {
			l.kubelet.SpoilNew(ns, n, app.Flaw{Slow: d})
			return nil
		})},
		{"flap-app", "NAMESPACE/WORKLOAD DURATION", 2, timed(func(l *Lab, ns, n string, d time.Duration) error {
			l.kubelet.SpoilNew(ns, n, app.Flaw{Flap: d})
			return nil
		})},
		{"mend-app", "NAMESPACE/WORKLOAD", 1, pod(func(l *Lab, ns, n string) error { l.kubelet.SpoilNew(ns, n, app.Flaw{}); return nil })},
		{"lose-host", "NAMESPACE/WORKLOAD HOST", 2, func(_ context.Context, l *Lab, args []string) error {
			ns, name, _ := strings.Cut(args[0], "/")
			l.kubelet.LoseHost(ns, name, args[1])
			return nil
		}},
		{"find-host", "NAMESPACE/WORKLOAD", 1, pod(func(l *Lab, ns, n string) error { l.kubelet.LoseHost(ns, n, ""); return nil })},
		{"insist", "NAMESPACE/WORKLOAD", 1, pod(func(l *Lab, ns, n string) error { l.kubelet.Insist(ns, n, true); return nil })},
		{"give-in", "NAMESPACE/WORKLOAD", 1, pod(func(l *Lab, ns, n string) error { l.kubelet.Insist(ns, n, false); return nil })},
		{"reject", "NAMESPACE/POD TYPE-URL", 2, func(_ context.Context, l *Lab, args []string) error {
			ns, name, _ := strings.Cut(args[0], "/")
			return l.kubelet.Reject(ns, name, args[1])
		}},
		{"apiserver-pause", "DURATION", 1, lasting((*Lab).pause)},
		{"apiserver-gone", "DURATION", 1, lasting((*Lab).outage)},
	}
}

// timed is a fault of a pod or workload that takes a duration.
func timed(f func(l *Lab, ns, name string, d time.Duration) error) func(context.Context, *Lab, []string) error {
	return func(_ context.Context, l *Lab, args []string) error {
		ns, name, _ := strings.Cut(args[0], "/")
		d, err := time.ParseDuration(args[1])
		if err != nil {
			return fmt.Errorf("reading how long: %w", err)
		}
		return f(l, ns, name, d)
	}
}

func (l *Lab) pause(ctx context.Context, d time.Duration) error { return l.cluster.Pause(ctx, d) }

// outage takes the lab's life, not the caller's: the new API server must outlive
// the request for a fault.
func (l *Lab) outage(_ context.Context, d time.Duration) error { return l.cluster.Outage(l.life, d) } //nolint:contextcheck // as said

func lasting(f func(l *Lab, ctx context.Context, d time.Duration) error) func(context.Context, *Lab, []string) error {
	return func(ctx context.Context, l *Lab, args []string) error {
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return fmt.Errorf("reading how long: %w", err)
		}
		return f(l, ctx, d)
	}
}

// FaultUsage is a line for each kind of fault.
func FaultUsage() string {
	var b strings.Builder
	for _, k := range faults() {
		fmt.Fprintf(&b, "  %-16s %s\n", k.name, k.usage)
	}
	return b.String()
}

// Fault makes f happen; a fault that lasts returns when it is over.
func (l *Lab) Fault(ctx context.Context, f Fault) error {
	kinds := faults()
	i := slices.IndexFunc(kinds, func(k faultKind) bool { return k.name == f.Name })
	if i < 0 {
		return fmt.Errorf("finding the fault %q: there are\n%s", f.Name, FaultUsage())
	}
	if len(f.Args) != kinds[i].args {
		return fmt.Errorf("reading the fault: want %s %s", f.Name, kinds[i].usage)
	}
	l.say("fault: %s %s", f.Name, strings.Join(f.Args, " "))
	if err := kinds[i].do(ctx, l, f.Args); err != nil {
		return fmt.Errorf("causing %s: %w", f.Name, err)
	}
	return nil
}
