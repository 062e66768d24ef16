package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/check"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// Verb says which single operation is asked for.
type Verb string

// The single operations: what people do by hand, one at a time.
const (
	TagSet    Verb = "tag-set"
	TagRemove Verb = "tag-remove"
	TagRepair Verb = "tag-repair"
	Move      Verb = "move"
	Roll      Verb = "restart"
	Install   Verb = "install"
	Uninstall Verb = "uninstall"

	GatewayAdd     Verb = "gateway-add"
	GatewayShift   Verb = "gateway-shift"
	GatewayDrain   Verb = "gateway-drain"
	GatewayRestore Verb = "gateway-restore"
	GatewayRemove  Verb = "gateway-remove"
	GatewayRenew   Verb = "gateway-renew"
	Repair         Verb = "repair"
)

// Operation is one thing to do by itself. It is planned as an upgrade is: steps
// of the same kinds, with the same gates, undo and journal (ADR 11).
type Operation struct {
	Verb        Verb     `json:"verb"`
	Tags        []string `json:"tags,omitempty"`        // tag-set, tag-remove, tag-repair
	Revision    string   `json:"revision,omitempty"`    // to set tags to, to install or uninstall
	To          string   `json:"to,omitempty"`          // move: the revision or tag that the label is to name
	Namespaces  []string `json:"namespaces,omitempty"`  // move, restart; none is all for restart
	Workloads   []string `json:"workloads,omitempty"`   // restart: name, kind/name or namespace/name
	FirstPod    bool     `json:"firstPod,omitempty"`    // restart: one new pod of each, then ask
	Surge       bool     `json:"surge,omitempty"`       // restart: with FirstPod, by one replica more where that can be
	LabelsOnly  bool     `json:"labelsOnly,omitempty"`  // move: restart nothing
	WebhookName string   `json:"webhookName,omitempty"` // tag-set
	AutoInject  bool     `json:"autoInject,omitempty"`  // tag-set
	Chart       string   `json:"chart,omitempty"`       // install, uninstall: base, istiod, gateway
	Name        string   `json:"name,omitempty"`        // of the base or gateway release
	Namespace   string   `json:"namespace,omitempty"`   // of the gateway release
	Purge       bool     `json:"purge,omitempty"`       // uninstall: everything
	FromRun     string   `json:"fromRun,omitempty"`     // install istiod: the run that removed the revision
	Kept        *Kept    `json:"kept,omitempty"`        // and what it kept of it
	From        string   `json:"from,omitempty"`        // install istiod: the revision whose values are carried over
	Left        []Left   `json:"left,omitempty"`        // repair: what stored runs know of Gateways
	Pods        string   `json:"pods,omitempty"`        // gateway-shift, gateway-restore: a number, or a percentage
}

