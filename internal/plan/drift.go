package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Drift says what somebody else has changed that the plan relies on (S-14): want
// is the mesh as the steps done so far should have left it, got is the mesh as it
// is. Replicas, pods, new workloads, CA bundles and failure policies may differ:
// they join, or belong to others. No lines mean that the plan still fits.
func Drift(want, got mesh.Snapshot, p Plan) []string {
	d := drift{want: want, got: got, p: p}
	d.controlPlanes()
	d.tags()
	d.injectors()
	d.validator()
	d.namespaces()
	d.releases()
	d.workloads()
	d.gateways()
	slices.Sort(d.out)
	return slices.Compact(d.out)
}

type drift struct {
	want, got mesh.Snapshot
	p         Plan
	out       []string
}

func (d *drift) say(format string, args ...any) { d.out = append(d.out, fmt.Sprintf(format, args...)) }

func (d *drift) controlPlanes() {
	for _, w := range d.want.ControlPlanes {
		g, ok := d.got.ControlPlane(w.Revision)
		switch {
		case !ok:
			d.say("revision %s: its control plane is gone", w.Revision)
		case g.Version != w.Version:
			d.say("revision %s: was %s, is %s", w.Revision, w.Version, g.Version)
		case g.Owner != w.Owner && w.Revision != d.p.To && d.p.Request.Owners != OwnersGit:
			d.say("revision %s: belonged to %s, belongs to %s", w.Revision, owner(w.Owner), owner(g.Owner))
		}
	}
	for _, g := range d.got.ControlPlanes {
		if _, ok := d.want.ControlPlane(g.Revision); !ok {
			d.say("revision %s: a new control plane, %s", g.Revision, g.Version)
		}
	}
}

func owner(o mesh.Owner) string {
	if o.Name == "" {
		return string(o.Kind)
	}
	return string(o.Kind) + " " + o.Name
}

func (d *drift) tags() {
	for _, w := range d.want.Tags() {
		g, ok := d.got.Tag(w.Name)
		switch {
		case !ok:
			d.say("tag %s: led to %s, is gone", w.Name, w.Revision)
		case g.Revision != w.Revision:
			d.say("tag %s: led to %s, leads to %s", w.Name, w.Revision, g.Revision)
		case g.Split && !w.Split:
			d.say("tag %s: its parts disagree: %s", w.Name, parts(g))
		}
	}
	for _, g := range d.got.Tags() {
		if _, ok := d.want.Tag(g.Name); !ok {
			d.say("tag %s: new, leads to %s", g.Name, g.Revision)
		}
	}
}

// injectors compares who injects what. A Helm upgrade or a self-heal switches the
// unrevisioned injector on again (S-1): that is the one to look out for.
func (d *drift) injectors() {
	for _, w := range d.want.Injectors {
		g, ok := injector(d.got, w.Name)
		if ok {
			d.injector(w, g)
		} else if w.Tag == "" { // of a tag's, tags has said it
			d.say("injector %s: gone", w.Name)
		}
	}
	for _, g := range d.got.Injectors {
		if _, ok := injector(d.want, g.Name); !ok && g.Tag == "" {
			d.say("injector %s: new, calls %s", g.Name, g.Revision)
		}
	}
}

func (d *drift) injector(w, g mesh.Injector) {
	switch {
	case w.IsOff() && !g.IsOff():
		d.say("injector %s: switched off, and on again", w.Name)
	case !w.IsOff() && g.IsOff():
		d.say("injector %s: switched off", w.Name)
	case w.Revision != g.Revision && w.Tag == "":
		d.say("injector %s: called %s, calls %s", w.Name, w.Revision, g.Revision)
	case !w.IsOff() && !d.made(w) && selectors(w) != selectors(g):
		d.say("injector %s: its selectors have changed", w.Name)
	}
}

// made says whether the plan's own steps make the injector: the chart's rendering
// may then differ from the simulated one in what does not matter.
func (d *drift) made(i mesh.Injector) bool {
	return slices.ContainsFunc(d.p.Steps, func(st Step) bool {
		return (st.Kind == InstallRevision || st.Kind == RestoreRevision) && i.Tag == "" && i.Revision == st.To || (st.Kind == PinDefault || st.Kind == SetTag) && i.Tag == st.Tag
	})
}

func injector(s mesh.Snapshot, name string) (mesh.Injector, bool) {
	for _, i := range s.Injectors {
		if i.Name == name {
			return i, true
		}
	}
	return mesh.Injector{}, false
}

func selectors(i mesh.Injector) string {
	var all []mesh.Selector
	for _, w := range i.Webhooks {
		all = append(all, w.NamespaceSelector, w.ObjectSelector)
	}
	return encoded(all)
}

func (d *drift) validator() {
	w, had := d.want.DefaultValidator()
	g, has := d.got.DefaultValidator()
	switch {
	case had && !has:
		d.say("validator %s: gone", w.Name)
	case had && w.Revision != g.Revision:
		d.say("validator %s: called %s, calls %s", w.Name, w.Revision, g.Revision)
	}
}

func (d *drift) namespaces() {
	for _, name := range d.planned() {
		w, had := d.want.Namespace(name)
		g, has := d.got.Namespace(name)
		if !had {
			continue
		}
		if !has {
			d.say("namespace %s: gone", name)
			continue
		}
		for _, k := range []string{mesh.InjectionLabel, mesh.RevLabel} {
			if was, is := label(w, k), label(g, k); was != is {
				d.say("namespace %s: label %s was %s, is %s", name, k, was, is)
			}
		}
		if g.Owner != w.Owner && d.p.Request.Owners != OwnersGit { // where all is Git's, its marks may come with its first write
			d.say("namespace %s: belonged to %s, belongs to %s", name, owner(w.Owner), owner(g.Owner))
		}
	}
}

