package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// minReplicas is the fewest istiods a new revision is installed with (S-16).
const minReplicas = 2

// Simulate returns the mesh as it will be once the step has taken effect. It does
// not change what it is given.
func Simulate(s mesh.Snapshot, st Step) mesh.Snapshot {
	out := s.Clone()
	simulate(&out, st)
	return out
}

// simulate changes the snapshot in place, for plans of thousands of steps.
func simulate(s *mesh.Snapshot, st Step) { //nolint:cyclop,funlen // a line for each kind
	switch st.Kind {
	case PinDefault:
		simulatePin(s, st)
	case UpgradeBase:
		simulateBase(s, st)
	case InstallRevision:
		simulateInstall(s, st)
	case MoveNamespace, RestoreLabels:
		setLabels(s, st.Namespace, st.After)
	case FirstPods:
		simulateFirst(s, st)
	case Restart:
		simulateRestart(s, st)
	case MoveTag:
		pointTag(s, st.Tag, st.To)
		if st.Tag == mesh.DefaultTag {
			simulateDefault(s, st.To)
		}
	case RemoveRevision:
		removeRevision(s, st.From)
	case SetTag:
		simulateSetTag(s, st)
	case RemoveTag:
		simulateRemoveTag(s, st)
	case InstallChart:
		simulateChart(s, st)
	case RemoveChart:
		removeChart(s, *st.Release)
	case RestoreRevision:
		simulateRestore(s, st)
	case Surge:
		simulateSurge(s, st)
	case RemoveRest:
		simulateRest(s)
	case AddGateway:
		simulateAddGateway(s, st)
	case OpenGateway:
		openPods(s, st.Workloads[0], st.Pods.To)
	case ScaleGateway:
		scaleGateway(s, st.Workloads[0], st.Pods.To)
	case RenewGateway:
		simulateRenew(s, *st.Release)
	case MoveGateway:
		simulateMoveGateway(s, st)
	case ReturnGateway:
		setGateway(s, st, st.After)
		unclaim(s, st)
	case DropClaims:
		s.Claims = slices.DeleteFunc(s.Claims, func(c mesh.Claim) bool { return slices.Contains(st.Claims, c) })
	case DropTelemetry:
		s.Telemetries = slices.DeleteFunc(s.Telemetries, st.drops)
	case RenderGateway, PutBackGateway:
		simulateRendered(s, st, st.To)
	}
}

// simulatePin puts the tag on, then switches the unrevisioned injector off.
func simulatePin(s *mesh.Snapshot, st Step) {
	in := mesh.TagInjector(st.Tag, st.To, s.IstioNamespace)
	if st.ByGit() {
		in.Owner = st.Git
	}
	for i, old := range s.Injectors {
		if old.Revision != mesh.DefaultRevision || old.Tag != "" {
			continue
		}
		if !old.IsOff() {
			in.Webhooks = retargeted(old.Webhooks, s.IstioNamespace+"/"+mesh.IstiodName(st.To))
		}
		s.Injectors[i] = old.Off()
	}
	s.Injectors = slices.DeleteFunc(s.Injectors, func(i mesh.Injector) bool { return i.Tag == st.Tag })
	s.Injectors = append(s.Injectors, in)
	sortInjectors(s)
	pointTagService(s, st.Tag, st.To)
}

func simulateBase(s *mesh.Snapshot, st Step) {
	setBase(s, func(r *mesh.Release) { r.Version = st.Version })
	for i, c := range s.CRDs {
		if istios(c.Name) && (st.ByGit() || c.Version != "") {
			s.CRDs[i].Version = st.Version
		}
	}
	if base, ok := s.Base(); ok && skew.OwnsCRDs(st.Version) && !st.ByGit() {
		for i := range s.CRDs {
			s.CRDs[i].Owner = mesh.Owner{Kind: mesh.OwnerHelm, Name: base.Namespace + "/" + base.Name}
		}
	}
}

