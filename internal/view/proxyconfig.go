package view

import (
	"io"
	"strings"
	"text/tabwriter"

	"github.com/serin-mesh/serin/internal/envoy"
	"github.com/serin-mesh/serin/internal/xds"
)

// ProxyConfig is part of one proxy's configuration.
type ProxyConfig struct {
	envoy.Table
	Whole     bool             // its one element is the document, not a list of it
	Bootstrap *envoy.Bootstrap // shown as lines, not as a table
	Upstream  *Upstream        // where it gets its configuration from; nil if that is not asked
}

// Upstream is where a proxy gets its configuration from.
type Upstream struct {
	DiscoveryAddress string       `json:"discoveryAddress,omitempty"`
	Istiods          []xds.Istiod `json:"connectedTo,omitempty"`
	Unknown          string       `json:"unknown,omitempty"` // why it is not known who is connected
}

// String says it in a line.
func (u Upstream) String() string {
	address := u.DiscoveryAddress
	if address == "" {
		address = unknown
	}
	return "discoveryAddress " + address + ", " + u.connected()
}

func (u Upstream) connected() string {
	var all []string
	for _, i := range u.Istiods {
		all = append(all, i.Pod+" (revision "+i.Revision+")")
	}
	switch {
	case len(all) > 0:
		return "connected to " + strings.Join(all, " and ")
	case u.Unknown != "":
		return "connected to: unknown, " + u.Unknown
	}
	return "connected to no istiod"
}

// Write writes the configuration.
func (c ProxyConfig) Write(w io.Writer, f Format) error {
	if f == Text {
		return c.text(w)
	}
	if c.Upstream != nil {
		c.annotate()
	}
	if c.Whole {
		return Encode(w, f, c.Elements[0])
	}
	if c.Elements == nil {
		c.Elements = []map[string]any{}
	}
	return Encode(w, f, c.Elements)
}

// annotate writes the upstream into the element that leads there. What istioctl
// writes stays as it is.
func (c ProxyConfig) annotate() {
	for _, e := range c.Elements {
		if e["name"] == envoy.XDS {
			e["serin"] = c.Upstream
		}
	}
}

func (c ProxyConfig) text(w io.Writer) error {
	p := &printer{w: w}
	switch {
	case c.Bootstrap != nil:
		return c.lines(w)
	case len(c.Rows) == 0 && c.Whole:
		return nil // who asked has been told
	}
	t := newTable(c.Heads...)
	for _, r := range c.Rows {
		t.add(r...)
	}
	t.print(p)
	if c.Upstream != nil {
		p.f("\n%s: %s\n", envoy.XDS, c.Upstream)
	}
	return p.err
}

// lines are what a proxy was started with, in istioctl's words.
func (c ProxyConfig) lines(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 1, ' ', 0)
	p := &printer{w: t}
	for _, l := range [][2]string{
		{"Istio Version:", c.Bootstrap.IstioVersion},
		{"Istio Proxy Version:", c.Bootstrap.ProxyVersion},
		{"Envoy Version:", c.Bootstrap.EnvoyVersion},
		{"Discovery Address:", c.Bootstrap.DiscoveryAddress},
	} {
		if l[1] != "" {
			p.f("%s\t%s\n", l[0], l[1])
		}
	}
	if c.Upstream != nil {
		p.f("Connected To:\t%s\n", strings.TrimPrefix(c.Upstream.connected(), "connected to "))
	}
	if p.err != nil {
		return p.err
	}
	return t.Flush()
}
