package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Text writes the status as kubectl-like tables, the open upgrade last, where
// the eye is. With wide there is a line for each proxy as well.
func (s Status) Text(w io.Writer, f Format) error {
	p := &printer{w: w}
	s.revisions(p, f)
	s.tags(p)
	s.namespaces(p)
	s.workloads(p)
	if f == Wide {
		s.proxies(p)
	}
	s.frozen(p)
	s.telemetries(p)
	if s.ProxiesUnknown != "" {
		p.f("\nproxies unknown: %s\n", s.ProxiesUnknown)
	}
	p.f("\n")
	switch {
	case s.Run != nil:
		s.Run.text(p)
	case s.RunUnknown != "":
		p.f("upgrade unknown: %s\n", s.RunUnknown)
	default:
		p.f("no upgrade is under way\n")
	}
	return p.err
}

// frozen are Gateways that take no new listener: nobody notices by themselves.
func (s Status) frozen(p *printer) {
	if len(s.Frozen) == 0 {
		return
	}
	p.f("\n")
	t := newTable("NAMESPACE", "FROZEN-GATEWAY", "BY", "SINCE", "NEXT")
	for _, g := range s.Frozen {
		since := g.Since
		if g.Overdue {
			since += " (OVERDUE)"
		}
		t.add(g.Namespace, g.Name, g.By, since, g.Next)
	}
	t.print(p)
}

// telemetries are what has access logs written for a while, or was left to.
func (s Status) telemetries(p *printer) {
	if len(s.Telemetries) == 0 {
		return
	}
	p.f("\n")
	t := newTable("NAMESPACE", "TELEMETRY-OF-LOGS", "BY", "SINCE", "NEXT")
	for _, e := range s.Telemetries {
		t.add(e.Namespace, e.Name, e.By, e.Since, e.Next)
	}
	t.print(p)
}

func (s Status) revisions(p *printer, f Format) {
	if len(s.Revisions) == 0 {
		p.f("no control plane of Istio in namespace %s\n", s.IstioNamespace)
		return
	}
	t := newTable("REVISION", "VERSION", "READY", "TAGS", "INJECTED", "CONNECTED", "OWNER")
	if f == Wide {
		t = newTable("REVISION", "VERSION", "READY", "TAGS", "INJECTED", "CONNECTED", "OWNER", "NAMESPACE")
	}
	for _, r := range s.Revisions {
		row := []string{
			r.Revision, r.Version, ratio(r.Ready, r.Replicas), strings.Join(r.Tags, ","),
			strconv.Itoa(r.Pods), known(r.Connected), r.Owner,
		}
		if f == Wide {
			row = append(row, r.Namespace)
		}
		t.add(row...)
	}
	t.print(p)
}

func (s Status) tags(p *printer) {
	if len(s.Tags) == 0 {
		return
	}
	p.f("\n")
	t := newTable("TAG", "REVISION", "SERVICE", "VALIDATOR", "AGREE")
	for _, r := range s.Tags {
		agree := "yes"
		if !r.Agree {
			agree = "NO"
		}
		t.add(r.Tag, r.Revision, r.Service, r.Validator, agree)
	}
	t.print(p)
}

func (s Status) namespaces(p *printer) {
	if len(s.Namespaces) == 0 {
		return
	}
	p.f("\n")
	t := newTable("NAMESPACE", "LABEL", "NEW-PODS-GET", "WORKLOADS", "PODS")
	for _, n := range s.Namespaces {
		var pods []string
		for _, r := range slices.Sorted(maps.Keys(n.Pods)) {
			pods = append(pods, fmt.Sprintf("%s:%d", r, n.Pods[r]))
		}
		t.add(n.Namespace, n.Label, n.Injector, strconv.Itoa(n.Workloads), strings.Join(pods, ","))
	}
	t.print(p)
}

func (s Status) workloads(p *printer) {
	if len(s.Workloads) == 0 {
		return
	}
	p.f("\n")
	t := newTable("NAMESPACE", "WORKLOAD", "READY", "RUNS", "NEXT", "VERSION", "SYNCED", "SKEW")
	for _, w := range s.Workloads {
		name := w.Name
		if w.Kind != "Deployment" {
			name = strings.ToLower(w.Kind) + "/" + w.Name
		}
		synced := "<unknown>"
		if w.Synced != nil {
			synced = ratio(*w.Synced, w.Pods)
		}
		t.add(w.Namespace, name, ratio(w.Ready, w.Replicas), strings.Join(w.Revisions, ","), w.Next,
			strings.Join(w.Versions, ","), synced, w.Skew)
	}
	t.print(p)
}

func (s Status) proxies(p *printer) {
	if len(s.Proxies) == 0 {
		return
	}
	p.f("\n")
	t := newTable("NAMESPACE", "PROXY", "REVISION", "VERSION", "ISTIOD", "SYNC", "DETAIL", "SKEW")
	for _, x := range s.Proxies {
		istiod := x.Istiod
		if istiod == "" && x.Sync == unknown {
			istiod = "<unknown>"
		}
		t.add(x.Namespace, x.Name, x.Revision, x.Version, istiod, x.Sync, strings.Join(x.Detail, ","), x.Skew)
	}
	t.print(p)
}

func (r RunStatus) text(p *printer) {
	p.f("upgrade %s: %s -> %s %s, started by %s\n", r.ID, strings.Join(r.From, ", "), r.To, r.Version, r.By)
	t := &table{indent: "  ", gap: "  ", max: []int{8, width - 12}}
	phase := fmt.Sprintf("%s, step %d of %d: %s", r.Phase, r.Step, r.Steps, r.What)
	if r.Paused {
		phase += " (paused)"
	}
	t.add("phase", phase)
	for _, g := range r.Gates {
		t.add("gate", fmt.Sprintf("%s %s: %s", g.Gate, g.State, g.Reason))
	}
	if r.Cause != "" {
		t.add("cause", r.Cause)
	}
	if r.Sent > 0 {
		t.add("requests", fmt.Sprintf("%d sent, %d failed", r.Sent, r.Failed)+budget(r.Budget, r.Let))
	}
	if r.Holder != "" {
		t.add("driven", "by "+r.Holder)
	} else {
		t.add("driven", "by nobody now")
	}
	t.add("next", r.Next)
	t.print(p)
}

func ratio(n, of int) string { return fmt.Sprintf("%d/%d", n, of) }

func known(n *int) string {
	if n == nil {
		return "<unknown>"
	}
	return strconv.Itoa(*n)
}