func simulateInstall(s *mesh.Snapshot, st Step) {
	if _, ok := s.ControlPlane(st.To); ok {
		return
	}
	old, _ := s.ControlPlane(st.From)
	size := max(old.Ready, minReplicas)
	name := mesh.IstiodName(st.To)
	owner := mesh.Owner{Kind: mesh.OwnerHelm, Name: s.IstioNamespace + "/" + name}
	if st.Owner == mesh.OwnerIstioctl {
		owner = mesh.Owner{Kind: mesh.OwnerIstioctl}
	}
	if st.ByGit() {
		owner = st.Git
	}
	s.ControlPlanes = append(s.ControlPlanes, mesh.ControlPlane{
		Revision: st.To, Version: st.Version, Namespace: s.IstioNamespace, Name: name, Replicas: size, Ready: size, Owner: owner,
	})
	sortControlPlanes(s)
	in, v := mesh.RevisionInjector(st.To, s.IstioNamespace), mesh.RevisionValidator(st.To, s.IstioNamespace)
	in.Owner, v.Owner = owner, owner
	s.Injectors, s.Validators = append(s.Injectors, in), append(s.Validators, v)
	sortInjectors(s)
	sortValidators(s)
	if st.Owner == mesh.OwnerIstioctl || st.ByGit() { // whether Git's tool keeps releases is its own affair
		return
	}
	s.Releases = append(s.Releases, mesh.Release{
		Namespace: s.IstioNamespace, Name: name, Chart: "istiod", Version: st.Version, Status: "deployed",
		Values: map[string]any{"revision": st.To},
	})
	sortReleases(s)
}

// setLabels changes all the labels at once, as one patch does.
func setLabels(s *mesh.Snapshot, namespace string, labels map[string]*string) {
	for i, n := range s.Namespaces {
		if n.Name != namespace {
			continue
		}
		next := maps.Clone(n.Labels)
		if next == nil {
			next = map[string]string{}
		}
		for k, v := range labels {
			if v == nil {
				delete(next, k)
			} else {
				next[k] = *v
			}
		}
		s.Namespaces[i].Labels = next
	}
}

// simulateRestart gives the workloads the pods that the injectors make now.
func simulateRestart(s *mesh.Snapshot, st Step) {
	endSurge(s, st)
	made := makers(s, st)
	s.Pods = slices.DeleteFunc(s.Pods, func(p mesh.Pod) bool {
		_, restarted := made[p.Workload]
		return restarted && p.Leaving
	})
	for i, p := range s.Pods {
		if c, ok := made[p.Workload]; ok {
			s.Pods[i].Revision, s.Pods[i].Version, s.Pods[i].Ready = c.Revision, c.Version, true
		}
	}
}

// makers are the control planes that would inject new pods of the step's workloads now.
func makers(s *mesh.Snapshot, st Step) map[mesh.Ref]mesh.ControlPlane {
	made := map[mesh.Ref]mesh.ControlPlane{}
	for _, ref := range st.Workloads {
		if w, ok := s.Workload(ref); ok {
			c, _ := s.ControlPlane(s.InjectionOf(w).Revision)
			made[ref] = c
		}
	}
	return made
}

// simulateFirst gives each workload one pod that the injectors make now.
func simulateFirst(s *mesh.Snapshot, st Step) {
	made := makers(s, st)
	for i, p := range s.Pods {
		c, ok := made[p.Workload]
		if !ok || p.Leaving {
			continue
		}
		s.Pods[i].Revision, s.Pods[i].Version, s.Pods[i].Ready = c.Revision, c.Version, true
		delete(made, p.Workload) // one is enough
	}
}

// simulateSurge gives each workload one pod more, which the injectors make now.
func simulateSurge(s *mesh.Snapshot, st Step) {
	made := makers(s, st)
	for i, w := range s.Workloads {
		c, ok := made[w.Ref]
		if !ok {
			continue
		}
		s.Workloads[i].Replicas, s.Workloads[i].Ready = w.Replicas+1, w.Ready+1
		s.Pods = append(s.Pods, mesh.Pod{
			Namespace: w.Namespace, Name: surged(w.Ref), Workload: w.Ref, Labels: w.TemplateLabels, Revision: c.Revision, Version: c.Version, Ready: true,
		})
	}
}

func surged(ref mesh.Ref) string { return ref.Name + "-surge" }

// endSurge takes the pod more away again, where there is one.
func endSurge(s *mesh.Snapshot, st Step) {
	for i, w := range s.Workloads {
		if !slices.Contains(st.Workloads, w.Ref) {
			continue
		}
		was := len(s.Pods)
		s.Pods = slices.DeleteFunc(s.Pods, func(p mesh.Pod) bool { return p.Workload == w.Ref && p.Name == surged(w.Ref) })
		gone := was - len(s.Pods)
		s.Workloads[i].Replicas, s.Workloads[i].Ready = w.Replicas-gone, w.Ready-gone
	}
}

