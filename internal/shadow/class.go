package shadow

import (
	"slices"
	"strings"
)

// Class says what a difference means for a move.
type Class string

// The classes, the worst first.
const (
	Dangerous   Class = "dangerous"   // it may lose or expose traffic
	Unexplained Class = "unexplained" // nobody has said what it is
	Expected    Class = "expected"    // a rule explains it
)

// Classes returns every class, the worst first.
func Classes() []Class { return []Class{Dangerous, Unexplained, Expected} }

// danger says why a change is dangerous, or nothing.
func danger(c change, s Sides) string {
	if c.kind == Pods {
		return dangerousPod(c, s)
	}
	if c.op == Rejected {
		return "Envoy would reject it"
	}
	if c.op == Added && strings.HasSuffix(c.path, "filterChains[]") && c.resource == inbound && !encrypted(c.to) {
		return "the mTLS mode changes: plaintext would be accepted"
	}
	if c.op == Removed {
		if why := lost(c); why != "" {
			return why
		}
	}
	if c.kind == Endpoints && c.path == "endpoints" {
		return "every endpoint is gone"
	}
	return guarded(c)
}

// inbound is the listener for what comes to a pod.
const inbound = "virtualInbound"

func encrypted(chain any) bool {
	m, _ := chain.(map[string]any)
	return m["transportSocket"] != nil
}

func dangerousPod(c change, s Sides) string {
	if c.op == Rejected {
		return "the pod would not be created"
	}
	return otherProxy(c, s)
}

// otherProxy says whether the pod would get a proxy of another version than the
// revision's. Of an image that names none nothing is known.
func otherProxy(c change, s Sides) string {
	image := text(c.to)
	if c.path != "spec.containers[istio-proxy].image" || c.op != Changed || strings.Contains(image, "@") {
		return ""
	}
	if tag := image[strings.LastIndexByte(image, ':')+1:]; !strings.HasPrefix(tag, s.New.Version) {
		return "the proxy would not be of version " + s.New.Version
	}
	return ""
}

// lost says what is gone with a value.
func lost(c change) string {
	if c.path == "" {
		return map[Kind]string{
			Clusters: "a cluster is gone", Endpoints: "the endpoints of a cluster are gone", Listeners: "a listener is gone",
			Routes: "a route table is gone", Extensions: "the configuration of a filter is gone", Names: "the DNS names are gone",
		}[c.kind]
	}
	for _, g := range []struct{ end, why string }{
		{"virtualHosts[]", "a host is gone"},
		{"virtualHosts", "the hosts are gone"},
		{"domains[]", "a host is gone"},
		{"routes[]", "a route is gone"},
		{"routes", "the routes are gone"},
		{"filterChains[]", "a filter chain is gone"},
		{"filterChains", "the filter chains are gone"},
		{"table[]", "a DNS name is gone"},
	} {
		if c.path == g.end || strings.HasSuffix(c.path, "."+g.end) {
			return g.why
		}
	}
	for _, list := range []string{"httpFilters[", "filters[", "listenerFilters["} {
		if i := strings.LastIndex(c.path, list); i >= 0 && strings.HasSuffix(c.path, "]") && !strings.Contains(c.path[i:], "].") {
			return "a filter is gone"
		}
	}
	return ""
}

// guards are the protections a change may touch, by the words in its place.
func guards() map[string]string {
	const rbac, external, authn, certificate, mtls = "an authorization rule changes", "external authorization changes",
		"the authentication of requests changes", "a certificate changes", "the mTLS mode changes"
	return map[string]string{
		"rbac": rbac, "shadowRules": rbac, "RBAC": rbac, "RBACPerRoute": rbac,
		"authz": external, "ExtAuthz": external, "ExtAuthzPerRoute": external,
		"authn": authn, "JwtAuthentication": authn,
		"tlsCertificates": certificate, "tlsCertificateSdsSecretConfigs": certificate, "validationContext": certificate,
		"combinedValidationContext": certificate, "validationContextSdsSecretConfig": certificate,
		"transportSocket": mtls, "transportSocketMatches": mtls, "requireClientCertificate": mtls, "tlsMode": mtls,
		"UpstreamTlsContext": mtls, "DownstreamTlsContext": mtls,
	}
}

// guarded says which protection a change touches, whatever became of it.
func guarded(c change) string {
	if why := guard(c.path); why != "" {
		return why
	}
	if strings.Contains(c.path, "filterChainMatch") {
		return "what a filter chain accepts changes"
	}
	if c.op == Added && isWhole(c.path) {
		return ""
	}
	// A field that comes or goes may carry a protection inside, as a route's own
	// configuration of the authorization filter.
	for _, v := range []any{c.from, c.to} {
		switch v.(type) {
		case map[string]any, []any:
			if why := inside(v); why != "" {
				return why
			}
		}
	}
	return ""
}

// isWhole says whether a thing came that stands for itself: what was there serves on.
func isWhole(path string) bool {
	return path == "" || slices.ContainsFunc([]string{"virtualHosts[]", "routes[]", "filterChains[]", "endpoints[]"}, func(end string) bool {
		return strings.HasSuffix(path, end)
	})
}

func guard(words string) string {
	for _, part := range strings.FieldsFunc(words, func(r rune) bool { return strings.ContainsRune(".[]_/", r) }) {
		if why := guards()[part]; why != "" {
			return why
		}
	}
	return ""
}

func inside(v any) string {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sorted(v) {
			if why := guard(k); why != "" {
				return why
			}
			if why := inside(v[k]); why != "" {
				return why
			}
			if k == "@type" || k == "name" {
				if why := guard(text(v[k])); why != "" {
					return why
				}
			}
		}
	case []any:
		for _, e := range v {
			if why := inside(e); why != "" {
				return why
			}
		}
	}
	return ""
}
