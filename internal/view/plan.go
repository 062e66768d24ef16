package view

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// Plan writes a plan as the table a person approves. next is the command that
// goes on from here; it is left out when the plan cannot go on.
func Plan(w io.Writer, pl plan.Plan, next string) error {
	p := &printer{w: w}
	p.f("%s\n", title(pl))
	if len(pl.Steps) > 0 {
		p.f("\n")
		steps(p, pl.Steps)
		methods(p, pl.Steps)
		edges(p, pl.Gateways)
	}
	if len(pl.Findings) > 0 {
		p.f("\n")
		findings(p, pl.Findings)
	}
	p.f("\n")
	for _, l := range wrap(footer(pl, next), width) {
		p.f("%s\n", l)
	}
	return p.err
}

// title is the plan's first line, or two where the names are long. A plan that
// is stopped has counted nothing.
func title(pl plan.Plan) string {
	if pl.Counts == (plan.Counts{}) {
		return heading(pl)
	}
	gap := "\n  "
	if left := width - len(heading(pl)) - len(size(pl.Counts)); left >= 2 {
		gap = strings.Repeat(" ", min(left, 6))
	}
	return heading(pl) + gap + size(pl.Counts)
}

func heading(pl plan.Plan) string {
	if op := pl.Request.Operation; op != nil {
		return op.String()
	}
	from := make([]string, len(pl.From))
	for i, r := range pl.From {
		from[i] = r
		if i < len(pl.FromVersions) {
			from[i] += " " + pl.FromVersions[i]
		}
	}
	to := "-> " + pl.To + " " + pl.Version
	if len(from) == 0 {
		return to
	}
	return strings.Join(from, ", ") + " " + to
}

func size(c plan.Counts) string {
	parts := []string{mesh.Count(c.ControlPlanes, "control plane"), mesh.Count(c.Namespaces, "namespace"), mesh.Count(c.Workloads, "workload")}
	if c.Gateways > 0 {
		parts = append(parts, mesh.Count(c.Gateways, "gateway"))
	}
	return strings.Join(append(parts, mesh.Count(c.Proxies, "proxy")), ", ")
}

func steps(p *printer, ss []plan.Step) {
	t := &table{indent: " ", gap: "  ", max: []int{2, 16, 22, 14, 21, 14}}
	t.add(" #", "step", "target", "first it needs", "then it must show", "undo")
	for _, s := range ss {
		needs := s.Needs
		if s.ByGit() {
			needs = append(slices.Clone(needs), gate.Git)
		}
		t.add(fmt.Sprintf("%2d", s.Number), Step(s), target(s), gates(needs, s, 0), gates(s.Proof, s, s.Soak), undo(s.Undo))
	}
	t.print(p)
}

// methods says which workloads are not rolled out.
func methods(p *printer, ss []plan.Step) {
	var detached, retired []string
	for _, s := range ss {
		for _, ref := range s.Detach {
			names := &detached
			if ref.Kind != mesh.KindDeployment {
				names = &retired
			}
			if name := ref.String(); !slices.Contains(*names, name) {
				*names = append(*names, name)
			}
		}
	}
	for _, m := range []struct {
		what  string
		names []string
	}{
		{"Detached, each old pod serving until another has its place, no template changed: ", detached},
		{"Retired, one pod after the other, each out of its endpoints before it goes, one fewer serving meanwhile, no template changed: ", retired},
	} {
		if len(m.names) == 0 {
			continue
		}
		p.f("\n")
		for _, l := range wrap(m.what+strings.Join(m.names, ", "), width) {
			p.f("%s\n", l)
		}
	}
}

// edges says of several gateways how each gets there, and by which steps.
func edges(p *printer, es []plan.Edge) {
	if len(es) == 0 {
		return
	}
	p.f("\n")
	t := &table{indent: " ", gap: "  ", max: []int{30, 9, 40, 16}}
	t.add("gateway", "serves", "how it moves", "steps")
	for _, e := range es {
		serves := "-"
		if e.Hosts > 0 {
			serves = mesh.Count(e.Hosts, "host")
		}
		t.add(e.Gateway, serves, way(e), ranges(e.Steps))
	}
	t.print(p)
}

// way is how a gateway moves, as its clients would ask.
func way(e plan.Edge) string {
	switch e.Kind { //nolint:exhaustive // the kinds that move gateways
	case plan.AddGateway:
		return "a second one behind the same Service, proven before clients meet it"
	case plan.MoveGateway:
		return "by itself, before anything that it follows: istiod deploys it"
	}
	return "restarts in place, new pods beside the old"
}

// ranges are numbers as people say them: 4, 6-8, 14.
func ranges(ns []int) string {
	var out []string
	for i := 0; i < len(ns); {
		j := i
		for j+1 < len(ns) && ns[j+1] == ns[j]+1 {
			j++
		}
		text := strconv.Itoa(ns[i])
		if j > i {
			text += "-" + strconv.Itoa(ns[j])
		}
		out = append(out, text)
		i = j + 1
	}
	return strings.Join(out, ", ")
}

