package proxy //nolint:testpackage // routing has no exported face

import (
	"net/http"
	"testing"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

func TestHeadersMatch(t *testing.T) {
	exact := func(name, value string) *route.HeaderMatcher {
		return &route.HeaderMatcher{Name: name, HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: value}}}}
	}
	regex := &route.HeaderMatcher{Name: "x-version", HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: &matcher.StringMatcher{
		MatchPattern: &matcher.StringMatcher_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: "v[12]"}},
	}}}
	there := &route.HeaderMatcher{Name: "cookie", HeaderMatchSpecifier: &route.HeaderMatcher_PresentMatch{PresentMatch: true}}
	jason := http.Header{"End-User": {"jason"}, "X-Version": {"v2"}}
	not := exact("end-user", "jason")
	not.InvertMatch = true
	for name, tt := range map[string]struct {
		wants []*route.HeaderMatcher
		have  http.Header
		want  bool
	}{
		"nothing is wanted":     {nil, nil, true},
		"it is":                 {[]*route.HeaderMatcher{exact("end-user", "jason"), regex}, jason, true},
		"it is another":         {[]*route.HeaderMatcher{exact("end-user", "erin")}, jason, false},
		"it is not there":       {[]*route.HeaderMatcher{exact("end-user", "jason")}, nil, false},
		"one of two":            {[]*route.HeaderMatcher{exact("end-user", "jason"), there}, jason, false},
		"all but this one":      {[]*route.HeaderMatcher{not}, jason, false},
		"all but this, another": {[]*route.HeaderMatcher{not}, http.Header{"End-User": {"erin"}}, true},
		"a method is let pass":  {[]*route.HeaderMatcher{exact(":method", "GET")}, nil, true},
	} {
		if got := headersMatch(tt.wants, tt.have); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
