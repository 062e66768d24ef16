package plan

import (
	"fmt"
	"maps"

	"github.com/serin-mesh/serin/internal/mesh"
)

// Content is what a step is made of, for those who commit it. Objects are plain
// maps, as YAML has them.
type Content struct {
	Apply  []map[string]any `json:"apply,omitempty"`  // objects, whole: they replace what is declared of them
	Patch  []map[string]any `json:"patch,omitempty"`  // parts of objects that are declared already; null takes a field away
	Remove []map[string]any `json:"remove,omitempty"` // objects to take out, in the order in which they should go
	Values *Values          `json:"values,omitempty"` // the same for those who declare Helm charts
	Notes  []string         `json:"notes,omitempty"`  // what a person must know of it
}

// Values are Helm values of a chart, or what changes in them.
type Values struct {
	Chart   string         `json:"chart"`
	Release string         `json:"release"` // the name that the plan's own releases would have
	Version string         `json:"version,omitempty"`
	Values  map[string]any `json:"values,omitempty"`
	Partial bool           `json:"partial,omitempty"` // these change, the others stay
}

// ContentOf is the content of a step that needs no look at the cluster: labels and
// restarts. ok is false for the others.
func ContentOf(st Step) (Content, bool) {
	switch st.Kind {
	case MoveNamespace, RestoreLabels:
		return Content{Patch: []map[string]any{Object("v1", "Namespace", "", st.Namespace, map[string]any{"metadata": map[string]any{"labels": plainLabels(st.After)}})}}, true
	case Restart:
		return Content{Patch: restarts(st)}, true
	case FirstPods:
		return Content{Notes: []string{"One new pod of each workload beside the others cannot be committed: serin apply makes it, or serin restart --first-pod, or leave it out."}}, true
	case MoveGateway, ReturnGateway:
		return Content{Notes: []string{"A Gateway that istiod deploys moves in parts that must be watched: they cannot be committed, serin apply makes them."}}, true
	case RenderGateway, PutBackGateway:
		return Content{Notes: []string{"A gateway that istioctl renders is rendered again and rolled: serin apply does it; where Git declares it, commit what istioctl manifest generate prints of it."}}, true
	case PinDefault, UpgradeBase, InstallRevision, MoveTag, RemoveRevision, SetTag, RemoveTag, InstallChart, RemoveChart, Surge, RestoreRevision, RemoveRest, AddGateway, OpenGateway, ScaleGateway, RenewGateway, DropClaims, DropTelemetry:
	}
	return Content{}, false
}

// Object is a part of an object: what identifies it, and what is given. Of what
// is given as metadata it keeps its own name and namespace.
func Object(apiVersion, kind, namespace, name string, given map[string]any) map[string]any {
	meta := map[string]any{}
	if m, ok := given["metadata"].(map[string]any); ok {
		maps.Copy(meta, m)
	}
	meta["name"] = name
	if namespace != "" {
		meta["namespace"] = namespace
	}
	out := map[string]any{}
	maps.Copy(out, given)
	out["apiVersion"], out["kind"], out["metadata"] = apiVersion, kind, meta
	return out
}

func plainLabels(labels map[string]*string) map[string]any {
	out := map[string]any{}
	for k, v := range labels {
		if v == nil {
			out[k] = nil
		} else {
			out[k] = *v
		}
	}
	return out
}

// restarts are the changes of pod templates that give the workloads new pods.
func restarts(st Step) []map[string]any {
	var out []map[string]any
	for _, ref := range st.Workloads {
		template := map[string]any{"metadata": map[string]any{"annotations": map[string]any{"serin.dev/restarted": st.To}}}
		out = append(out, Object("apps/v1", string(ref.Kind), ref.Namespace, ref.Name, map[string]any{"spec": map[string]any{"template": template}}))
	}
	return out
}

// Folder is the name of a step's folder: its number and kind, and its target
// where a plan has several of the kind.
func Folder(st Step) string { return fmt.Sprintf("%02d-%s", st.Number, st.Kind) }

// Whose is whom the step is left to, in words; empty where serin does it itself.
func Whose(o mesh.Owner) string {
	switch o.Kind {
	case mesh.OwnerArgoCD:
		return tool("Argo CD", "application", o)
	case mesh.OwnerFlux:
		return tool("Flux", "resource", o)
	case mesh.OwnerSail:
		return tool("the Sail operator", "resource", o)
	case mesh.OwnerTerraform:
		return "Terraform"
	case mesh.OwnerGit:
		return tool("Git", "", o)
	case mesh.OwnerHelm, mesh.OwnerIstioctl, mesh.OwnerNone:
	}
	return ""
}

func tool(name, what string, o mesh.Owner) string {
	switch {
	case o.Name == "":
		return name
	case what == "":
		return name + " (" + o.Name + ")"
	}
	return name + " (" + what + " " + o.Name + ")"
}