// pointTag lets the tag's injector and Service lead to a revision, in place.
func pointTag(s *mesh.Snapshot, tag, revision string) {
	for i, in := range s.Injectors {
		if in.Tag == tag {
			s.Injectors[i].Revision = revision
			s.Injectors[i].Webhooks = retargeted(in.Webhooks, s.IstioNamespace+"/"+mesh.IstiodName(revision))
		}
	}
	pointTagService(s, tag, revision)
}

// simulateDefault moves the default validator, through the base release where
// that renders it (S-3).
func simulateDefault(s *mesh.Snapshot, revision string) {
	v, ok := s.DefaultValidator()
	if !ok {
		return
	}
	pointValidator(s, revision)
	if v.Owner.Kind == mesh.OwnerHelm || v.Owner.Git() {
		setBase(s, func(r *mesh.Release) { setValue(r, "defaultRevision", revision) })
	}
}

// pointTagService moves the tag's Service, or makes the one that tags of that
// version have (R§2.1).
func pointTagService(s *mesh.Snapshot, tag, revision string) {
	for i, svc := range s.TagServices {
		if svc.Tag == tag {
			s.TagServices[i].Revision = revision
			return
		}
	}
	c, ok := s.ControlPlane(revision)
	if !ok || !skew.HasTagService(c.Version) {
		return
	}
	s.TagServices = append(s.TagServices, mesh.TagService{Name: mesh.TagServiceName(tag), Tag: tag, Revision: revision})
	slices.SortFunc(s.TagServices, func(a, b mesh.TagService) int { return cmp.Compare(a.Name, b.Name) })
}

func pointValidator(s *mesh.Snapshot, revision string) {
	for i, v := range s.Validators {
		if v.Name == mesh.DefaultValidator || v.Tag == mesh.DefaultTag {
			s.Validators[i].Revision, s.Validators[i].Service = revision, s.IstioNamespace+"/"+mesh.IstiodName(revision)
		}
	}
}

// removeRevision takes away exactly what belongs to the revision (S-53).
func removeRevision(s *mesh.Snapshot, revision string) {
	c, _ := s.ControlPlane(revision)
	s.Injectors = slices.DeleteFunc(s.Injectors, func(i mesh.Injector) bool { return i.Revision == revision && i.Tag == "" })
	s.Validators = slices.DeleteFunc(s.Validators, func(v mesh.Validator) bool {
		return v.Revision == revision && v.Tag == "" && v.Name != mesh.DefaultValidator
	})
	s.ControlPlanes = slices.DeleteFunc(s.ControlPlanes, func(o mesh.ControlPlane) bool { return o.Revision == revision })
	s.Releases = slices.DeleteFunc(s.Releases, func(r mesh.Release) bool { return carries(r, c) })
}

// carries says whether a release is that of the control plane. Some GitOps tools
// keep Helm's releases under their own mark: those are known by their values.
func carries(r mesh.Release, c mesh.ControlPlane) bool {
	if c.Owner.Kind == mesh.OwnerHelm {
		return r.Namespace+"/"+r.Name == c.Owner.Name
	}
	rev, named := r.Values["revision"].(string)
	return c.Owner.Git() && r.Chart == "istiod" && r.Namespace == c.Namespace && (rev == c.Revision || (!named || rev == "") && c.Revision == mesh.DefaultRevision)
}

func retargeted(webhooks []mesh.Webhook, service string) []mesh.Webhook {
	out := slices.Clone(webhooks)
	for i := range out {
		out[i].Service, out[i].CABundle = service, true
	}
	return out
}

func setBase(s *mesh.Snapshot, f func(*mesh.Release)) {
	for i, r := range s.Releases {
		if r.Chart == "base" {
			f(&s.Releases[i])
		}
	}
}

func setValue(r *mesh.Release, key string, v any) {
	values := maps.Clone(r.Values)
	if values == nil {
		values = map[string]any{}
	}
	values[key] = v
	r.Values = values
}

func sortInjectors(s *mesh.Snapshot) {
	slices.SortFunc(s.Injectors, func(a, b mesh.Injector) int { return cmp.Compare(a.Name, b.Name) })
}

func sortControlPlanes(s *mesh.Snapshot) {
	slices.SortFunc(s.ControlPlanes, func(a, b mesh.ControlPlane) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

func sortValidators(s *mesh.Snapshot) {
	slices.SortFunc(s.Validators, func(a, b mesh.Validator) int { return cmp.Compare(a.Name, b.Name) })
}

func sortReleases(s *mesh.Snapshot) {
	slices.SortFunc(s.Releases, func(a, b mesh.Release) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}
