package view

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// gatewayRow is a gateway as `gateway list` shows it.
type gatewayRow struct {
	mesh.Gateway
	Upgrade string `json:"upgrade"` // what would happen to it
}

// Gateways writes each gateway with its shape, what reaches it, what it serves,
// what it runs and follows, and what an upgrade would make of it.
func Gateways(w io.Writer, s mesh.Snapshot, namespace string, f Format) error {
	rows := []gatewayRow{}
	for _, g := range s.Gateways() {
		if namespace == "" || g.Ref.Namespace == namespace {
			rows = append(rows, gatewayRow{g, plan.Outlook(s, g)})
		}
	}
	if f == JSON || f == YAML {
		return Encode(w, f, rows)
	}
	p := &printer{w: w}
	if len(rows) == 0 {
		p.f("no gateways\n")
		return p.err
	}
	t := newTable("NAMESPACE", "NAME", "SHAPE", "ROLE", "READY", "REVISION", "VERSION", "FOLLOWS", "OWNER")
	t.gap = "  "
	for _, r := range rows {
		t.add(r.Ref.Namespace, r.Ref.Name, string(r.Shape), string(r.Role), ratio(r.Ready, r.Replicas), strings.Join(r.Revisions, ","), strings.Join(r.Versions, ","), r.Follows, owner(r.Owner))
	}
	t.print(p)
	for _, r := range rows {
		r.print(p)
	}
	return p.err
}

func (r gatewayRow) print(p *printer) {
	p.f("\n%s\n", r.Ref)
	for _, svc := range r.Services {
		p.f("  reached by   %s\n", reached(svc))
	}
	for _, o := range r.Serves {
		p.f("  serves       %s: %s\n", o, listeners(o))
	}
	if len(r.Beside) > 0 {
		p.f("  beside       %s\n", refs(r.Beside))
	}
	if r.Held > 0 {
		p.f("  held         %s out of the Service by the readiness gate %s\n", mesh.Count(r.Held, "pod"), mesh.ProvenGate)
	}
	p.f("  an upgrade   %s\n", r.Upgrade)
	for _, q := range r.Questions {
		p.f("  question     %s\n", q)
	}
}

func refs(list []mesh.Ref) string {
	var out []string
	for _, r := range list {
		out = append(out, r.String())
	}
	return strings.Join(out, ", ")
}

// reached is a Service, its type, addresses and ports.
func reached(s mesh.Service) string {
	addresses := s.Addresses
	if len(addresses) == 0 && s.ClusterIP != "" {
		addresses = []string{s.ClusterIP}
	}
	var ports []string
	for _, p := range s.Ports {
		text := strconv.Itoa(p.Port)
		if p.NodePort != 0 {
			text += fmt.Sprintf(":%d", p.NodePort)
		}
		ports = append(ports, text)
	}
	return fmt.Sprintf("service %s/%s (%s) %s, ports %s", s.Namespace, s.Name, s.Type, cmp.Or(strings.Join(addresses, ","), none), cmp.Or(strings.Join(ports, ","), none))
}

// listeners are what a Gateway opens: ports, protocols and hosts.
func listeners(o mesh.GatewayObject) string {
	var out []string
	for _, l := range o.Listeners {
		hosts := slices.Clone(l.Hosts)
		if len(hosts) == 0 {
			hosts = []string{"*"}
		}
		if len(hosts) > 3 {
			hosts = append(hosts[:3], fmt.Sprintf("%d more", len(l.Hosts)-3))
		}
		out = append(out, fmt.Sprintf("%d %s %s", l.Port, l.Protocol, strings.Join(hosts, ",")))
	}
	return cmp.Or(strings.Join(out, "; "), none)
}

// GatewayTest writes how a gateway compares with the one beside it.
func GatewayTest(w io.Writer, g, beside mesh.Ref, verdicts []gate.Verdict) error {
	p := &printer{w: w}
	p.f("%s compared with %s\n", g, beside)
	for _, v := range verdicts {
		p.f("  %-8s %-8s %s\n", v.Gate, v.State, v.Reason)
	}
	return p.err
}