// Step names a step in a word or two.
func Step(s plan.Step) string { //nolint:cyclop,funlen // a line for each kind
	switch s.Kind {
	case plan.PinDefault:
		return "pin default tag"
	case plan.UpgradeBase:
		return "upgrade base"
	case plan.InstallRevision:
		return "install revision"
	case plan.MoveNamespace:
		return "move namespace"
	case plan.FirstPods:
		return several("first pod", "first pods", len(s.Workloads)) + byDetaching(s)
	case plan.Restart:
		return several("restart", "restart", len(s.Workloads)) + byDetaching(s)
	case plan.MoveTag:
		return "move tag"
	case plan.RestoreLabels:
		return "restore labels"
	case plan.RemoveRevision:
		return "remove revision"
	case plan.SetTag:
		return "set tag"
	case plan.RemoveTag:
		return "remove tag"
	case plan.InstallChart:
		return "install chart"
	case plan.RemoveChart:
		if s.Behind != nil {
			return "remove gateway"
		}
		return "uninstall chart"
	case plan.RestoreRevision:
		return "restore revision"
	case plan.Surge:
		return several("one pod more", "one pod more", len(s.Workloads))
	case plan.RemoveRest:
		return "remove the rest"
	case plan.AddGateway:
		return "add gateway"
	case plan.OpenGateway, plan.ScaleGateway:
		return gatewayWay(s)
	case plan.RenewGateway:
		return "renew gateway"
	case plan.MoveGateway:
		return "move gateway"
	case plan.ReturnGateway:
		return "return gateway"
	case plan.RenderGateway:
		return "render gateway"
	case plan.DropClaims:
		return "drop claims"
	case plan.DropTelemetry:
		return "drop telemetry"
	case plan.PutBackGateway:
		return "put back gateway"
	}
	return string(s.Kind)
}

// byDetaching says how many of the step's workloads are not rolled out.
func byDetaching(s plan.Step) string {
	retired := 0
	for _, ref := range s.Detach {
		if ref.Kind != mesh.KindDeployment {
			retired++
		}
	}
	return part(len(s.Detach)-retired, len(s.Workloads), "detached") + part(retired, len(s.Workloads), "retired")
}

func part(n, all int, what string) string {
	switch n {
	case 0:
		return ""
	case all:
		return ", " + what
	}
	return fmt.Sprintf(", %d of them %s", n, what)
}

// gatewayWay says which way a gateway goes.
func gatewayWay(s plan.Step) string {
	out := s.Pods != nil && s.Pods.To < s.Pods.From
	switch {
	case s.Kind == plan.OpenGateway && out:
		return "close gateway"
	case s.Kind == plan.OpenGateway:
		return "open gateway"
	case out:
		return "drain gateway"
	}
	return "restore gateway"
}

// several names one, or how many.
func several(one, more string, n int) string {
	if n > 1 {
		return more + " (" + strconv.Itoa(n) + ")"
	}
	return one
}

// target is the step's target and, where a person would ask, where it goes.
func target(s plan.Step) string {
	if s.Kind == plan.UpgradeBase && s.Version != "" && !strings.Contains(s.Target, s.Version) {
		return s.Target + " " + s.Version
	}
	if (s.Kind == plan.PinDefault || s.Kind == plan.SetTag) && s.To != "" && !strings.Contains(s.Target, "->") {
		return s.Target + " -> " + s.To
	}
	if s.Kind == plan.RenewGateway {
		return s.Target + " at " + s.Version
	}
	if s.Kind == plan.ScaleGateway && s.Pods != nil && s.Pods.To > 0 {
		return s.Target + " " + strconv.Itoa(s.Pods.From) + " -> " + strconv.Itoa(s.Pods.To)
	}
	return s.Target
}

func gates(names []gate.Name, s plan.Step, soak plan.Duration) string {
	parts := make([]string, 0, len(names))
	for _, n := range again(names) {
		parts = append(parts, phrase(n, s))
	}
	if len(parts) == 0 {
		return "-"
	}
	text := strings.Join(parts, "; ")
	if soak > 0 {
		text += " for " + short(time.Duration(soak))
	}
	return text
}

// again leaves out what was shown when the gateway came and is asked once more
// before its pods are let in: the first of these gates says so in two words.
func again(names []gate.Name) []gate.Name {
	if !slices.Contains(names, gate.Steady) {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(n gate.Name) bool {
		return n == gate.Proxies || n == gate.SameServing || n == gate.SameAnswers
	})
}

