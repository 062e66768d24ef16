package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

func filters(s mesh.Snapshot) []mesh.EnvoyFilter {
	if s.Survey == nil {
		return nil
	}
	return s.Survey.EnvoyFilters
}

func filterName(f mesh.EnvoyFilter) string { return "envoyfilter " + f.Namespace + "/" + f.Name }

// proxyVersion finds matches on the proxy's version that take today's proxies and
// not tomorrow's: such a patch disappears from a workload as it restarts.
func proxyVersion(s mesh.Snapshot, q Question) []Finding {
	if q.To == "" {
		return nil
	}
	var out []Finding
	for _, f := range filters(s) {
		for _, pattern := range f.ProxyVersions {
			re, err := regexp.Compile(pattern)
			switch {
			case err != nil:
				out = append(out, Finding{codeProxyVersion, Warning, filterName(f), fmt.Sprintf("its proxyVersion %q cannot be read: %v", pattern, err), "mend the expression"})
			case re.MatchString(q.To):
			case slices.ContainsFunc(q.From, func(rev string) bool { c, _ := s.ControlPlane(rev); return re.MatchString(c.Version) }):
				out = append(out, Finding{
					codeProxyVersion, Overridable, filterName(f), fmt.Sprintf("its proxyVersion %q matches today's proxies and not those of %s: its patch goes as workloads restart", pattern, q.To),
					"add a patch that matches " + q.To + " and was tried there",
				})
			}
		}
	}
	return out
}

// relative finds patches that stand before or after a filter by name: where the
// neighbour is gone or renamed they are dropped without a word.
func relative(s mesh.Snapshot, _ Question) []Finding {
	var out []Finding
	for _, f := range filters(s) {
		if len(f.Relative) == 0 {
			continue
		}
		reason := "its operation " + strings.Join(f.Relative, ", ") + " needs another filter to be there"
		if len(f.ProxyVersions) > 0 {
			reason += ", and its proxyVersion narrows it further"
		}
		out = append(out, Finding{codeRelative, Warning, filterName(f), reason, "use INSERT_FIRST or ADD, or look at a restarted proxy's filters"})
	}
	return out
}

// removedTypes finds what the target's Envoy does not know: the proxy then
// refuses the whole listener or cluster.
func removedTypes(s mesh.Snapshot, q Question) []Finding {
	if q.To == "" {
		return nil
	}
	var out []Finding
	for _, f := range filters(s) {
		for _, name := range slices.Concat(f.Types, f.Filters) {
			if r, gone := skew.Removed(name, q.To); gone {
				out = append(out, Finding{
					codeRemovedType, Overridable, filterName(f), fmt.Sprintf("it uses %s, which is gone since Istio %s (%s)", name, r.Since, r.Source), r.Instead,
				})
			}
		}
	}
	return out
}