func label(n mesh.Namespace, key string) string {
	if v, ok := n.Labels[key]; ok {
		return fmt.Sprintf("%q", v)
	}
	return "absent"
}

// planned are the namespaces in which the plan does something.
func (d *drift) planned() []string {
	names := map[string]bool{}
	for _, st := range d.p.Steps {
		switch st.Kind {
		case MoveNamespace, RestoreLabels, FirstPods, Surge, Restart, AddGateway, OpenGateway, ScaleGateway, RenewGateway, RenderGateway, PutBackGateway:
			names[st.Namespace] = true
		case PinDefault, UpgradeBase, InstallRevision, MoveTag, RemoveRevision, SetTag, RemoveTag, InstallChart, RemoveChart, RestoreRevision, RemoveRest, MoveGateway, ReturnGateway, DropClaims, DropTelemetry:
		}
	}
	return sortedKeys(names)
}

func (d *drift) releases() {
	for _, w := range d.want.Releases {
		g, ok := d.got.Release(mesh.Owner{Kind: mesh.OwnerHelm, Name: w.Namespace + "/" + w.Name})
		name := w.Namespace + "/" + w.Name
		switch {
		case d.declared(w):
		case !ok:
			d.say("release %s: gone", name)
		case g.Status != w.Status:
			d.say("release %s: was %s, is %s", name, w.Status, g.Status)
		case g.Version != w.Version:
			d.say("release %s: was at %s, is at %s", name, w.Version, g.Version)
		case len(w.Values)+len(g.Values) > 0 && encoded(w.Values) != encoded(g.Values) && !d.installs(w):
			d.say("release %s: its values have changed", name)
		}
	}
}

// declared says whether the release is kept from Git, by steps that wait for it:
// what it is called and how it is upgraded is its tool's affair, and what it
// makes is compared by itself.
func (d *drift) declared(r mesh.Release) bool {
	switch r.Chart {
	case "base":
		return d.p.byGit(UpgradeBase, MoveTag)
	case "istiod":
		return d.p.byGit(InstallRevision, RemoveRevision)
	}
	return false
}

// installs says whether the plan itself makes the release: the simulation does
// not know all of its values.
func (d *drift) installs(r mesh.Release) bool {
	restored := slices.ContainsFunc(d.p.Steps, func(st Step) bool {
		return (st.Kind == RestoreRevision || st.Kind == AddGateway) && st.Release != nil && st.Release.Namespace == r.Namespace && st.Release.Name == r.Name
	})
	return restored || r.Namespace == d.want.IstioNamespace && r.Name == mesh.IstiodName(d.p.To)
}

// workloads compares the owners of what the plan restarts. A workload that is
// gone has nothing left to restart.
func (d *drift) workloads() {
	for _, st := range d.p.Steps {
		for _, ref := range st.Workloads {
			w, had := d.want.Workload(ref)
			g, has := d.got.Workload(ref)
			if had && has && w.Owner != g.Owner {
				d.say("workload %s: belonged to %s, belongs to %s", ref, owner(w.Owner), owner(g.Owner))
			}
		}
	}
}

// gateways finds managed Gateways that were not there: a label or a tag that
// moves would roll them at once (R§9.3). One that the new revision deploys stays
// where it is, and only the way back would roll it.
func (d *drift) gateways() {
	for _, g := range newcomers(d.want, d.got) {
		if rev := d.got.GatewayRevision(g); slices.Contains(d.p.From, rev) {
			d.say("gateway %s/%s: new, deployed by revision %s, which would lose requests when what it follows moves (serin rollback, and plan again with it; or delete it, and serin resume)", g.Namespace, g.Name, rev)
		}
	}
	for _, st := range d.p.Steps {
		if st.Kind == MoveGateway {
			d.managed(st)
		}
	}
}

// newcomers are the managed Gateways that were not there.
func newcomers(want, got mesh.Snapshot) []mesh.Object {
	return slices.DeleteFunc(slices.Clone(got.ManagedGateways), func(g mesh.Object) bool {
		return slices.ContainsFunc(want.ManagedGateways, func(w mesh.Object) bool { return w.Namespace == g.Namespace && w.Name == g.Name })
	})
}

// Newcomers says which managed Gateways have come to the plan's new revision since:
// to take the run back would roll them at once, losing requests, or leave them with
// no istiod.
func Newcomers(want, got mesh.Snapshot, p Plan) []string {
	var out []string
	for _, g := range newcomers(want, got) {
		if rev := got.GatewayRevision(g); rev == p.To {
			out = append(out, fmt.Sprintf("gateway %s/%s: new, deployed by revision %s", g.Namespace, g.Name, rev))
		}
	}
	return out
}

// Rolled says which managed Gateways a change of the mesh hands from one revision to
// another, or to none, at once: their istiods would take the configuration of pods
// that serve (R§9.3). A frozen one is serin's own to move.
func Rolled(was, is mesh.Snapshot) []string {
	var out []string
	for _, g := range was.ManagedGateways {
		o, ok := was.GatewayObject(g.Namespace, g.Name)
		from, to := was.GatewayRevision(g), is.GatewayRevision(g)
		_, served := was.ControlPlane(from)
		_, serves := is.ControlPlane(to)
		if ok && o.Frozen == "" && served && (from != to || !serves) {
			out = append(out, g.Namespace+"/"+g.Name)
		}
	}
	return out
}

// encoded is a canonical text of plain data: JSON sorts keys.
func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
