package plan

import (
	"maps"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// UndoOrder says in which order applied steps (indices into p.Steps, in the order
// they were applied) are taken back: the last first, except that a restart waits
// for its UndoFirst, without which its pods would come up on the new revision again.
//
// What came before an irreversible step cannot be taken back any more: it would
// go back onto what is gone. So the list ends with the last irreversible step
// that was applied; who meets it there must hold.
func UndoOrder(p Plan, applied []int) []int {
	var out, waiting []int
	left := map[int]bool{}
	for _, i := range applied {
		left[i] = true
	}
	var emit func(i int)
	emit = func(i int) {
		out = append(out, i)
		delete(left, i)
		for _, w := range slices.Clone(waiting) {
			if p.Steps[w].UndoFirst == i+1 && left[w] {
				emit(w)
			}
		}
	}
	for _, i := range slices.Backward(applied) {
		if p.Steps[i].Undo.Irreversible != "" {
			return append(out, i)
		}
		if first := p.Steps[i].UndoFirst - 1; first >= 0 && left[first] {
			waiting = append(waiting, i)
			continue
		}
		emit(i)
	}
	return out
}

// SimulateUndo returns the mesh as it will be once the step has been taken back.
// before is the mesh as it was when the run began. What cannot be taken back, or
// needs not, stays.
func SimulateUndo(s mesh.Snapshot, st Step, before mesh.Snapshot) mesh.Snapshot { //nolint:cyclop,funlen // a line for each kind
	out := s.Clone()
	switch st.Kind {
	case PinDefault:
		undoPin(&out, st, before)
	case UpgradeBase, DropClaims, DropTelemetry: // CRDs stay; what nothing follows need not come back
	case RemoveRevision:
		undoRemoval(&out, st, before)
	case InstallRevision, RestoreRevision:
		removeRevision(&out, st.To)
	case MoveNamespace, RestoreLabels:
		setLabels(&out, st.Namespace, st.Before)
	case FirstPods, Restart:
		simulateRestart(&out, st) // its labels or tag are back, so that the same deed leads back
	case MoveTag:
		undoTag(&out, st, before)
	case SetTag:
		undoSetTag(&out, st, before)
	case RemoveTag:
		tagAsBefore(&out, st.Tag, before)
	case InstallChart:
		if _, had := before.Release(ownerOf(*st.Release)); !had {
			removeChart(&out, *st.Release)
		}
	case RemoveChart:
		if st.Behind != nil { // the run itself had made it
			addBeside(&out, st, *st.Behind)
			break
		}
		chartAsBefore(&out, *st.Release, before)
	case Surge:
		endSurge(&out, st)
	case RemoveRest:
		undoRest(&out, before)
	case AddGateway:
		removeChart(&out, *st.Release)
	case OpenGateway:
		openPods(&out, st.Workloads[0], st.Pods.From)
	case ScaleGateway:
		scaleGateway(&out, st.Workloads[0], st.Pods.From)
	case RenewGateway:
		undoRenew(&out, *st.Release, before)
	case MoveGateway:
		undoMoveGateway(&out, st)
	case RenderGateway, PutBackGateway:
		undoRendered(&out, st, before)
	case ReturnGateway:
		setGateway(&out, st, st.Before)
		claim(&out, st, st.To)
	}
	return out
}

// undoRemoval brings a revision back as the run found it, but for one thing: its
// unrevisioned injector stays off as long as a tag stands in for it, or pods would
// have two injectors (S-1).
func undoRemoval(s *mesh.Snapshot, st Step, before mesh.Snapshot) {
	revision := st.From
	if _, there := s.ControlPlane(revision); there {
		return
	}
	was := belonging(before, revision)
	_, pinned := s.Tag(mesh.DefaultTag)
	if _, was := before.Tag(mesh.DefaultTag); st.Purge && was {
		pinned = true // the tag comes back after it
	}
	if pinned && revision == mesh.DefaultRevision {
		for i := range was.Injectors {
			was.Injectors[i] = was.Injectors[i].Off()
		}
	}
	s.ControlPlanes = append(s.ControlPlanes, was.ControlPlanes...)
	s.Releases = append(s.Releases, was.Releases...)
	s.Injectors = append(s.Injectors, was.Injectors...)
	s.Validators = append(s.Validators, was.Validators...)
	sortControlPlanes(s)
	sortInjectors(s)
	sortValidators(s)
	sortReleases(s)
}

// belonging is what goes and comes with a revision's control plane: not its tags,
// not the default validator.
func belonging(s mesh.Snapshot, revision string) mesh.Snapshot {
	var out mesh.Snapshot
	if c, ok := s.ControlPlane(revision); ok {
		out.ControlPlanes = append(out.ControlPlanes, c)
		for _, r := range s.Releases {
			if carries(r, c) {
				out.Releases = append(out.Releases, r)
			}
		}
	}
	for _, in := range s.Injectors {
		if in.Revision == revision && in.Tag == "" {
			out.Injectors = append(out.Injectors, in)
		}
	}
	for _, v := range s.Validators {
		if v.Revision == revision && v.Tag == "" && v.Name != mesh.DefaultValidator {
			out.Validators = append(out.Validators, v)
		}
	}
	return out
}

// undoPin switches the unrevisioned injector on, then takes the tag off.
func undoPin(s *mesh.Snapshot, st Step, before mesh.Snapshot) {
	for i, in := range s.Injectors {
		for _, was := range before.Injectors {
			if in.Name == was.Name && in.Tag == "" && in.Revision == mesh.DefaultRevision {
				s.Injectors[i] = was
			}
		}
	}
	s.Injectors = slices.DeleteFunc(s.Injectors, func(i mesh.Injector) bool { return i.Tag == st.Tag })
	s.TagServices = slices.DeleteFunc(s.TagServices, func(t mesh.TagService) bool { return t.Tag == st.Tag })
}

func undoTag(s *mesh.Snapshot, st Step, before mesh.Snapshot) {
	pointTag(s, st.Tag, st.From)
	c, _ := s.ControlPlane(st.From)
	madeByPin := pinned(before, st) && skew.HasTagService(c.Version)
	if !hasTagService(before, st.Tag) && !madeByPin {
		s.TagServices = slices.DeleteFunc(s.TagServices, func(t mesh.TagService) bool { return t.Tag == st.Tag })
	}
	if st.Tag != mesh.DefaultTag {
		return
	}
	pointValidator(s, st.From)
	base, ok := before.Base()
	if !ok {
		return
	}
	setBase(s, func(r *mesh.Release) {
		was, had := base.Values["defaultRevision"]
		switch {
		case had:
			setValue(r, "defaultRevision", was)
		case base.Values == nil:
			r.Values = nil
		default:
			r.Values = maps.Clone(r.Values)
			delete(r.Values, "defaultRevision")
		}
	})
}

func hasTagService(s mesh.Snapshot, tag string) bool {
	return slices.ContainsFunc(s.TagServices, func(t mesh.TagService) bool { return t.Tag == tag })
}

// pinned says whether the run itself made the tag: its Service goes with the pin.
func pinned(before mesh.Snapshot, st Step) bool {
	_, there := before.Tag(st.Tag)
	return !there
}