// String says the operation in the words of the command line.
func (o Operation) String() string {
	words := []string{strings.Replace(string(o.Verb), "-", " ", 1)}
	words = append(words, o.Chart, o.Name)
	if o.Purge {
		words = append(words, "the whole mesh")
	}
	words = append(words, o.Tags...)
	words = append(words, o.Workloads...)
	words = append(words, o.Pods)
	if o.Verb == Move || o.Verb == Roll {
		words = append(words, strings.Join(o.Namespaces, " "))
	}
	switch to := cmp.Or(o.To, o.Revision); {
	case to == "":
	case o.Verb == Install || o.Verb == Uninstall || o.Verb == GatewayRestore || o.Verb == GatewayRenew:
		words = append(words, to)
	default:
		words = append(words, "-> "+to)
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// The codes of findings that only single operations have.
const (
	codeNamesNoObject = "SRN1200" // what the command line names is not there
	codeTagName       = "SRN1201" // a tag's name that is none, or a revision's
	codeFollowed      = "SRN1202" // what would be left without an injector
	codeAlong         = "SRN1203" // what moves along
	codeReferenced    = "SRN1204" // what still relies on a revision that is to go (S-54)
	codeOneIstiod     = "SRN1205" // an injector that fails closed, behind a single istiod (S-16)
	codeTaken         = "SRN1206" // an install that would touch what is there
	codeOtherSpace    = "SRN1207" // outside istio-system elections do not see the default tag (S-4)
	codeNotPlanned    = "SRN1208" // an operation that this serin does not know
	codeManagedRolls  = "SRN1209" // managed Gateways that roll at once, losing requests (S-5)
	codeBaseOlder     = "SRN1210" // the CRDs are of an older release than the control plane
	codeLeaving       = "SRN1073" // pods of a revision that is to go are going already
	codeTagFlags      = "SRN1211" // a flag that moving a tag in place cannot honour
	codeOtherMesh     = "SRN1212" // an IstioOperator file for a mesh in another namespace
)

// operate plans a single operation.
func operate(s mesh.Snapshot, r Request) Plan {
	b := newBuilder(s, r)
	b.tagMoved = map[string]int{}
	p := Plan{APIVersion: APIVersion, Kind: "Plan", From: []string{}, FromVersions: []string{}, Request: b.req, Steps: []Step{}}
	b.judgeProbes()
	b.judgePrometheus()
	b.judgeSecrets()
	switch o := *r.Operation; o.Verb {
	case TagSet:
		b.opTagSet(o)
	case TagRemove:
		b.opTagRemove(o)
	case TagRepair:
		b.opTagRepair(o)
	case Move:
		b.opMove(o)
	case Roll:
		b.opRestart(o)
	case Install:
		b.opInstall(o)
	case Uninstall:
		b.opUninstall(o)
	case Repair:
		b.opRepair(o)
	case GatewayAdd, GatewayShift, GatewayDrain, GatewayRestore, GatewayRemove, GatewayRenew:
		b.opGateway(o)
	default:
		b.find(codeNotPlanned, Mandatory, "request", "there is no operation "+string(o.Verb), "serin help")
	}
	b.judgeProgrammed()
	b.ignore()
	p.Findings = check.Sorted(b.findings)
	if !blocking(p.Findings) {
		b.fill(&p)
	}
	return p.signed()
}

// fill gives the plan its steps, and where they lead from and to.
func (b *builder) fill(p *Plan) {
	p.Steps, p.To, p.Version = append(p.Steps, b.steps...), b.to, b.req.To
	p.From = append(p.From, b.from...)
	for _, rev := range b.from {
		c, _ := b.s.ControlPlane(rev)
		p.FromVersions = append(p.FromVersions, c.Version)
	}
}

// goTo makes a revision the one that the steps lead to. It must be there and serve.
func (b *builder) goTo(rev string) bool {
	object := "revision " + rev
	c, ok := b.s.ControlPlane(rev)
	t, isTag := b.s.Tag(rev)
	switch {
	case !ok && isTag:
		b.find(codeNamesNoObject, Mandatory, object, "it is a tag, of revision "+t.Revision, "name the revision: "+t.Revision)
		return false
	case !ok:
		b.find(codeNamesNoObject, Mandatory, object, "no control plane has this name; there are "+oneOf(b.s.Revisions()), "name one that is there: serin revisions")
		return false
	case c.Ready == 0:
		b.find(codeNotReady, Mandatory, object, "none of its istiods is ready", "mend it first: kubectl -n "+c.Namespace+" describe deploy "+c.Name)
		return false
	case c.Ready < 2:
		b.find(codeOneIstiod, Warning, object, "it has a single istiod: while that is rescheduled no pod that follows it can be made", "run two: pilot.autoscaleMin=2 in its values")
	}
	b.to, b.req.To = rev, c.Version
	return true
}

// lead is add for a step of an operation: a single istiod is enough, a finding has said it.
func (b *builder) lead(st Step) int {
	n := b.add(st)
	if c, ok := b.s.ControlPlane(st.To); ok {
		b.steps[n-1].Question.Istiods = max(c.Ready, 1)
	}
	return n
}

// leave notes a revision that something leaves.
func (b *builder) leave(rev string) {
	if rev != "" && rev != b.to && !slices.Contains(b.from, rev) {
		b.from = append(b.from, rev)
		slices.Sort(b.from)
	}
}

// oneOf are the names to choose from.
func oneOf(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// withoutProbe says that nothing will say whether requests fail (S-47).
func (b *builder) withoutProbe() {
	if len(b.req.Sends()) > 0 || len(b.steps) == 0 {
		return
	}
	reason := "nothing sends requests: whether any fail is unknown, and no gate asks"
	if slices.ContainsFunc(b.steps, func(st Step) bool { return slices.Contains(st.Proof, gate.Served) }) {
		reason = "nothing sends requests: only what the proxies of moved pods and of their callers count is compared"
	}
	b.find(codeNoProbe, Warning, "request", reason, "name an address that serin may call: --probe-url URL")
}

// changes are the namespaces and workloads whose next pod another revision would
// inject, and the objects of which nobody would.
type changes struct {
	namespaces []string
	workloads  []mesh.Ref
	lost       []mesh.Object
}

// changesOf compares the mesh with what it is once the steps are done.
func (b *builder) changesOf(end mesh.Snapshot) changes {
	var out changes
	for _, n := range b.s.Namespaces {
		was, is := b.s.Injection(n.Labels, nil), end.Injection(n.Labels, nil)
		switch {
		case was.Revision == is.Revision:
		case is.None():
			out.lost = append(out.lost, mesh.Object{Kind: "Namespace", Name: n.Name})
		default:
			out.namespaces = append(out.namespaces, n.Name)
		}
	}
	for _, w := range b.s.Workloads {
		was, is := b.s.InjectionOf(w), end.InjectionOf(w)
		switch {
		case was.Revision == is.Revision:
		case is.None():
			out.lost = append(out.lost, mesh.Object{Kind: string(w.Kind), Namespace: w.Namespace, Name: w.Name})
		default:
			out.workloads = append(out.workloads, w.Ref)
		}
	}
	return out
}

// after is the mesh once the steps planned so far are done.
func (b *builder) after() mesh.Snapshot {
	end := b.s.Clone()
	for _, st := range b.steps {
		simulate(&end, st)
	}
	return end
}

// asksOf is a question about the namespaces, and the workloads that follow by
// their own labels, whose injector changes.
func (b *builder) asksOf(namespaces []string, workloads []mesh.Ref) gate.Question {
	q := gate.Question{Namespaces: slices.Clone(namespaces)}
	for _, ref := range workloads {
		if ns, _ := b.s.Namespace(ref.Namespace); ns.Labelled() {
			continue
		}
		q.Workloads = append(q.Workloads, ref)
		if !slices.Contains(q.Namespaces, ref.Namespace) {
			q.Namespaces = append(q.Namespaces, ref.Namespace)
		}
	}
	slices.Sort(q.Namespaces)
	return q
}
