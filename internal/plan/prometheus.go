package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
)

// Prometheus is one that knows the mesh. It is asked without headers or passwords: a
// request is stored, and shown.
type Prometheus struct {
	URL     string   `json:"url,omitempty"`     // http://address:port/prefix, as the process that drives the run reaches it
	Service string   `json:"service,omitempty"` // or namespace/name:port of its Service, by a port-forward
	Queries []Query  `json:"queries,omitempty"` // the user's own
	Without []string `json:"without,omitempty"` // names of serin's own that are not asked
}

// Query is a question to it, and what is well. In its text $version is the release
// that the step leads to, $revision its revision, $workloads and $namespaces
// expressions for =~ that fit what the step moves, and $range the time since the
// step began, a minute at least.
type Query struct {
	Name        string   `json:"name"`
	Query       string   `json:"query"`
	AtMost      *float64 `json:"atMost,omitempty"`
	AtLeast     *float64 `json:"atLeast,omitempty"`
	TimesBefore float64  `json:"timesBefore,omitempty"` // no more than so many times what it was as the step began
	By          float64  `json:"by,omitempty"`          // more by this is let pass as well
}

// Bounds are what is well.
func (q Query) Bounds() gate.Bounds {
	return gate.Bounds{AtMost: q.AtMost, AtLeast: q.AtLeast, TimesBefore: q.TimesBefore, By: q.By}
}

// DefaultQueries are serin's own about the istiods. An istiod that has counted no
// error has no series of them: one that is scraped says that there was none.
func DefaultQueries() []Query {
	none, slow := 0.0, 10.0
	pilot := ` * on (instance) group_left() max by (instance) (istio_build{component="pilot",tag=~"$version.*"})`
	count := func(metric string) string {
		return "sum(increase(" + metric + "[$range])" + pilot + `) or 0 * count(istio_build{component="pilot",tag=~"$version.*"})`
	}
	return []Query{
		{Name: "istiod-push-errors", Query: count("pilot_total_xds_internal_errors"), AtMost: &none},
		{Name: "istiod-rejects", Query: count("pilot_total_xds_rejects"), AtMost: &none},
		{
			Name:   "istiod-convergence", // seconds that 99 of 100 pushes take; none where nothing is pushed
			Query:  "(histogram_quantile(0.99, sum by (le) (rate(pilot_proxy_convergence_time_bucket[$range])" + pilot + `)) >= 0) or 0 * count(istio_build{component="pilot",tag=~"$version.*"})`,
			AtMost: &slow,
		},
	}
}

// Asks are serin's own queries that are not left out, and the user's.
func (p Prometheus) Asks() []Query {
	return append(slices.DeleteFunc(DefaultQueries(), func(q Query) bool { return !p.Wants(q.Name) }), p.Queries...)
}

// Wants says whether something of serin's own is asked.
func (p Prometheus) Wants(name string) bool { return !slices.Contains(p.Without, name) }

// ServiceName is the Service's namespace, name and port.
func (p Prometheus) ServiceName() (string, string, string) {
	m := serviceName.FindStringSubmatch(p.Service)
	if m == nil {
		return "", "", ""
	}
	return m[1], m[2], m[3]
}

var serviceName = regexp.MustCompile(`^([a-z0-9-]+)/([a-z0-9-]+):([a-z0-9-]+)$`)

// judgePrometheus refuses what could not be asked.
func (b *builder) judgePrometheus() {
	if b.req.Prometheus == nil {
		return
	}
	if why := b.req.Prometheus.wrong(); why != "" {
		b.find(codePrometheus, Mandatory, "prometheus", why, "mend the request's prometheus")
	}
	names := map[string]bool{gate.TrafficOf: true, gate.TrafficFrom: true}
	for _, q := range DefaultQueries() {
		names[q.Name] = true
	}
	for _, name := range b.req.Prometheus.Without {
		if !names[name] {
			b.find(codePrometheus, Mandatory, "prometheus", fmt.Sprintf("without names %q: there is no such query of serin's own", name), "mend the request's prometheus")
		}
	}
	for i, q := range b.req.Prometheus.Queries {
		why := q.wrong()
		if why == "" && names[q.Name] {
			why = "another query has this name"
		}
		names[q.Name] = true
		if why != "" {
			b.find(codePrometheus, Mandatory, fmt.Sprintf("query %d %s", i+1, q.Name), why, "mend the request's prometheus")
		}
	}
}

func (p Prometheus) wrong() string {
	_, name, _ := p.ServiceName()
	switch {
	case (p.URL == "") == (p.Service == ""):
		return "it has to have one of url and service"
	case p.Service != "" && name == "":
		return fmt.Sprintf("its service is %q: it is written as monitoring/prometheus:9090", p.Service)
	case p.URL != "":
		return wrongURL(p.URL, "http://prometheus.example.com:9090", "")
	}
	return ""
}

func (q Query) wrong() string {
	switch {
	case q.Name == "" || strings.TrimSpace(q.Query) == "":
		return "it has to have a name and a query"
	case q.AtMost == nil && q.AtLeast == nil && q.TimesBefore == 0:
		return "it has no bounds: one of atMost, atLeast and timesBefore"
	case q.TimesBefore < 0 || q.By < 0:
		return "timesBefore and by cannot be negative"
	case q.By > 0 && q.TimesBefore == 0:
		return "by needs timesBefore"
	}
	return ""
}
