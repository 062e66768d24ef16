package view

import (
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

type podName struct{ namespace, name string }

// proxies joins the pods of the snapshot with what the istiods say of their
// proxies. Where they could not be asked, each is unknown: never in sync.
func proxies(l Look) []ProxyStatus {
	seen := connections(l.Proxies)
	versions := map[string]string{}
	for _, c := range l.Snapshot.ControlPlanes {
		versions[c.Revision] = c.Version
	}
	out := []ProxyStatus{}
	for _, pod := range l.Snapshot.Pods {
		if pod.Revision == "" || pod.Leaving {
			continue
		}
		ps := ProxyStatus{
			Namespace: pod.Namespace, Name: pod.Name, Workload: pod.Workload.String(),
			Revision: pod.Revision, Version: pod.Version, Sync: unknown,
		}
		if l.ProxiesUnknown == "" {
			ps.Sync = "disconnected"
		}
		if c, ok := seen[podName{pod.Namespace, pod.Name}]; ok {
			ps.connect(c)
		}
		if ps.Skew == "" {
			ps.Skew = skew(ps, versions)
		}
		out = append(out, ps)
	}
	return out
}

// connections are the proxies as their istiods report them, by pod.
func connections(ps []gate.Proxy) map[podName]ProxyStatus {
	out := map[podName]ProxyStatus{}
	for _, p := range ps {
		c := ProxyStatus{Istiod: p.Istiod, Version: p.Version, Revision: p.Revision, Sync: "synced"}
		switch {
		case len(p.Rejected) > 0:
			c.Sync, c.Detail = "rejected", p.Rejected
		case len(p.Stale) > 0:
			c.Sync, c.Detail = "stale", p.Stale
		}
		name := podName{p.Namespace, p.Name}
		if other, twice := out[name]; twice && other.Revision != c.Revision {
			c.Skew = "connected-to-" + other.Revision + "-and-" + c.Revision // nobody knows which is the living one
		}
		out[name] = c
	}
	return out
}

func (p *ProxyStatus) connect(c ProxyStatus) {
	p.Sync, p.Detail, p.Istiod = c.Sync, c.Detail, c.Istiod
	if c.Version != "" {
		p.Version = c.Version // what the proxy says of itself beats the name of its image (R§1.5)
	}
	p.Skew = c.Skew
	if c.Revision != p.Revision && c.Skew == "" {
		p.Skew = "connected-to-" + c.Revision
	}
}

// skew says how a proxy differs from the control plane that injected it.
func skew(p ProxyStatus, versions map[string]string) string {
	v, ok := versions[p.Revision]
	switch {
	case !ok:
		return "no-such-revision"
	case p.Version == "" || v == "" || p.Version == v:
		return ""
	}
	return "version"
}

// gets names what the injectors would make of a new pod, in a word for a column.
func gets(i mesh.Injection) string {
	switch {
	case i.None():
		return none
	case i.Conflict:
		return "conflict"
	}
	return i.Revision
}
