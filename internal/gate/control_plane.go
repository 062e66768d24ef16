package gate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// controlPlane wants the revision at full size, at least the old one's and at
// least two (S-16), its injector with a CA bundle, and dry-run pods injected by it.
// Where the plan has settled how many istiods are enough, and a finding has said
// that they are few, waiting for more would be waiting for ever.
func controlPlane(q Question, ev Evidence) (State, string) {
	c, ok := ev.Snapshot.ControlPlane(q.Revision)
	if !ok {
		return Shut, "there is no control plane of revision " + q.Revision
	}
	want := max(c.Replicas, cmp.Or(q.Istiods, 2))
	if old, ok := ev.Snapshot.ControlPlane(q.Old); ok && q.Istiods == 0 {
		want = max(want, old.Ready)
	}
	if c.Ready < want {
		return Unknown, fmt.Sprintf("%d of %d istiods of %s ready", c.Ready, want, q.Revision)
	}
	if why := uncertified(ev.Snapshot, q.Revision, true); why != "" {
		return Unknown, why
	}
	ready := fmt.Sprintf("%d of %d istiods ready", c.Ready, want)
	if hides := ev.Snapshot.Resolve(q.Revision); q.Tag == q.Revision && hides != q.Revision && hides != "" {
		// The default tag on its way back to the unrevisioned control plane: until it is
		// there no pod can choose that one, and the proof of the step asks for pods.
		return Open, fmt.Sprintf("%s; no dry-run pod can choose it while tag %s leads to %s", ready, q.Tag, hides)
	}
	return chosen(q, ev, ready)
}

// chosen wants dry-run pods that chose the revision to have been injected by it.
// Those in the namespaces in question follow their labels, which may not have moved yet.
func chosen(q Question, ev Evidence, ready string) (State, string) {
	n := 0
	for _, d := range ev.DryRuns {
		switch {
		case d.Error != "":
			return Unknown, "a dry-run pod was refused: " + d.Error
		case d.Revision == q.Revision && d.Proxies == 1:
			n++
		case !slices.Contains(q.Namespaces, d.Namespace):
			return Unknown, fmt.Sprintf("%s, a dry-run pod got %d proxies of revision %q, not yet one of %s", ready, d.Proxies, d.Revision, q.Revision)
		}
	}
	if n == 0 {
		return Unknown, ready + ", no dry-run pod was injected by " + q.Revision + " yet"
	}
	return Open, ready + ", a dry-run pod is injected"
}

// uncertified says what the injectors that call a revision lack: without a CA
// bundle matching pods cannot be created. own leaves the tags' out.
func uncertified(s mesh.Snapshot, revision string, own bool) string { //nolint:revive // which injectors, not a mode
	seen := 0
	for _, in := range s.Injectors {
		if in.Revision != revision || own && in.Tag != "" {
			continue
		}
		for _, w := range in.Webhooks {
			seen++
			if !w.CABundle {
				return fmt.Sprintf("entry %s of %s has no CA bundle yet", w.Name, in.Name)
			}
		}
	}
	if seen == 0 {
		return "no injector calls revision " + revision + " yet"
	}
	return ""
}
