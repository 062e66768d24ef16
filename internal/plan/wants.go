package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// Missing says what of a step's end is not there yet. Nothing means that the mesh
// is as the step leaves it, whoever made it so: serin, a person, or Git. What is
// there and still wrong is for the step's gates to say.
func Missing(s mesh.Snapshot, st Step) []string { //nolint:cyclop,funlen // a line for each kind
	switch st.Kind {
	case PinDefault:
		return slices.Concat(tagNotAt(s, st.Tag, st.To), stillOn(s))
	case UpgradeBase:
		return baseNotAt(s, st)
	case InstallRevision, RestoreRevision:
		return planeNotAt(s, st.To, st.Version)
	case MoveNamespace, RestoreLabels:
		return labelsNotAt(s, st.Namespace, st.After)
	case FirstPods, Surge:
		return podsNotAt(s, st, 1)
	case Restart, RenderGateway, PutBackGateway:
		return podsNotAt(s, st, 0)
	case MoveTag:
		return slices.Concat(tagNotAt(s, st.Tag, st.To), defaultNotAt(s, st.Tag, st.To), baseNames(s, st))
	case RemoveRevision:
		return planeLeft(s, st.From)
	case SetTag:
		out := slices.Concat(tagNotAt(s, st.Tag, st.To), defaultNotAt(s, st.Tag, st.To))
		if st.Tag == mesh.DefaultTag {
			out = append(out, stillOn(s)...)
		}
		return out
	case RemoveTag:
		return tagLeft(s, st.Tag)
	case InstallChart, AddGateway:
		if r, ok := s.Release(ownerOf(*st.Release)); !ok || r.Status != "deployed" {
			return []string{"release " + st.Target + " is not deployed"}
		}
	case RemoveChart:
		if _, ok := s.Release(ownerOf(*st.Release)); ok {
			return []string{"release " + st.Target + " is there"}
		}
	case OpenGateway:
		return notIn(s, st, st.Pods.To)
	case ScaleGateway:
		return notOfSize(s, st, st.Pods.To)
	case RenewGateway:
		return chartNotAt(s, *st.Release)
	case MoveGateway:
		return slices.Concat(gatewayNotAt(s, st, st.After), podsNotAt(s, st, 0))
	case ReturnGateway:
		return gatewayNotAt(s, st, st.After)
	case DropClaims:
		return claimsLeft(s, st)
	case DropTelemetry:
		return telemetriesLeft(s, st)
	case RemoveRest:
		return restLeft(s)
	}
	return nil
}

// MissingBack says what a step has left that is not taken back yet; before is the
// mesh as it was when the run began. What needs no taking back is never missing.
func MissingBack(s mesh.Snapshot, st Step, before mesh.Snapshot) []string { //nolint:cyclop,funlen // a line for each kind
	switch st.Kind {
	case PinDefault:
		return slices.Concat(stillOff(s, before), tagLeft(s, st.Tag))
	case InstallRevision, RestoreRevision:
		if _, had := before.ControlPlane(st.To); !had {
			return planeLeft(s, st.To)
		}
	case MoveNamespace, RestoreLabels:
		return labelsNotAt(s, st.Namespace, st.Before)
	case FirstPods, Surge, Restart, RenderGateway, PutBackGateway:
		back := st
		back.To = st.From
		return podsNotAt(s, back, 0)
	case MoveTag:
		return tagNotBack(s, st, before)
	case RemoveRevision:
		old, _ := before.ControlPlane(st.From)
		return planeNotAt(s, st.From, old.Version)
	case SetTag:
		if _, had := before.Tag(st.Tag); !had {
			return tagLeft(s, st.Tag)
		}
	case RemoveTag:
		return tagNotAt(s, st.Tag, st.From)
	case InstallChart, AddGateway:
		if _, had := before.Release(ownerOf(*st.Release)); !had {
			return Missing(s, Step{Kind: RemoveChart, Release: st.Release, Target: st.Target})
		}
	case RemoveChart:
		return Missing(s, Step{Kind: InstallChart, Release: st.Release, Target: st.Target})
	case OpenGateway:
		return notIn(s, st, st.Pods.From)
	case ScaleGateway:
		return notOfSize(s, st, st.Pods.From)
	case RenewGateway:
		was, _ := before.Release(ownerOf(*st.Release))
		return chartNotAt(s, was)
	case MoveGateway:
		back := st
		back.To = st.From
		return slices.Concat(gatewayNotAt(s, st, st.Before), podsNotAt(s, back, 0))
	case ReturnGateway:
		return gatewayNotAt(s, st, st.Before)
	case RemoveRest:
		return restNotBack(s, before)
	case UpgradeBase, DropClaims, DropTelemetry: // CRDs stay; what nothing follows need not come back
	}
	return nil
}

