package rehearse

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serin-mesh/serin/internal/mesh"
)

// notes says what nobody can see in the objects, and what is seen and not mended.
func (b *builder) notes() {
	b.note("a copy does what its original does: it takes from the same queues, runs the same timers and writes to the same databases. "+
		"Name the Deployments that may be there twice: serin rehearse %s NAME…", b.request.Namespace)
	for _, why := range b.source.Unseen {
		b.note("not looked at: %s", why)
	}
	var services []string
	for _, o := range b.source.Objects {
		if o.Kind() == "Service" && o.Group() == "" {
			services = append(services, o.Name())
		}
	}
	for _, o := range b.plan.Objects {
		if found := b.mentions(o, services); len(found) > 0 {
			b.note("%s %s names Services of %s (%s): there the copy asks the originals", o.Kind(), o.Name(), b.request.Namespace, first(found))
		}
	}
	for _, w := range b.mesh.Workloads {
		if w.Namespace == b.request.Namespace && slices.Contains([]mesh.WorkloadKind{mesh.KindPod, mesh.KindOther}, w.Kind) {
			b.add(nil, nil, "nothing that serin knows would make its pods again")(Object{"kind": string(w.Kind), "metadata": map[string]any{"name": w.Name}})
		}
	}
}

// mentions are the places in which an application's own settings name Services with
// their namespace. Of Secrets and ConfigMaps the key is told, never the value.
func (b *builder) mentions(o Object, services []string) []string {
	var out []string
	find := func(where, value string) {
		if b.names.names(value, services) {
			out = append(out, where)
		}
	}
	switch o.Kind() {
	case "Deployment":
		for _, c := range containers(below(o, "spec", "template", "spec")) {
			for _, e := range elements(c, "env") {
				find("env "+text(e, "name"), text(e, "value"))
			}
			for _, a := range slices.Concat(words(c, "command"), words(c, "args")) {
				find("arguments of container "+text(c, "name"), a)
			}
		}
	case kindConfigMap:
		for _, key := range slices.Sorted(maps.Keys(texts(o, "data"))) {
			find("key "+key, text(o, "data", key))
		}
	case kindSecret:
		for _, key := range slices.Sorted(maps.Keys(texts(o, "data"))) {
			find("key "+key, decoded(text(o, "data", key)))
		}
	}
	return slices.Compact(out)
}

// first names up to three of many.
func first(places []string) string {
	if len(places) > 3 {
		return strings.Join(places[:3], ", ") + fmt.Sprintf(" and %d more", len(places)-3)
	}
	return strings.Join(places, ", ")
}
