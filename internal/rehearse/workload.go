package rehearse

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// deployment is a Deployment of one pod like the original's, what was changed, and
// why it cannot be, if so. Nothing of its pod's labels goes, for Services select by them.
func (b *builder) deployment(o Object) (copied Object, changes []string, why string) { //nolint:nonamedreturns // two texts
	spec := below(o, "spec", "template", "spec")
	if why := b.unlike(o, spec); why != "" {
		return nil, nil, why
	}
	out := o.moved(b.request)
	replicas, set := number(o, "spec", "replicas")
	if set && replicas != 1 {
		changes = append(changes, fmt.Sprintf("1 pod instead of %d", replicas))
	}
	put(out, int64(1), "spec", "replicas")
	put(out, false, "spec", "paused")
	changes = append(changes, b.pod(out)...)
	return out, changes, ""
}

// unlike says why no pod could be like the workload's.
func (b *builder) unlike(o Object, spec map[string]any) string {
	replicas, set := number(o, "spec", "replicas")
	annotations := texts(o, "spec", "template", "metadata", "annotations")
	switch {
	case len(b.request.Only) > 0 && !slices.Contains(b.request.Only, o.Name()):
		return "it was not asked for"
	case set && replicas == 0:
		return "it has no pods"
	case len(elements(spec, "containers")) == 0:
		return "its template has no containers"
	case yes(spec, "hostNetwork"):
		return "its pods are on their node's network, where nobody injects them and two would want one port"
	case slices.Contains(strings.Split(annotations[mesh.TemplatesAnnotation], ","), "gateway"):
		return "it is a gateway: serin gateway proves a second one beside it"
	}
	for _, v := range elements(spec, "volumes") {
		if why := shared(v); why != "" {
			return why
		}
	}
	return b.lacking(o)
}

// shared says what of a volume the copy would share with the original, or cannot have.
func shared(volume map[string]any) string {
	name := text(volume, "name")
	for _, key := range slices.Sorted(maps.Keys(volume)) {
		switch key {
		case "name", "configMap", "secret", "emptyDir", "downwardAPI", "projected", "image", "ephemeral":
		case "persistentVolumeClaim":
			return "volume " + name + " is claim " + text(volume, key, "claimName") + ": the copy would write to the same data, or to none"
		case "hostPath":
			return "volume " + name + " is a path of the node: the copy would write to the same files"
		case "csi":
			return "volume " + name + " comes from driver " + text(volume, key, "driver") + ": what that needs cannot be known"
		default:
			return "volume " + name + " is of kind " + key + ": the copy would write to the same data"
		}
	}
	return ""
}

// lacking names what the workload refers to and is not there, so that its next pod
// would not start either, or cannot be copied.
func (b *builder) lacking(o Object) string {
	var gone, fixed []string
	for _, r := range references(o) {
		found, there := b.find(r)
		what := r.Kind + " " + r.Name
		switch {
		case r.Optional || everywhere(r):
		case there && bound(found) != "":
			fixed = append(fixed, what+" that it needs cannot be copied: "+bound(found))
		case !there && !slices.Contains(gone, what):
			gone = append(gone, what)
			b.plan.Missing = append(b.plan.Missing, Item{Kind: r.Kind, Name: r.Name, Why: "Deployment " + o.Name() + " needs it, and its next pod would not start"})
		}
	}
	switch {
	case len(gone) > 0:
		return strings.Join(gone, " and ") + " that it needs is not there"
	case len(fixed) > 0:
		return fixed[0]
	}
	return ""
}

// find is the object that is referred to.
func (b *builder) find(r Ref) (Object, bool) {
	i := slices.IndexFunc(b.source.Objects, func(o Object) bool { return o.Kind() == r.Kind && o.Group() == "" && o.Name() == r.Name })
	if i < 0 {
		return nil, false
	}
	return b.source.Objects[i], true
}

// pod changes the copy's pods so that they are alone, and on the revision.
func (b *builder) pod(o Object) []string {
	var changes []string
	spec := below(o, "spec", "template", "spec")
	for _, c := range containers(spec) {
		for _, p := range elements(c, "ports") {
			if port, ok := number(p, "hostPort"); ok && port != 0 {
				changes = append(changes, fmt.Sprintf("without host port %d", port))
			}
			delete(p, "hostPort")
		}
	}
	if class := text(spec, "priorityClassName"); class != "" {
		changes = append(changes, "without priority "+class+": nothing is to make room for it")
	}
	delete(spec, "priorityClassName")
	delete(spec, "priority")
	labels := below(o, "spec", "template", "metadata", "labels")
	if rev, ok := labels[mesh.RevLabel].(string); ok && rev != b.request.Revision {
		changes = append(changes, "label "+mesh.RevLabel+" "+b.request.Revision+" instead of "+rev)
		labels[mesh.RevLabel] = b.request.Revision
	}
	if !b.inMesh(o) {
		changes = append(changes, "without a proxy, as now")
		put(o, "false", "spec", "template", "metadata", "labels", mesh.InjectLabel)
	} else {
		b.plan.Meshed = append(b.plan.Meshed, o.Name())
	}
	return changes
}

// inMesh says whether the workload's next pod would have a proxy where it is now.
func (b *builder) inMesh(o Object) bool {
	template := below(o, "spec", "template")
	return !b.mesh.InjectionOf(mesh.Workload{
		Ref:            mesh.Ref{Kind: mesh.KindDeployment, Namespace: b.request.Namespace, Name: o.Name()},
		TemplateLabels: b.original(o.Name(), template), TemplateAnnotations: texts(template, "metadata", "annotations"),
	}).None()
}

// original are the labels of the template before it was changed.
func (b *builder) original(name string, changed map[string]any) map[string]string {
	for _, o := range b.source.Objects {
		if o.Kind() == "Deployment" && o.Name() == name {
			return texts(o, "spec", "template", "metadata", "labels")
		}
	}
	return texts(changed, "metadata", "labels")
}