// tagNotAt says what of a tag does not lead to the revision.
func tagNotAt(s mesh.Snapshot, tag, rev string) []string {
	t, ok := s.Tag(tag)
	c, _ := s.ControlPlane(rev)
	switch {
	case !ok:
		return []string{"there is no tag " + tag}
	case t.Injector == "":
		return []string{"tag " + tag + " has no injector"}
	case t.Revision != rev:
		return []string{"tag " + tag + " leads to " + t.Revision + ", not to " + rev}
	case t.Split:
		return []string{"the parts of tag " + tag + " disagree: " + parts(t)}
	case t.Service == "" && skew.HasTagService(c.Version):
		return []string{"tag " + tag + " has no Service " + mesh.TagServiceName(tag)}
	}
	return nil
}

// tagNotBack also wants a Service gone that the move brought.
func tagNotBack(s mesh.Snapshot, st Step, before mesh.Snapshot) []string {
	after := s.Clone()
	undoTag(&after, st, before)
	if hasTagService(s, st.Tag) && !hasTagService(after, st.Tag) {
		return []string{"Service " + mesh.TagServiceName(st.Tag) + ", which came with the move, is there"}
	}
	t, ok := s.Tag(st.Tag)
	switch {
	case !ok || t.Injector == "":
		return []string{"tag " + st.Tag + " has no injector"}
	case t.Revision != st.From:
		return []string{"tag " + st.Tag + " leads to " + t.Revision + ", not to " + st.From}
	case t.Split:
		return []string{"the parts of tag " + st.Tag + " disagree: " + parts(t)}
	}
	return defaultNotAt(s, st.Tag, st.From)
}

func tagLeft(s mesh.Snapshot, tag string) []string {
	if _, ok := s.Tag(tag); ok {
		return []string{"tag " + tag + " is there"}
	}
	return nil
}

// defaultNotAt is about what moves with the default tag alone: the validator.
func defaultNotAt(s mesh.Snapshot, tag, rev string) []string {
	if v, ok := s.DefaultValidator(); ok && tag == mesh.DefaultTag && v.Revision != rev {
		return []string{"validator " + v.Name + " calls " + v.Revision + ", not " + rev}
	}
	return nil
}

// baseNames is the base release that would move the validator back at its next
// upgrade: it must not name what is removed next (S-3).
func baseNames(s mesh.Snapshot, st Step) []string {
	v, ok := s.DefaultValidator()
	base, released := s.Base()
	if !ok || !released || st.Tag != mesh.DefaultTag || v.Owner.Kind != mesh.OwnerHelm && !v.Owner.Git() || base.DefaultRevisionValue() == st.To {
		return nil
	}
	return []string{"release " + base.Namespace + "/" + base.Name + " has the value defaultRevision " + base.DefaultRevisionValue() + ", not " + st.To}
}

// stillOn is the unrevisioned injector, which a default tag stands in for (S-1).
func stillOn(s mesh.Snapshot) []string {
	var out []string
	for _, in := range s.Injectors {
		if in.Tag == "" && in.Revision == mesh.DefaultRevision && !in.IsOff() {
			out = append(out, "injector "+in.Name+" is on")
		}
	}
	return out
}

// stillOff is the unrevisioned injector that was on when the run began.
func stillOff(s mesh.Snapshot, before mesh.Snapshot) []string {
	var out []string
	for _, was := range before.Injectors {
		if was.Tag != "" || was.Revision != mesh.DefaultRevision || was.IsOff() {
			continue
		}
		if in, ok := injector(s, was.Name); !ok || in.IsOff() {
			out = append(out, "injector "+was.Name+" is off")
		}
	}
	return out
}

func planeNotAt(s mesh.Snapshot, rev, version string) []string {
	c, ok := s.ControlPlane(rev)
	switch {
	case !ok:
		return []string{"there is no control plane of revision " + rev}
	case !sameVersion(c.Version, version):
		return []string{"revision " + rev + " is at " + c.Version + ", not at " + version}
	case !slices.ContainsFunc(s.Injectors, func(i mesh.Injector) bool { return i.Revision == rev && i.Tag == "" }):
		return []string{"revision " + rev + " has no injector"}
	}
	return nil
}

// planeLeft is what of a revision's own is there.
func planeLeft(s mesh.Snapshot, rev string) []string {
	var out []string
	if c, ok := s.ControlPlane(rev); ok {
		out = append(out, "control plane "+c.Namespace+"/"+c.Name+" is there")
	}
	for _, in := range s.Injectors {
		if in.Revision == rev && in.Tag == "" {
			out = append(out, "injector "+in.Name+" is there")
		}
	}
	for _, v := range s.Validators {
		if v.Revision == rev && v.Tag == "" && v.Name != mesh.DefaultValidator {
			out = append(out, "validator "+v.Name+" is there")
		}
	}
	return out
}

