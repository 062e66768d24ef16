package plan

import (
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// simulateSetTag makes every part of the tag lead to the revision; the default
// tag stands in for the unrevisioned injector, which goes off (S-1).
func simulateSetTag(s *mesh.Snapshot, st Step) {
	i := slices.IndexFunc(s.Injectors, func(in mesh.Injector) bool { return in.Tag == st.Tag })
	if i < 0 {
		in := mesh.TagInjector(st.Tag, st.To, s.IstioNamespace)
		if st.Injector != "" {
			in.Name = st.Injector
		}
		if st.Auto {
			in.Webhooks = append(in.Webhooks, mesh.AutoEntry(in.Webhooks[0].Service))
		}
		s.Injectors = append(s.Injectors, in)
		sortInjectors(s)
	}
	pointTag(s, st.Tag, st.To)
	if st.Tag != mesh.DefaultTag {
		return
	}
	for i, in := range s.Injectors {
		if in.Tag == "" && in.Revision == mesh.DefaultRevision {
			s.Injectors[i] = in.Off()
		}
	}
	if _, ok := s.DefaultValidator(); ok {
		simulateDefault(s, st.To)
		return
	}
	s.Validators = append(s.Validators, mesh.Validator{
		Name: mesh.DefaultValidator, Revision: st.To, Tag: st.Tag, FailurePolicy: "Ignore", Owner: mesh.Owner{Kind: mesh.OwnerNone},
		Service: s.IstioNamespace + "/" + mesh.IstiodName(st.To),
	})
	sortValidators(s)
}

// undoSetTag takes away a tag that was made. One that was repaired stays.
func undoSetTag(s *mesh.Snapshot, st Step, before mesh.Snapshot) {
	if _, had := before.Tag(st.Tag); had {
		return
	}
	tagAsBefore(s, st.Tag, before)
	if st.Tag == mesh.DefaultTag {
		undoDefault(s, before)
	}
}

// undoDefault makes the default validator, and the base release that renders it, what they were.
func undoDefault(s *mesh.Snapshot, before mesh.Snapshot) {
	s.Validators = slices.DeleteFunc(s.Validators, func(v mesh.Validator) bool { return v.Name == mesh.DefaultValidator })
	if v, ok := before.DefaultValidator(); ok {
		s.Validators = append(s.Validators, v)
		sortValidators(s)
	}
	if base, ok := before.Base(); ok {
		setBase(s, func(r *mesh.Release) { r.Values = base.Values })
	}
}

// simulateRemoveTag takes the tag's parts away; what stood in for the
// unrevisioned injector hands over to it first.
func simulateRemoveTag(s *mesh.Snapshot, st Step) {
	if st.Tag == mesh.DefaultTag && st.From == mesh.DefaultRevision && !st.Purge {
		for i, in := range s.Injectors {
			if in.Tag == "" && in.Revision == mesh.DefaultRevision && in.IsOff() {
				s.Injectors[i].Webhooks = mesh.RevisionInjector(mesh.DefaultRevision, s.IstioNamespace).Webhooks
			}
		}
	}
	s.Injectors = slices.DeleteFunc(s.Injectors, func(i mesh.Injector) bool { return i.Tag == st.Tag })
	s.TagServices = slices.DeleteFunc(s.TagServices, func(t mesh.TagService) bool { return t.Tag == st.Tag })
	s.Validators = slices.DeleteFunc(s.Validators, func(v mesh.Validator) bool { return v.Tag == st.Tag && v.Owner.Kind != mesh.OwnerHelm })
}

// tagAsBefore makes a tag, and the unrevisioned injector beside it, what they were.
func tagAsBefore(s *mesh.Snapshot, tag string, before mesh.Snapshot) {
	ours := func(i mesh.Injector) bool {
		return i.Tag == tag || tag == mesh.DefaultTag && i.Tag == "" && i.Revision == mesh.DefaultRevision
	}
	s.Injectors = slices.DeleteFunc(s.Injectors, ours)
	for _, i := range before.Injectors {
		if ours(i) {
			s.Injectors = append(s.Injectors, i)
		}
	}
	sortInjectors(s)
	s.TagServices = slices.DeleteFunc(s.TagServices, func(t mesh.TagService) bool { return t.Tag == tag })
	for _, t := range before.TagServices {
		if t.Tag == tag {
			s.TagServices = append(s.TagServices, t)
		}
	}
	s.Validators = slices.DeleteFunc(s.Validators, func(v mesh.Validator) bool { return v.Tag == tag })
	for _, v := range before.Validators {
		if v.Tag == tag {
			s.Validators = append(s.Validators, v)
		}
	}
	sortValidators(s)
}

func ownerOf(r mesh.Release) mesh.Owner {
	return mesh.Owner{Kind: mesh.OwnerHelm, Name: r.Namespace + "/" + r.Name}
}

// simulateChart adds a release of the base or the gateway chart.
func simulateChart(s *mesh.Snapshot, st Step) {
	r := *st.Release
	r.Status = "deployed"
	s.Releases = slices.DeleteFunc(s.Releases, func(o mesh.Release) bool { return o.Namespace == r.Namespace && o.Name == r.Name })
	s.Releases = append(s.Releases, r)
	sortReleases(s)
	switch r.Chart {
	case "base":
		owner := ownerOf(r)
		if rev := r.DefaultRevisionValue(); rev != "" {
			s.Validators = slices.DeleteFunc(s.Validators, func(v mesh.Validator) bool { return v.Name == mesh.DefaultValidator })
			s.Validators = append(s.Validators, mesh.Validator{
				Name: mesh.DefaultValidator, Revision: rev, FailurePolicy: "Ignore", Owner: owner, Service: s.IstioNamespace + "/" + mesh.IstiodName(rev),
			})
			sortValidators(s)
		}
		if skew.OwnsCRDs(r.Version) {
			for i := range s.CRDs {
				s.CRDs[i].Owner = owner
			}
		}
	case "gateway":
		w := mesh.Workload{
			Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: r.Namespace, Name: r.Name}, Replicas: 1, Ready: 1, Strategy: "RollingUpdate",
			MaxSurge: 1, Settled: true, Services: []string{r.Namespace + "/" + r.Name}, Owner: ownerOf(r),
			TemplateLabels:      map[string]string{"app": r.Name, mesh.InjectLabel: "true"},
			TemplateAnnotations: map[string]string{mesh.TemplatesAnnotation: "gateway"},
		}
		if rev, ok := r.Values["revision"].(string); ok && rev != "" {
			w.TemplateLabels[mesh.RevLabel] = rev
		}
		if _, there := s.Workload(w.Ref); there {
			return
		}
		c, _ := s.ControlPlane(s.InjectionOf(w).Revision)
		s.Workloads = append(s.Workloads, w)
		s.Pods = append(s.Pods, mesh.Pod{
			Namespace: r.Namespace, Name: r.Name + "-0", Workload: w.Ref, Labels: w.TemplateLabels, Revision: c.Revision, Version: c.Version, Ready: true,
		})
	}
}

