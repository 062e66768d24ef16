package rehearse

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Label marks everything that serin makes for a rehearsal. What does not carry it
// is never removed.
const Label = mesh.RehearsalLabel

// Request says what to rehearse.
type Request struct {
	Namespace string   `json:"namespace"`
	Copy      string   `json:"copy"` // the namespace that is made
	Revision  string   `json:"revision"`
	Only      []string `json:"only,omitempty"`  // names of Deployments, all when empty
	Paths     []string `json:"paths,omitempty"` // asked of each port that speaks HTTP, besides its probe's
}

// CopyOf is the copy's name where none is given.
func CopyOf(namespace string) string { return namespace + "-rehearsal" }

// Source is what is in the namespace: of its Secrets, only those that are referred to.
type Source struct {
	Objects []Object
	Unseen  []string // what could not be looked at, and why
}

// Item is an object, and what there is to say of it.
type Item struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Why  string `json:"why,omitempty"`
}

// Plan is what would be made, and what not. It shows no content: that of Secrets
// is in Objects, which nobody prints.
type Plan struct {
	Request

	Version string   `json:"version"`           // of the revision
	Copied  []Item   `json:"copied"`            // Why says what is changed
	Left    []Item   `json:"left"`              // not copied
	Missing []Item   `json:"missing,omitempty"` // referred to, and not there
	Notes   []string `json:"notes,omitempty"`
	Asks    []Ask    `json:"asks,omitempty"`
	Meshed  []string `json:"-"` // the copied Deployments whose pods get a proxy

	Labels  map[string]string `json:"-"` // of the namespace
	Objects []Object          `json:"-"` // in the order in which they are made
}

// Workloads are the copied Deployments.
func (p Plan) Workloads() []string {
	var out []string
	for _, i := range p.Copied {
		if i.Kind == "Deployment" {
			out = append(out, i.Name)
		}
	}
	return out
}

