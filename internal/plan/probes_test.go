package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

func withProbes(one *plan.Probe, more ...plan.Probe) plan.Plan {
	return plan.Build(meshtest.Bookinfo("1.27.0").Snapshot(), plan.Request{To: "1.29.1", Probe: one, Probes: more})
}

func TestProbes_whatCouldNotBeSent(t *testing.T) {
	second := plan.Duration(time.Second)
	for name, tt := range map[string]struct {
		probe plan.Probe
		why   string // empty: nothing
	}{
		"the one there always was": {plan.Probe{URL: "http://gateway/"}, ""},
		"all that HTTP has": {plan.Probe{
			Name: "a", URL: "https://gateway/", Host: "shop.example.com", SNI: "shop", Rate: 5, Fresh: true, HTTP2: true, Insecure: true,
			Status: []int{200, 401}, Timeout: second, Samples: 100, Slower: 2, SlowerBy: second,
		}, ""},
		"gRPC":                   {plan.Probe{URL: "grpcs://gateway:443/shop.Cart", SNI: "cart"}, ""},
		"TCP":                    {plan.Probe{URL: "tcp://gateway:6379", Send: "PING", Expect: "+PONG"}, ""},
		"no URL":                 {plan.Probe{Name: "a"}, "its url is"},
		"another scheme":         {plan.Probe{URL: "udp://gateway:53"}, "want http://address/path"},
		"a password":             {plan.Probe{URL: "http://erin:s3cret@gateway/"}, "has a password in it"},
		"a password in no URL":   {plan.Probe{URL: "http://erin:s3cret@gate way/"}, "is not one as in"},
		"no port":                {plan.Probe{URL: "tcp://gateway"}, "names no port"},
		"too many":               {plan.Probe{URL: "http://gateway/", Rate: 5000}, "its rate is 5000"},
		"too long":               {plan.Probe{URL: "http://gateway/", Timeout: 10 * second}, "its timeout is 10s"},
		"faster is no slower":    {plan.Probe{URL: "http://gateway/", Slower: 0.5}, "slower has to be more than 1"},
		"HTTP/2 of gRPC":         {plan.Probe{URL: "grpc://gateway:80", HTTP2: true}, "http2 is of http"},
		"a status of TCP":        {plan.Probe{URL: "tcp://gateway:80", Status: []int{200}}, "status is of http"},
		"no status":              {plan.Probe{URL: "http://gateway/", Status: []int{2}}, "2 is no status"},
		"an answer of HTTP":      {plan.Probe{URL: "http://gateway/", Expect: "hello"}, "send and expect are of tcp"},
		"fresh TCP":              {plan.Probe{URL: "tcp://gateway:80", Fresh: true}, "a connection of its own"},
		"a host of TCP":          {plan.Probe{URL: "tcp://gateway:80", Host: "shop"}, "which tcp does not"},
		"trust without TLS":      {plan.Probe{URL: "http://gateway/", CA: "x"}, "are of https"},
		"trust of two kinds":     {plan.Probe{URL: "https://gateway/", CA: "x", Insecure: true}, "one of ca and insecure"},
		"trust that is no trust": {plan.Probe{URL: "https://gateway/", CA: "x"}, "no certificate in PEM"},
	} {
		p := withProbes(&tt.probe)
		var found []string
		for _, f := range p.Findings {
			if f.Code == "SRN1077" {
				found = append(found, f.Reason)
			}
		}
		switch {
		case tt.why == "" && (len(found) > 0 || len(p.Steps) == 0):
			t.Errorf("%s: %q, %d steps", name, found, len(p.Steps))
		case tt.why != "" && (len(found) != 1 || !strings.Contains(found[0], tt.why) || len(p.Steps) > 0):
			t.Errorf("%s: %q, want %q; %d steps", name, found, tt.why, len(p.Steps))
		}
		if strings.Contains(strings.Join(found, ""), "s3cret") {
			t.Errorf("%s shows the password: %q", name, found)
		}
	}
}

// Where one stood by itself it is a list of one.
func TestProbes_oneIsAListOfOne(t *testing.T) {
	one, list := withProbes(&plan.Probe{URL: "http://gateway/"}), withProbes(nil, plan.Probe{URL: "http://gateway/"})
	if d := cmp.Diff(one.Request.Sends(), list.Request.Sends()); d != "" || one.Request.Sends()[0].Rate != 20 {
		t.Errorf("%+v: %s", one.Request.Sends(), d)
	}
	if d := cmp.Diff(one.Steps, list.Steps); d != "" || len(one.Steps) == 0 {
		t.Errorf("%d steps, and other ones: %s", len(one.Steps), d)
	}
	if len(withProbes(&plan.Probe{URL: "http://gateway/"}, plan.Probe{URL: "http://gateway/"}).Steps) > 0 {
		t.Error("two of one name are planned with")
	}
	many := make([]plan.Probe, 21)
	for i := range many {
		many[i] = plan.Probe{URL: "http://gateway/" + strings.Repeat("a", i)}
	}
	if len(withProbes(nil, many...).Steps) > 0 {
		t.Error("21 probes are planned with")
	}
}