// removeChart takes a release away. CRDs stay: the chart asks Helm to keep them.
func removeChart(s *mesh.Snapshot, r mesh.Release) {
	owner := ownerOf(r)
	s.Releases = slices.DeleteFunc(s.Releases, func(o mesh.Release) bool { return o.Namespace == r.Namespace && o.Name == r.Name })
	s.Validators = slices.DeleteFunc(s.Validators, func(v mesh.Validator) bool { return v.Owner == owner })
	gone := func(ref mesh.Ref) bool {
		w, ok := s.Workload(ref)
		return ok && w.Owner == owner
	}
	s.Pods = slices.DeleteFunc(s.Pods, func(p mesh.Pod) bool { return gone(p.Workload) })
	s.Workloads = slices.DeleteFunc(s.Workloads, func(w mesh.Workload) bool { return w.Owner == owner })
}

// chartAsBefore brings a removed release back as the run found it.
func chartAsBefore(s *mesh.Snapshot, r mesh.Release, before mesh.Snapshot) {
	was, ok := before.Release(ownerOf(r))
	if _, there := s.Release(ownerOf(r)); there || !ok {
		return
	}
	owner := ownerOf(was)
	s.Releases = append(s.Releases, was)
	for _, v := range before.Validators {
		if v.Owner == owner {
			s.Validators = append(s.Validators, v)
		}
	}
	for _, w := range before.Workloads {
		if w.Owner == owner {
			s.Workloads = append(s.Workloads, w)
			s.Pods = append(s.Pods, before.PodsOf(w.Ref)...)
		}
	}
	sortReleases(s)
	sortValidators(s)
}
