package gate

import "fmt"

// controlPlane wants the revision at full size, at least the old one's and at
// least two (S-16), its injector with a CA bundle, and a dry-run pod injected by it.
func controlPlane(q Question, ev Evidence) (State, string) {
	c, ok := ev.Snapshot.ControlPlane(q.Revision)
	if !ok {
		return Shut, "there is no control plane of revision " + q.Revision
	}
	want := max(c.Replicas, 2)
	if old, ok := ev.Snapshot.ControlPlane(q.Old); ok {
		want = max(want, old.Ready)
	}
	if c.Ready < want {
		return Unknown, fmt.Sprintf("%d of %d istiods of %s ready", c.Ready, want, q.Revision)
	}
	for _, in := range ev.Snapshot.Injectors {
		if in.Revision != q.Revision || in.Tag != "" {
			continue
		}
		for _, w := range in.Webhooks {
			if !w.CABundle {
				return Unknown, fmt.Sprintf("entry %s of %s has no CA bundle yet", w.Name, in.Name)
			}
		}
	}
	for _, d := range ev.DryRuns {
		if d.Error != "" {
			return Unknown, "a dry-run pod was refused: " + d.Error
		}
		if d.Revision == q.Revision && d.Proxies == 1 {
			return Open, fmt.Sprintf("%d of %d istiods ready, a dry-run pod is injected", c.Ready, want)
		}
	}
	return Unknown, fmt.Sprintf("%d of %d istiods ready, no dry-run pod was injected by %s yet", c.Ready, want, q.Revision)
}

// injection wants, for each namespace, at least two dry-run pods that agree (S-8).
func injection(q Question, ev Evidence) (State, string) {
	if len(q.Namespaces) == 0 {
		return Open, "no namespace is concerned"
	}
	for _, ns := range q.Namespaces {
		n := 0
		for _, d := range ev.DryRuns {
			if d.Namespace != ns {
				continue
			}
			if d.Error != "" {
				return Unknown, "a dry-run pod in " + ns + " was refused: " + d.Error
			}
			if d.Revision != q.Revision || d.Proxies != 1 {
				return Shut, fmt.Sprintf("a dry-run pod in %s got %d proxies of revision %q, not one of %s", ns, d.Proxies, d.Revision, q.Revision)
			}
			n++
		}
		if n < 2 {
			return Unknown, fmt.Sprintf("%d dry-run pods in %s, two are needed", n, ns)
		}
	}
	return Open, fmt.Sprintf("two dry-run pods in each of %d namespaces are injected by %s", len(q.Namespaces), q.Revision)
}
