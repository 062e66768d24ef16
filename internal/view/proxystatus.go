package view

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/serin-mesh/serin/internal/xds"
)

// ProxyReport is what each proxy is connected to, as text.
type ProxyReport struct {
	xds.Report
	Now     time.Time // ages are counted from here
	Verbose bool      // a column for each type, as istioctl proxy-status -v 1
	Detail  bool      // and a line for each type
}

// Text writes the proxies under istioctl's columns and ours. Wide adds what is
// known of the istiods and of the revisions.
func (r ProxyReport) Text(w io.Writer, f Format) error {
	p := &printer{w: w}
	r.proxies().print(p)
	if r.Detail {
		r.types(p)
	}
	if f == Wide {
		p.f("\n")
		t := newTable("REVISION", "DESIRED", "INJECTED", "CONNECTED")
		for _, c := range r.Revisions {
			t.add(c.Revision, strconv.Itoa(c.Desired), strconv.Itoa(c.Actual), strconv.Itoa(c.Connected))
		}
		t.print(p)
		p.f("\n")
		t = newTable("ISTIOD", "REVISION", "VERSION", "PROXIES", "ERROR")
		for _, i := range r.Istiods {
			t.add(i.Pod, i.Revision, i.Version, strconv.Itoa(i.Proxies), i.Error)
		}
		t.print(p)
	}
	return p.err
}

// proxies are istioctl's columns, then ours. An istiod that did not answer comes
// first: what it would have said is missing from all that follows.
func (r ProxyReport) proxies() *table {
	t := newTable(r.cells("NAME", "CLUSTER", "ISTIOD", "VERSION", nil, "REVISION", "DESIRED", "SYNC", "NOTE")...)
	for _, i := range r.Istiods {
		if i.Error != "" {
			t.add(r.cells("", "", i.Pod, i.Version, &xds.Row{}, i.Revision, "", "no answer", i.Error)...)
		}
	}
	for _, x := range r.Proxies {
		sync := string(x.Sync)
		if len(x.Why) > 0 {
			sync += ": " + strings.Join(x.Why, ", ")
		}
		t.add(r.cells(x.ID(), x.Cluster, x.Istiod, x.Version, &x, x.Actual, x.Desired, sync, x.Note)...)
	}
	return t
}

// cells puts the types where istioctl has them: after the version, or between the
// cluster and the istiod. Without a row they are headings.
func (r ProxyReport) cells(name, cluster, istiod, version string, x *xds.Row, more ...string) []string { //nolint:revive // a row's cells
	if !r.Verbose {
		types := "SUBSCRIBED TYPES"
		if x != nil {
			types = subscribed(*x)
		}
		return append([]string{name, cluster, istiod, version, types}, more...)
	}
	cells := []string{name, cluster}
	for _, n := range xds.Columns(r.Proxies) {
		if x != nil {
			n = r.state(*x, n)
		}
		cells = append(cells, n)
	}
	return append(append(cells, istiod, version), more...)
}

func subscribed(x xds.Row) string {
	switch {
	case x.Istiod == "":
		return ""
	case len(x.Subscribed) == 0:
		return "0"
	}
	return fmt.Sprintf("%d (%s)", len(x.Subscribed), strings.Join(x.Subscribed, ","))
}

// state is what istioctl says of a type: IGNORED if the proxy did not ask for it.
func (r ProxyReport) state(x xds.Row, name string) string {
	for _, t := range x.Types {
		switch {
		case t.Name != name:
		case t.State == xds.NotSent || t.Sent.IsZero():
			return string(t.State)
		default:
			return fmt.Sprintf("%s (%s)", t.State, r.age(t))
		}
	}
	if x.Istiod == "" {
		return ""
	}
	return "IGNORED"
}

func (r ProxyReport) age(t xds.Type) string { return duration.HumanDuration(r.Now.Sub(t.Sent)) }

// types is a table of each proxy's types.
func (r ProxyReport) types(p *printer) {
	for _, x := range r.Proxies {
		if len(x.Types) == 0 {
			continue
		}
		p.f("\n")
		t := newTable("TYPE", "STATE", "SENT", "WHY")
		for _, typ := range x.Types {
			sent := ""
			if !typ.Sent.IsZero() {
				sent = r.age(typ) + " ago"
			}
			t.add(typ.Name, string(typ.State), sent, typ.Error)
		}
		t.print(p)
	}
}
