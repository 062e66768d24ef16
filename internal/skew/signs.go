package skew

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Sign is something that a mesh shows or does not. One field is set.
type Sign struct {
	MeshConfig  string `json:"meshConfig,omitempty"`  // a path in the mesh configuration, "extensionProviders.*.opencensus"
	Value       string `json:"value,omitempty"`       // a path in the control plane's Helm values
	Env         string `json:"env,omitempty"`         // istiod's variable: NAME, or NAME=value
	Annotation  string `json:"annotation,omitempty"`  // on a workload's pods, a namespace or a Service
	Kind        string `json:"kind,omitempty"`        // a custom resource of which there is an object
	Text        string `json:"text,omitempty"`        // "RESOURCE WORDS": an object of the resource has the words
	Singleton   string `json:"singleton,omitempty"`   // istio-cni-node, ztunnel
	Unsupported string `json:"unsupported,omitempty"` // a shape of this kind that serin does not run
	Service     string `json:"service,omitempty"`     // namespace/name
	Kubelet     string `json:"kubelet,omitempty"`     // every node's kubelet is this or newer
	Workloads   string `json:"workloads,omitempty"`   // any, gateways, managed
	ForeignCRDs bool   `json:"foreignCRDs,omitempty"` // CRDs of Istio that Helm does not own
}

// Kinds are the custom resources that the notes ask about, for the adapter to look for.
func Kinds() []string {
	return asked(func(s Sign) string { return s.Kind })
}

// Texts are what the notes search configuration for: "RESOURCE WORDS".
func Texts() []string {
	return asked(func(s Sign) string { return s.Text })
}

