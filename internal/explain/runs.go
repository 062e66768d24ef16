package explain

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// runs groups pods that are alike. Those that are leaving are left out.
func runs(l Look, pods []mesh.Pod) []Run {
	by := map[string]gate.Proxy{}
	for _, p := range l.Proxies {
		by[p.Namespace+"/"+p.Name] = p
	}
	groups := map[[4]string]*Run{}
	for _, p := range pods {
		if p.Leaving {
			continue
		}
		r := Run{Revision: p.Revision, Version: p.Version, Sync: "no proxy"}
		if p.Revision != "" {
			r.Sync, r.Istiod = sync(l, by, p)
		}
		key := [4]string{r.Revision, r.Version, r.Sync, r.Istiod}
		if groups[key] == nil {
			groups[key] = &r
		}
		groups[key].Pods = append(groups[key].Pods, p.Namespace+"/"+p.Name)
	}
	out := []Run{}
	for _, r := range groups {
		slices.Sort(r.Pods)
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Run) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Sync, b.Sync), cmp.Compare(a.Istiod, b.Istiod))
	})
	return out
}

// sync is how a proxy stands with its istiod, and which that is.
func sync(l Look, by map[string]gate.Proxy, p mesh.Pod) (string, string) {
	x, connected := by[p.Namespace+"/"+p.Name]
	switch {
	case l.ProxiesUnknown != "":
		return "unknown", ""
	case !connected:
		return "not connected", ""
	case len(x.Rejected) > 0:
		return "rejected", x.Istiod
	case len(x.Stale) > 0:
		return "stale", x.Istiod
	}
	return "synced", x.Istiod
}

// waitsFor says what stands between what is there and what the next pod would be.
func (a *Answer) waitsFor(s mesh.Snapshot, w mesh.Workload, pods []mesh.Pod) {
	a.waitsForInjector(s)
	a.waitsForRestart(s, w, pods)
	if w.Name != "" && w.Kind != mesh.KindPod && !w.Settled {
		a.wait("its rollout, which is under way", "")
	}
	if w.Paused {
		a.wait("its Deployment, which is paused", "kubectl -n "+w.Namespace+" rollout resume deployment/"+w.Name)
	}
	for _, r := range a.Runs {
		switch r.Sync {
		case "stale", "rejected", "not connected":
			a.wait(mesh.Count(len(r.Pods), "proxy")+" of "+r.Revision+" to be in sync: "+r.Sync, "serin proxy-status")
		}
	}
}

func (a *Answer) waitsForInjector(s mesh.Snapshot) {
	if t, ok := s.Tag(a.Tag); ok && t.Split {
		a.wait("tag "+t.Name+", whose parts disagree", "serin tag repair "+t.Name)
	}
	switch a.Next {
	case "conflict":
		a.wait("one of the injectors to go: two revisions would inject the next pod", "serin tag repair default, where the default tag overlaps")
	case "none", "":
	default:
		c, ok := s.ControlPlane(a.Next)
		switch {
		case !ok:
			a.wait("revision "+a.Next+", which has no control plane: its next pod cannot be made", "serin move or serin tag set lead elsewhere")
		case c.Ready == 0:
			a.wait("an istiod of revision "+a.Next+": none is ready, and its next pod cannot be made", "kubectl -n "+c.Namespace+" describe deploy "+c.Name)
		}
	}
	a.waitsForBundle(s)
}

func (a *Answer) waitsForBundle(s mesh.Snapshot) {
	for _, in := range a.Injectors {
		if !in.Matches {
			continue
		}
		for _, live := range s.Injectors {
			if live.Name == in.Name && slices.ContainsFunc(live.Webhooks, func(h mesh.Webhook) bool { return !h.CABundle }) {
				a.wait("injector "+in.Name+" to get its CA bundle from istiod: until then its next pod cannot be made", "")
			}
		}
	}
}

// waitsForRestart counts the pods that are not what their workload's next pod would be.
func (a *Answer) waitsForRestart(s mesh.Snapshot, w mesh.Workload, pods []mesh.Pod) {
	late := map[string][]string{} // workloads by where they would go
	namespaces := map[string]bool{}
	for _, p := range pods {
		of, ok := s.Workload(p.Workload)
		if !ok || p.Leaving {
			continue
		}
		next := s.InjectionOf(of)
		if next.Conflict || next.Revision == p.Revision {
			continue
		}
		to := cmp.Or(next.Revision, "no revision")
		if name := of.String(); !slices.Contains(late[to], name) {
			late[to] = append(late[to], name)
		}
		namespaces[p.Namespace] = true
	}
	for _, to := range sortedKeys(late) {
		remedy := "serin restart -n " + strings.Join(slices.Sorted(maps.Keys(namespaces)), ",")
		if w.Name != "" {
			remedy = "serin restart -n " + w.Namespace + " " + w.Name
			if w.Kind == mesh.KindPod || w.Kind == mesh.KindJob {
				remedy = "nothing makes it anew: delete it and make it again"
			}
		}
		slices.Sort(late[to])
		a.wait("a restart, which leads to "+to+": "+strings.Join(late[to], ", "), remedy)
	}
}

func (a *Answer) wait(what, remedy string) { a.Waits = append(a.Waits, Wait{what, remedy}) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