// baseNotAt asks the release, or where there is none, or Git's tool keeps it, the
// definitions themselves: from 1.24 on they say with which release they came.
// Those that do not say it are not known to be right.
func baseNotAt(s mesh.Snapshot, st Step) []string {
	if base, ok := s.Base(); ok && olderThan(base.Version, st.Version) {
		return []string{"release " + base.Namespace + "/" + base.Name + " is at " + base.Version + ", not at " + st.Version}
	} else if ok && !st.ByGit() {
		return nil
	}
	var older, silent []string
	for _, c := range s.CRDs {
		switch {
		case !istios(c.Name):
		case c.Version == "":
			silent = append(silent, c.Name)
		case olderThan(c.Version, st.Version):
			older = append(older, c.Name)
		}
	}
	switch {
	case len(s.CRDs) == 0:
		return []string{"there is no definition of Istio's"}
	case len(older) > 0:
		return []string{fmt.Sprintf("%s of an older release than %s: %s", mesh.Count(len(older), "CRD"), st.Version, named(older))}
	case len(silent) > 0:
		return []string{fmt.Sprintf("%s without the label helm.sh/chart, which would say the release: %s", mesh.Count(len(silent), "CRD"), named(silent))}
	}
	return nil
}

func labelsNotAt(s mesh.Snapshot, namespace string, want map[string]*string) []string {
	n, ok := s.Namespace(namespace)
	if !ok {
		return []string{"there is no namespace " + namespace}
	}
	var out []string
	for _, k := range sortedKeys(want) {
		is, has := n.Labels[k]
		switch v := want[k]; {
		case v == nil && has:
			out = append(out, fmt.Sprintf("namespace %s has label %s=%s", namespace, k, is))
		case v != nil && !has:
			out = append(out, fmt.Sprintf("namespace %s has no label %s=%s", namespace, k, *v))
		case v != nil && is != *v:
			out = append(out, fmt.Sprintf("namespace %s has label %s=%s, not %s", namespace, k, is, *v))
		}
	}
	return out
}

// podsNotAt are the workloads whose pods are not on the step's revision; first
// asks only for so many of each.
func podsNotAt(s mesh.Snapshot, st Step, first int) []string {
	var out []string
	for _, ref := range st.Workloads {
		there, elsewhere := 0, []string{}
		for _, p := range s.PodsOf(ref) {
			switch {
			case p.Leaving:
			case p.Revision == st.To:
				there++
			default:
				elsewhere = append(elsewhere, p.Name)
			}
		}
		if len(elsewhere) > 0 && (first == 0 || there < first) {
			out = append(out, fmt.Sprintf("workload %s has pods that are not on %s: %s", ref, st.To, named(elsewhere)))
		}
	}
	return out
}

// Commit says in a line what is to be committed, for the step or to take it back.
func Commit(st Step, back bool) string { //nolint:revive // the two ways of one step
	labels, rev, version := st.After, st.To, st.Version
	if back {
		labels, rev = st.Before, st.From
	}
	switch st.Kind {
	case PinDefault:
		if back {
			return "switch the injector of revision " + st.To + " on, and take tag " + st.Tag + " out"
		}
		return "tag " + st.Tag + " for revision " + st.To + ", and the injector of that revision switched off"
	case UpgradeBase:
		return "the base chart, or its CRDs, at " + version
	case InstallRevision:
		if back {
			return "take revision " + st.To + " out"
		}
		return "a control plane of revision " + st.To + " at " + version
	case MoveNamespace, RestoreLabels:
		return "namespace " + st.Namespace + " with " + labelWords(labels)
	case MoveTag:
		return "tag " + st.Tag + " for revision " + rev + validatorToo(st.Tag)
	case RemoveRevision:
		if back {
			return "the control plane of revision " + st.From + " again, at " + version
		}
		return "take revision " + st.From + " out"
	case FirstPods, Surge, Restart, SetTag, RemoveTag, InstallChart, RemoveChart, RestoreRevision, RemoveRest, AddGateway, OpenGateway, ScaleGateway, RenewGateway, MoveGateway, ReturnGateway, RenderGateway, PutBackGateway, DropClaims, DropTelemetry:
	}
	return st.Target
}

func validatorToo(tag string) string {
	if tag == mesh.DefaultTag {
		return ": injector, Service and validator"
	}
	return ": injector and Service"
}

// labelWords are labels as kubectl label takes them: KEY- takes one off.
func labelWords(labels map[string]*string) string {
	out := make([]string, 0, len(labels))
	for _, k := range sortedKeys(labels) {
		if v := labels[k]; v == nil {
			out = append(out, k+"-")
		} else {
			out = append(out, k+"="+*v)
		}
	}
	return strings.Join(out, " ")
}
