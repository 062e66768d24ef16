package proxy

import (
	"net/http"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

func pathMatches(m *route.RouteMatch, path string) bool {
	switch {
	case m.GetPath() != "":
		return path == m.GetPath()
	case m.GetPathSeparatedPrefix() != "":
		return path == m.GetPathSeparatedPrefix() || strings.HasPrefix(path, m.GetPathSeparatedPrefix()+"/")
	case m.GetPrefix() != "":
		return strings.HasPrefix(path, m.GetPrefix())
	case m.GetSafeRegex() != nil:
		return regexMatches(m.GetSafeRegex().GetRegex(), path)
	}
	return true
}

// headersMatch says whether all that a route wants of headers holds. A pseudo header,
// ":method", is not known here and is let pass.
func headersMatch(wanted []*route.HeaderMatcher, have http.Header) bool {
	for _, w := range wanted {
		if strings.HasPrefix(w.GetName(), ":") {
			continue
		}
		values := have.Values(w.GetName())
		var holds bool
		switch s := w.GetStringMatch(); {
		case s != nil:
			holds = len(values) > 0 && textMatches(s, strings.Join(values, ","))
		default: // that it is there, or not
			holds = len(values) > 0 == w.GetPresentMatch()
		}
		if holds == w.GetInvertMatch() {
			return false
		}
	}
	return true
}

func textMatches(m *matcher.StringMatcher, text string) bool {
	switch p := m.GetMatchPattern().(type) {
	case *matcher.StringMatcher_Exact:
		return text == p.Exact
	case *matcher.StringMatcher_Prefix:
		return strings.HasPrefix(text, p.Prefix)
	case *matcher.StringMatcher_Suffix:
		return strings.HasSuffix(text, p.Suffix)
	case *matcher.StringMatcher_Contains:
		return strings.Contains(text, p.Contains)
	case *matcher.StringMatcher_SafeRegex:
		return regexMatches(p.SafeRegex.GetRegex(), text)
	}
	return false
}