// Refuse says why there can be no rehearsal, before anything is read.
func Refuse(s mesh.Snapshot, r Request) error {
	plane, ok := s.ControlPlane(r.Revision)
	_, there := s.Namespace(r.Namespace)
	switch {
	case !ok:
		return fmt.Errorf("there is no revision %s: there are %v\n  remedy: serin install istiod --revision %s, which moves nothing", r.Revision, s.Revisions(), r.Revision)
	case plane.Ready == 0:
		return fmt.Errorf("no istiod of revision %s is ready\n  remedy: kubectl -n %s describe deployment %s", r.Revision, plane.Namespace, plane.Name)
	case !there:
		return fmt.Errorf("there is no namespace %s", r.Namespace)
	case r.Namespace == s.IstioNamespace || strings.HasPrefix(r.Namespace, "kube-"):
		return fmt.Errorf("namespace %s is the cluster's own, and no copy of it would be at rest", r.Namespace)
	case Of(s, r.Namespace) != "":
		return fmt.Errorf("namespace %s is itself the rehearsal of %s\n  remedy: serin rehearse --remove %s", r.Namespace, Of(s, r.Namespace), Of(s, r.Namespace))
	case !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`).MatchString(r.Copy):
		return fmt.Errorf("%q cannot be a namespace's name: want at most 63 lower case letters, digits and dashes\n  remedy: --into NAME", r.Copy)
	case slices.ContainsFunc(r.Paths, func(p string) bool { return !strings.HasPrefix(p, "/") }):
		return fmt.Errorf("the paths %q are to begin with a slash", r.Paths)
	case r.Copy == r.Namespace:
		return fmt.Errorf("the copy of %s needs a name of its own\n  remedy: --into NAME", r.Namespace)
	}
	if _, taken := s.Namespace(r.Copy); taken && Of(s, r.Copy) != r.Namespace {
		return fmt.Errorf("namespace %s is there, and is no rehearsal of %s (label %s)\n  remedy: --into with a name that is free", r.Copy, r.Namespace, Label)
	}
	return nil
}

// Of is the namespace that one is the rehearsal of, empty if it is none.
func Of(s mesh.Snapshot, namespace string) string {
	ns, _ := s.Namespace(namespace)
	return ns.Labels[Label]
}

// builder makes one Plan.
type builder struct {
	mesh    mesh.Snapshot
	request Request
	source  Source
	names   names
	plan    Plan
}

// Build says what a rehearsal makes. It looks at nothing but its arguments, and
// changes nothing in them.
func Build(s mesh.Snapshot, r Request, source Source) (Plan, error) {
	if err := Refuse(s, r); err != nil {
		return Plan{}, err
	}
	plane, _ := s.ControlPlane(r.Revision)
	b := &builder{mesh: s, request: r, source: source, names: names{r.Namespace, r.Copy}}
	b.plan = Plan{Request: r, Version: plane.Version, Copied: []Item{}, Left: []Item{}, Labels: b.labels()}
	if err := b.known(); err != nil {
		return Plan{}, err
	}
	b.take("Deployment", "apps", b.deployment)
	if len(b.plan.Objects) == 0 {
		b.sort()
		return b.plan, nil
	}
	b.take("Service", "", b.service)
	b.rest()
	b.needed()
	b.notes()
	b.sort()
	return b.plan, nil
}

// known refuses a wanted Deployment that is not there.
func (b *builder) known() error {
	for _, name := range b.request.Only {
		if !slices.ContainsFunc(b.source.Objects, func(o Object) bool { return o.Kind() == "Deployment" && o.Name() == name }) {
			return fmt.Errorf("there is no Deployment %s in namespace %s", name, b.request.Namespace)
		}
	}
	return nil
}

// labels are those of the copy's namespace: the original's, for policies select by
// them, without what decides injection and without other tools' marks of owning it.
func (b *builder) labels() map[string]string {
	ns, _ := b.mesh.Namespace(b.request.Namespace)
	out := map[string]string{}
	for k, v := range ns.Labels {
		domain, _, _ := strings.Cut(k, "/")
		switch {
		case k == mesh.InjectionLabel, ofIstio(k), k == "kubernetes.io/metadata.name":
		case slices.Contains([]string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by"}, k), strings.HasSuffix(domain, "argocd.argoproj.io"),
			strings.HasSuffix(domain, "fluxcd.io"), strings.HasPrefix(domain, "helm."):
		default:
			out[k] = v
		}
	}
	out[mesh.RevLabel], out[Label] = b.request.Revision, b.request.Namespace
	return out
}

// take copies the objects of a kind, as far as one of its own can be made of each.
func (b *builder) take(kind, group string, one func(Object) (Object, []string, string)) {
	for _, o := range b.source.Objects {
		if o.Kind() == kind && o.Group() == group {
			b.add(one(o))(o)
		}
	}
}

// add notes what became of an object.
func (b *builder) add(copied Object, changes []string, why string) func(Object) {
	return func(o Object) {
		if why != "" {
			b.plan.Left = append(b.plan.Left, Item{o.Kind(), o.Name(), why})
			return
		}
		b.plan.Copied = append(b.plan.Copied, Item{o.Kind(), o.Name(), strings.Join(changes, "; ")})
		b.plan.Objects = append(b.plan.Objects, copied)
	}
}

// needed copies the accounts, and then the ConfigMaps and Secrets, that what is
// copied refers to. What nothing refers to stays where it is.
func (b *builder) needed() {
	for _, kinds := range [][]string{{kindAccount}, {kindConfigMap, kindSecret}} {
		wanted := map[Ref]bool{}
		for _, o := range b.plan.Objects {
			for _, r := range references(o) {
				wanted[Ref{Kind: r.Kind, Name: r.Name}] = true
			}
		}
		for _, o := range b.source.Objects {
			r := Ref{Kind: o.Kind(), Name: o.Name()}
			if o.Group() == "" && slices.Contains(kinds, r.Kind) && wanted[r] {
				b.add(b.plain(o))(o)
			}
		}
	}
}

// plain is an account, a ConfigMap or a Secret.
func (b *builder) plain(o Object) (copied Object, changes []string, why string) { //nolint:nonamedreturns // two texts
	if why := bound(o); why != "" {
		return nil, nil, why
	}
	out := o.moved(b.request)
	if o.Kind() == kindAccount {
		delete(out, "secrets") // the names of its tokens, which stay
		if cloud := clouds(o); cloud != "" {
			changes = append(changes, "without its rights in the cloud ("+cloud+")")
		}
	}
	return out, changes, ""
}

// bound says why what is referred to means something in its own namespace only.
func bound(o Object) string {
	if everywhere(Ref{Kind: o.Kind(), Name: o.Name()}) && o.Kind() == kindConfigMap {
		return "the cluster makes one in each namespace"
	}
	if o.Kind() == kindSecret && text(o, "type") == "kubernetes.io/service-account-token" {
		return "it is the token of an account, and good for that alone"
	}
	return ""
}

// clouds is the annotation by which an account has rights outside of the cluster.
func clouds(o Object) string {
	for key := range texts(o, "metadata", "annotations") {
		domain, _, _ := strings.Cut(key, "/")
		if slices.Contains([]string{"eks.amazonaws.com", "iam.gke.io", "azure.workload.identity"}, domain) {
			return key
		}
	}
	return ""
}

// rest is Istio's configuration, the limits that shape pods, and what stays.
func (b *builder) rest() {
	for _, o := range b.source.Objects {
		switch {
		case strings.HasSuffix(o.Group(), ".istio.io"):
			b.add(b.config(o))(o)
		case o.Kind() == "LimitRange" && o.Group() == "":
			b.add(o.moved(b.request), nil, "")(o)
		default:
			if why := stays(o); why != "" {
				b.add(nil, nil, why)(o)
			}
		}
	}
}

// stays says why objects of a kind are not copied; empty for kinds that are.
func stays(o Object) string {
	if o.Group() == gatewayAPI {
		return "clients come in by it"
	}
	switch o.Kind() {
	case "StatefulSet":
		return "its pods have names, data and peers: a copy would be a member more, or one without data"
	case "DaemonSet":
		return "it has a pod on each node, and does the node's work"
	case "Job", "CronJob":
		return "its work would be done twice"
	case "HorizontalPodAutoscaler", "PodDisruptionBudget":
		return "each copy has one pod"
	case "Ingress":
		return "clients come in by it"
	case "PersistentVolumeClaim":
		return "its data stays with the original"
	case "NetworkPolicy":
		return "it only takes away; what it forbids is not rehearsed"
	case "ResourceQuota":
		return "the copy is one pod of each, and has none of the original's share"
	case "RoleBinding":
		return "the copy's accounts may do nothing in the cluster: two of one controller would fight"
	}
	return ""
}

// sort puts objects into the order in which they are made, and lists into that of their names.
func (b *builder) sort() {
	order := []string{kindAccount, "LimitRange", kindSecret, kindConfigMap, "Service"}
	rank := func(kind string) int {
		switch i := slices.Index(order, kind); {
		case kind == "Deployment":
			return len(order) + 1
		case i < 0:
			return len(order)
		default:
			return i
		}
	}
	byName := func(x, y Item) int {
		return cmp.Or(rank(y.Kind)-rank(x.Kind), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name))
	}
	slices.SortStableFunc(b.plan.Objects, func(x, y Object) int {
		return cmp.Or(rank(x.Kind())-rank(y.Kind()), cmp.Compare(x.Kind(), y.Kind()), cmp.Compare(x.Name(), y.Name()))
	})
	for _, list := range [][]Item{b.plan.Copied, b.plan.Left, b.plan.Missing} {
		slices.SortStableFunc(list, byName)
	}
	slices.SortStableFunc(b.plan.Asks, func(x, y Ask) int {
		return cmp.Or(cmp.Compare(x.Service, y.Service), x.Port-y.Port, cmp.Compare(x.Path, y.Path))
	})
}

func (b *builder) note(format string, args ...any) {
	b.plan.Notes = append(b.plan.Notes, fmt.Sprintf(format, args...))
}

func decimal(n int) string { return strconv.Itoa(n) }