func asked(field func(Sign) string) []string {
	set := map[string]bool{}
	for _, n := range loadNotes() {
		for _, s := range slices.Concat(n.Any, n.All, n.Unless) {
			if v := field(s); v != "" {
				set[v] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// looker looks for signs in what the revisions to be left are.
type looker struct {
	s         mesh.Snapshot
	revisions []string
}

func (l looker) shows(sign Sign) (Answer, string) {
	switch {
	case sign.Singleton != "":
		return l.singleton(sign.Singleton)
	case sign.Annotation != "":
		return l.annotation(sign.Annotation)
	case sign.Workloads != "":
		return l.workloads(sign.Workloads)
	case sign.Value != "":
		return l.value(sign.Value)
	case sign.Unsupported != "":
		return l.unsupported(sign.Unsupported)
	case sign.ForeignCRDs:
		return l.foreignCRDs()
	case l.s.Survey == nil:
		return CannotTell, "nobody looked at the cluster closely enough"
	}
	return l.surveyed(sign, *l.s.Survey)
}

// surveyed are the signs for which a survey was needed.
func (l looker) surveyed(sign Sign, v mesh.Survey) (Answer, string) {
	switch {
	case sign.MeshConfig != "":
		return l.meshConfig(sign.MeshConfig, v)
	case sign.Env != "":
		return l.env(sign.Env, v)
	case sign.Kind != "":
		if unseen(v, sign.Kind) {
			return CannotTell, sign.Kind + " could not be listed"
		}
		return found(slices.Contains(v.Kinds, sign.Kind), "there are "+sign.Kind, "there are no "+sign.Kind)
	case sign.Text != "":
		resource, words, _ := strings.Cut(sign.Text, " ")
		if unseen(v, resource) {
			return CannotTell, resource + " could not be listed"
		}
		have := v.Texts[sign.Text]
		return found(len(have) > 0, resource+" "+few(have)+" has "+words, "no "+resource+" has "+words)
	case sign.Service != "":
		return found(slices.Contains(v.Services, sign.Service), "Service "+sign.Service+" is there", "there is no Service "+sign.Service)
	case sign.Kubelet != "":
		return kubelet(sign.Kubelet, v)
	}
	return CannotTell, "this serin does not know the sign"
}

func found(is bool, yes, no string) (Answer, string) { //nolint:revive // it turns a flag into an answer: that is all it does
	if is {
		return Fires, yes
	}
	return DoesNotApply, no
}

// few names the first of many.
func few(names []string) string {
	switch {
	case len(names) == 0:
		return ""
	case len(names) == 1:
		return names[0]
	}
	return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
}

// unseen says whether the resource could not be looked at.
func unseen(v mesh.Survey, resource string) bool {
	return slices.ContainsFunc(v.Unseen, func(u string) bool { return strings.HasPrefix(u, resource+":") })
}

func (l looker) singleton(name string) (Answer, string) {
	has := slices.ContainsFunc(l.s.Singletons, func(c mesh.Singleton) bool { return c.Name == name })
	return found(has, name+" is there", "there is no "+name)
}

func (l looker) annotation(key string) (Answer, string) {
	for _, w := range l.s.Workloads {
		if _, ok := w.TemplateAnnotations[key]; ok {
			return Fires, "workload " + w.String() + " has the annotation " + key
		}
	}
	if l.s.Survey == nil {
		return CannotTell, "nobody looked at namespaces and Services for " + key
	}
	have := l.s.Survey.Annotations[key]
	return found(len(have) > 0, few(have)+" has the annotation "+key, "nothing has the annotation "+key)
}

func (l looker) workloads(which string) (Answer, string) {
	switch which {
	case "gateways":
		is := slices.ContainsFunc(l.s.Workloads, mesh.Workload.Gateway) || len(l.s.ManagedGateways) > 0
		return found(is, "there are gateways", "there are no gateways")
	case "managed":
		return found(len(l.s.ManagedGateways) > 0, "there are managed Gateways", "there are no managed Gateways")
	}
	return found(len(l.s.Workloads) > 0, "there are workloads with a proxy", "nothing has a proxy")
}

// values are those of the Helm releases that own the control planes.
func (l looker) values() []map[string]any {
	var out []map[string]any
	for _, rev := range l.revisions {
		c, _ := l.s.ControlPlane(rev)
		if r, ok := l.s.Release(c.Owner); ok {
			out = append(out, r.Values)
		}
	}
	return out
}

func (l looker) value(path string) (Answer, string) {
	for _, v := range l.values() {
		if has(v, strings.Split(path, ".")) {
			return Fires, "the value " + path + " is set"
		}
	}
	if len(l.values()) < len(l.revisions) {
		return CannotTell, "the values of a control plane that Helm does not own are not known"
	}
	return DoesNotApply, "the value " + path + " is not set"
}

// compatible says whether every control plane's values ask for the ways of a
// release before that minor.
func (l looker) compatible(minor string) bool {
	all := l.values()
	m, err := Parse(minor)
	if err != nil || len(all) == 0 || len(all) != len(l.revisions) {
		return false
	}
	for _, v := range all {
		text, _ := v["compatibilityVersion"].(string)
		c, err := Parse(text)
		if err != nil || !c.LessThan(m) {
			return false
		}
	}
	return true
}

func (l looker) unsupported(kind string) (Answer, string) {
	for _, o := range l.s.Unsupported {
		if o.Kind == kind {
			return Fires, strings.ToLower(o.Kind) + " " + o.Namespace + "/" + o.Name + " is there"
		}
	}
	return DoesNotApply, "there is none"
}

func (l looker) foreignCRDs() (Answer, string) {
	n := 0
	for _, c := range l.s.CRDs {
		if c.Owner.Kind != mesh.OwnerHelm {
			n++
		}
	}
	return found(n > 0, fmt.Sprintf("%d CRDs are not Helm's", n), "Helm owns the CRDs")
}

func (l looker) meshConfig(path string, v mesh.Survey) (Answer, string) {
	answer, why := DoesNotApply, "no mesh configuration has "+path
	for _, rev := range l.revisions {
		c, ok := v.MeshConfigs[rev]
		switch {
		case !ok:
			answer, why = CannotTell, "the mesh configuration of revision "+rev+" could not be read"
		case has(c, strings.Split(path, ".")):
			return Fires, "the mesh configuration of revision " + rev + " has " + path
		}
	}
	return answer, why
}

func (l looker) env(sign string, v mesh.Survey) (Answer, string) {
	name, want, valued := strings.Cut(sign, "=")
	answer, why := DoesNotApply, "no istiod has "+sign
	for _, rev := range l.revisions {
		i, ok := v.Istiods[rev]
		if !ok {
			answer, why = CannotTell, "istiod of revision "+rev+" was not seen"
			continue
		}
		if got, set := i.Env[name]; set && (!valued || got == want) {
			return Fires, "istiod of revision " + rev + " has " + sign
		}
	}
	return answer, why
}

func kubelet(oldest string, v mesh.Survey) (Answer, string) {
	if v.Nodes == nil {
		return CannotTell, "the nodes could not be listed"
	}
	have, errHave := Parse(v.Nodes.OldestKubelet)
	want, errWant := Parse(oldest)
	if errHave != nil || errWant != nil {
		return CannotTell, fmt.Sprintf("the oldest kubelet's version %q cannot be read", v.Nodes.OldestKubelet)
	}
	newer := have.Major() > want.Major() || have.Major() == want.Major() && have.Minor() >= want.Minor()
	return found(newer, "every kubelet is "+oldest+" or newer", "the oldest kubelet is "+v.Nodes.OldestKubelet)
}

// has says whether something stands at the path; "*" is every element or key.
func has(v any, path []string) bool {
	if len(path) == 0 {
		return v != nil
	}
	switch v := v.(type) {
	case map[string]any:
		if path[0] == "*" {
			return slices.ContainsFunc(slices.Collect(maps.Values(v)), func(e any) bool { return has(e, path[1:]) })
		}
		next, ok := v[path[0]]
		return ok && has(next, path[1:])
	case []any:
		return path[0] == "*" && slices.ContainsFunc(v, func(e any) bool { return has(e, path[1:]) })
	}
	return false
}
