package shadow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
)

// About is what a move stands on.
type About string

// What a move stands on, in the order in which it is shown.
const (
	Certificates About = "certificates" // one root in both revisions
	Space        About = "room"         // the pods that come fit beside those that are there
	Server       About = "api-server"   // it answers in time
	Istiods      About = "istiod"       // the new one answers in time
)

// Ground is what was seen of it, where there is something to say.
type Ground struct {
	Class Class  `json:"class"`
	About About  `json:"about"`
	Said  string `json:"said"`
}

// Facts are what was looked at, to be judged.
type Facts struct {
	Istiods   []Certified         // of both revisions
	Trusted   map[string][]string // namespace -> the roots that its pods verify istiod by
	Needs     []Need
	Waiting   []string        // istiods of the new revision that no node has room for
	Reads     []time.Duration // answers of the API server
	Admission []time.Duration // of dry-run pods through all that admits them
	Injection Pace
	Answers   Pace             // whole configurations
	Unseen    map[About]string // what could not be looked at, and why
}

// Certified is an istiod and the root that its certificate comes from.
type Certified struct {
	Revision string
	Pod      string
	Root     string // of the roots in its own namespace; empty when it comes from none of them
	Issuer   string
}

// Need is a pod that a move makes before another goes.
type Need struct {
	Object string
	Asks   mesh.Room
	Nodes  int // that may take it, by their taints and its selector
	Fit    int // of those, how many have the room now
}

// Pace is how long the new revision took, and the old one for the same.
type Pace struct{ New, Old []time.Duration }

// What is slow. An injector of Istio's charts is given up on after ten seconds,
// and a pod that nobody injects is not made; a second is what Kubernetes promises
// of its API (its service level objectives). Where the old revision is slow too, as
// on a busy machine, only one that is several times slower says something.
const (
	slowRead   = time.Second
	slowInject = time.Second
	slowConfig = 3 * time.Second
	givesUp    = 10 * time.Second
	slower     = 4
)

// Stands judges what a move stands on.
func Stands(q Question, f Facts) []Ground {
	out := slices.Concat(rooted(q, f), spaced(f), inTime(q, f))
	for about, why := range f.Unseen {
		out = append(out, Ground{Unexplained, about, why})
	}
	slices.SortStableFunc(out, func(a, b Ground) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Classes(), a.Class), slices.Index(Classes(), b.Class)),
			cmp.Compare(slices.Index(abouts(), a.About), slices.Index(abouts(), b.About)), cmp.Compare(a.Said, b.Said),
		)
	})
	return out
}

func abouts() []About { return []About{Certificates, Space, Server, Istiods} }

// rooted wants every istiod's certificate to come from one root, and the namespaces
// that move to have it: proxies of two roots refuse each other, and a proxy that
// cannot verify its istiod never starts.
func rooted(q Question, f Facts) []Ground {
	var out []Ground
	roots := map[string][]string{} // by revision
	for _, c := range f.Istiods {
		if c.Root == "" {
			out = append(out, Ground{Dangerous, Certificates, fmt.Sprintf(
				"the certificate of istiod %s of revision %s comes from no root that the mesh trusts (%s)\n  remedy: give both revisions the same Secret cacerts, or istio-ca-secret",
				c.Pod, c.Revision, c.Issuer)})
		}
		roots[c.Revision] = append(roots[c.Revision], cmp.Or(c.Root, "another root: "+c.Issuer))
	}
	older, newer := distinct(roots[q.Old.Revision]), distinct(roots[q.New.Revision])
	if len(out) == 0 && len(older) > 0 && len(newer) > 0 && !slices.Equal(older, newer) {
		out = append(out, Ground{Dangerous, Certificates, fmt.Sprintf("certificates of %s come from another root than those of %s", q.New.Revision, q.Old.Revision)})
	}
	for _, ns := range sorted(f.Trusted) {
		for _, root := range newer {
			if !slices.Contains(f.Trusted[ns], root) && !strings.HasPrefix(root, "another root: ") {
				out = append(out, Ground{Dangerous, Certificates, fmt.Sprintf("pods of namespace %s would not trust the istiods of %s: its root is not in ConfigMap istio-ca-root-cert there", ns, q.New.Revision)})
			}
		}
	}
	return out
}

func distinct(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

// spaced wants room. That a node may come by itself nobody can see from here, so a
// person is asked.
func spaced(f Facts) []Ground {
	var out []Ground
	if len(f.Waiting) > 0 {
		out = append(out, Ground{Unexplained, Space, fmt.Sprintf("no node has room for istiod %s\n  remedy: add a node, or lower pilot.resources", strings.Join(f.Waiting, ", "))})
	}
	for _, n := range f.Needs {
		if n.Fit == 0 {
			out = append(out, Ground{Unexplained, Space, fmt.Sprintf(
				"none of the %s that may take a pod of %s has room for one more, of %dm CPU and %d MiB\n  remedy: add a node; where nodes are added by themselves, approve",
				mesh.Count(n.Nodes, "node"), n.Object, n.Asks.CPU, n.Asks.Memory)})
		}
	}
	return out
}

// inTime wants answers in time.
func inTime(q Question, f Facts) []Ground {
	var out []Ground
	if t := middle(f.Reads); t >= slowRead {
		out = append(out, Ground{Unexplained, Server, "the API server takes " + t.Round(time.Millisecond).String() + " to answer a read"})
	}
	if t := middle(f.Admission); t >= givesUp/2 {
		out = append(out, Ground{Dangerous, Server, fmt.Sprintf("a pod takes %s to be admitted; webhooks are given up on after %s", t.Round(time.Millisecond), givesUp)})
	}
	for _, p := range []struct {
		what string
		Pace
		limit time.Duration
	}{{"inject a pod", f.Injection, slowInject}, {"answer a proxy", f.Answers, slowConfig}} {
		newer, older := middle(p.New), middle(p.Old)
		if newer < p.limit || newer < slower*older {
			continue
		}
		g := Ground{Unexplained, Istiods, fmt.Sprintf("the istiod of %s takes %s to %s, that of %s %s", q.New.Revision, newer.Round(time.Millisecond), p.what, q.Old.Revision, older.Round(time.Millisecond))}
		if p.limit == slowInject && newer >= givesUp/2 {
			g.Class, g.Said = Dangerous, g.Said+fmt.Sprintf("; it is given up on after %s", givesUp)
		}
		out = append(out, g)
	}
	return out
}

// middle is the median, so that one answer that was late by chance says nothing.
func middle(ts []time.Duration) time.Duration {
	if len(ts) == 0 {
		return 0
	}
	ts = slices.Clone(ts)
	slices.Sort(ts)
	return ts[len(ts)/2]
}
