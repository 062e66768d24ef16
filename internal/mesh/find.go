package mesh

import "slices"

// ControlPlane returns the control plane of a revision.
func (s Snapshot) ControlPlane(revision string) (ControlPlane, bool) {
	for _, c := range s.ControlPlanes {
		if c.Revision == revision {
			return c, true
		}
	}
	return ControlPlane{}, false
}

// Serves says whether the revision has a control plane with a ready istiod.
func (s Snapshot) Serves(revision string) bool {
	c, ok := s.ControlPlane(revision)
	return ok && c.Ready > 0
}

// Revisions returns the names of all control planes, sorted.
func (s Snapshot) Revisions() []string {
	var revs []string
	for _, c := range s.ControlPlanes {
		revs = append(revs, c.Revision)
	}
	slices.Sort(revs)
	return revs
}

// Namespace returns the namespace of that name.
func (s Snapshot) Namespace(name string) (Namespace, bool) {
	for _, n := range s.Namespaces {
		if n.Name == name {
			return n, true
		}
	}
	return Namespace{}, false
}

// Workload returns the workload that the Ref names.
func (s Snapshot) Workload(r Ref) (Workload, bool) {
	for _, w := range s.Workloads {
		if w.Ref == r {
			return w, true
		}
	}
	return Workload{}, false
}

// PodsOf returns the workload's pods, those that are leaving too.
func (s Snapshot) PodsOf(r Ref) []Pod {
	var pods []Pod
	for _, p := range s.Pods {
		if p.Workload == r {
			pods = append(pods, p)
		}
	}
	return pods
}

// Base returns the Helm release of the base chart.
func (s Snapshot) Base() (Release, bool) {
	for _, r := range s.Releases {
		if r.Chart == "base" {
			return r, true
		}
	}
	return Release{}, false
}

// Release returns the Helm release that an owner names.
func (s Snapshot) Release(o Owner) (Release, bool) {
	if o.Kind != OwnerHelm {
		return Release{}, false
	}
	for _, r := range s.Releases {
		if r.Namespace+"/"+r.Name == o.Name {
			return r, true
		}
	}
	return Release{}, false
}

// DefaultRevisionValue is what the base chart renders the default validator for:
// the user's value, or the chart's own (R§2.4).
func (r Release) DefaultRevisionValue() string {
	if v, ok := r.Values["defaultRevision"].(string); ok {
		return v
	}
	return DefaultRevision
}