// phrase is what a gate asks for, in the words of a plan.
func phrase(n gate.Name, s plan.Step) string { //nolint:cyclop,funlen // a line for each gate
	switch n {
	case gate.ControlPlane:
		return "istiod ready"
	case gate.Injection:
		return "dry runs get " + s.Question.Revision
	case gate.OldRevision:
		return "old one well"
	case gate.Git:
		return byGit(s)
	case gate.Tags:
		return "tags agree"
	case gate.CRDs:
		return "CRDs established"
	case gate.RolledOut:
		if s.Question.Held {
			return strconv.Itoa(s.Question.Opened) + " in the Service"
		}
		return "rolled out"
	case gate.Proxies:
		return "in sync"
	case gate.Served:
		if s.Question.MinServed == 0 { // nothing of serin's sends any: what is counted is compared
			return "served no worse"
		}
		return "served"
	case gate.Requests:
		return "requests fine"
	case gate.Metrics:
		return "metrics fine"
	case gate.NothingRefers:
		return "nothing refers to it"
	case gate.NothingLeft:
		return "nothing is left"
	case gate.Approval:
		return "approval"
	case gate.Within:
		return "in its window"
	case gate.ConfirmStart, gate.ConfirmWave, gate.Wave:
		return "hooks say yes (" + string(n) + ")"
	case gate.Prove:
		return "prove is clean"
	case gate.Steady:
		return "proven still"
	case gate.SameServing:
		return "same routes, listeners, certificates"
	case gate.SameAnswers:
		return "answers the same"
	}
	return string(n)
}

// byGit says from whose Git a step comes.
func byGit(s plan.Step) string {
	if s.Git.Kind == mesh.OwnerGit {
		return "a commit in Git"
	}
	return "a commit for " + s.Git.String()
}

func undo(u plan.Undo) string {
	switch {
	case u.Irreversible != "":
		return u.Irreversible
	case u.What != "":
		return u.What
	}
	return "-"
}

func footer(pl plan.Plan, next string) string {
	if all, over := Blocking(pl.Findings); all > 0 {
		return stopped(all, over)
	}
	if len(pl.Steps) == 0 && pl.Request.Operation != nil {
		return "Nothing to do: it is so already. Nothing was changed."
	}
	if len(pl.Steps) == 0 {
		return "Nothing to do: everything is on " + pl.To + " already. Nothing was changed."
	}
	parts := mesh.Count(len(pl.Steps), "step") + ", about " + mesh.Count(minutes(pl), "minute")
	if n := approvals(pl); n > 0 {
		parts += ", " + mesh.Count(n, "approval")
	}
	if b := pl.Request.Budget; b != nil {
		parts += ", a budget of " + mesh.Count(*b, "failed request")
	}
	parts += windows(pl.Steps)
	text := parts + ". Nothing was changed."
	if next != "" {
		text += " Next: " + next
	}
	return text
}

// windows says which steps begin only in which hours.
func windows(ss []plan.Step) string {
	var order []string
	numbers := map[string][]string{}
	for _, s := range ss {
		if !slices.Contains(s.Needs, gate.Within) {
			continue
		}
		hours := gate.InWords(s.Question.Windows)
		if len(numbers[hours]) == 0 {
			order = append(order, hours)
		}
		numbers[hours] = append(numbers[hours], strconv.Itoa(s.Number))
	}
	var out strings.Builder
	for _, hours := range order {
		word := "; step "
		if len(numbers[hours]) > 1 {
			word = "; steps "
		}
		out.WriteString(word + strings.Join(numbers[hours], ", ") + " begin only " + hours)
	}
	return out.String()
}

func stopped(all, overridable int) string {
	text := mesh.Count(all, "finding") + " in the way: there is nothing to apply. Nothing was changed."
	if overridable > 0 {
		text += fmt.Sprintf(" %d of them may be overridden: --ignore-check CODE", overridable)
	}
	return text
}

func approvals(pl plan.Plan) int {
	n := 0
	for _, s := range pl.Steps {
		if slices.Contains(s.Needs, gate.Approval) {
			n++
		}
	}
	return n
}

// minutes estimates how long the plan takes: what a deed of its kind took when
// measured, and the soaks. It is for people who plan their evening, no more.
func minutes(pl plan.Plan) int {
	var sum time.Duration
	pace := max(pl.Request.Pace, 1)
	for _, s := range pl.Steps {
		sum += time.Duration(s.Soak)
		switch s.Kind {
		case plan.InstallRevision, plan.RestoreRevision:
			sum += 40 * time.Second
		case plan.UpgradeBase, plan.RemoveRevision, plan.InstallChart, plan.RemoveChart, plan.RemoveRest, plan.AddGateway, plan.OpenGateway, plan.ScaleGateway, plan.RenewGateway, plan.ReturnGateway:
			sum += 15 * time.Second
		case plan.FirstPods, plan.Surge, plan.Restart:
			rounds := (len(s.Workloads) + pace - 1) / pace
			sum += time.Duration(rounds) * 30 * time.Second
		case plan.MoveGateway, plan.RenderGateway, plan.PutBackGateway:
			sum += 45 * time.Second // its old pods are waited for, until they have ended
		case plan.PinDefault, plan.MoveNamespace, plan.MoveTag, plan.RestoreLabels, plan.SetTag, plan.RemoveTag, plan.DropClaims, plan.DropTelemetry:
			sum += 5 * time.Second
		}
	}
	return int((sum + time.Minute - 1) / time.Minute)
}

// short writes a duration without its zero parts: 5m, 1h30m, 40s.
func short(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
