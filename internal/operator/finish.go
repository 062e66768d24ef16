package operator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

// target is the object that a setting changes, and the patch that does it.
type target struct{ kind, name, patch string }

// targets are the settings below k8s that change one object each. %s is the setting.
func (c Component) targets() map[string]target {
	r := c.resource
	pod := func(field string) target {
		return target{r.kind, r.name, `{"spec":{"template":{"spec":{"` + field + `":%s}}}}`}
	}
	container := func(field string) target {
		return target{r.kind, r.name, fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":%q,%q:%%s}]}}}}`, r.container, field)}
	}
	return map[string]target{
		"affinity": pod("affinity"), "nodeSelector": pod("nodeSelector"), "priorityClassName": pod("priorityClassName"),
		"tolerations": pod("tolerations"), "securityContext": pod("securityContext"),
		"env": container("env"), "imagePullPolicy": container("imagePullPolicy"), "readinessProbe": container("readinessProbe"), "resources": container("resources"),
		"podAnnotations":      {r.kind, r.name, `{"spec":{"template":{"metadata":{"annotations":%s}}}}`},
		"replicaCount":        {r.kind, r.name, `{"spec":{"replicas":%s}}`},
		"strategy":            {r.kind, r.name, `{"spec":{"strategy":%s}}`},
		"hpaSpec":             {"HorizontalPodAutoscaler", r.name, `{"spec":%s}`},
		"podDisruptionBudget": {"PodDisruptionBudget", r.name, `{"spec":%s}`},
		"serviceAnnotations":  {"Service", r.name, `{"metadata":{"annotations":%s}}`},
		"service":             {"Service", r.name, `{"spec":%s}`},
	}
}

// Finish changes what the component's chart rendered as the document's settings
// and overlays say. One that finds no object to change is refused by name.
func (c Component) Finish(objects []unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	out := make([]unstructured.Unstructured, len(objects))
	for i, o := range objects {
		out[i] = *o.DeepCopy()
	}
	raw, _ := c.settings.raw["k8s"].(map[string]any)
	targets := c.targets()
	for _, field := range slices.Sorted(maps.Keys(raw)) {
		t, ok := targets[field]
		if !ok {
			continue // overlays; what else there is was refused
		}
		if err := apply(out, t, c.asSet(field, raw[field])); err != nil {
			return nil, fmt.Errorf("%s: %w", c.named("k8s."+field), err)
		}
	}
	if c.settings.Kubernetes == nil {
		return out, nil
	}
	for i, o := range c.settings.Kubernetes.Overlays {
		if err := o.apply(out); err != nil {
			return nil, fmt.Errorf("%s: %w", c.named(fmt.Sprintf("k8s.overlays[%d]", i)), err)
		}
	}
	return out, nil
}

// asSet is the setting to merge. A gateway's ports went into the chart's values:
// lists of ports cannot be merged (kubernetes issue 103544).
func (c Component) asSet(field string, v any) any {
	service, ok := v.(map[string]any)
	if !ok || field != "service" || c.Name != Ingress && c.Name != Egress {
		return v
	}
	service = maps.Clone(service)
	service["ports"] = []any{}
	return service
}

func apply(objects []unstructured.Unstructured, t target, setting any) error {
	inner, err := json.Marshal(setting)
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	found := false
	for i, o := range objects {
		if o.GetKind() != t.kind || o.GetName() != t.name {
			continue
		}
		found = true
		if objects[i].Object, err = patched(o, fmt.Appendf(nil, t.patch, inner)); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("this release's chart renders no %s %s with these values, so that it would have no effect: take it out", t.kind, t.name)
	}
	return nil
}

// patched merges as the API server's strategic merge does.
func patched(o unstructured.Unstructured, patch []byte) (map[string]any, error) {
	typed, err := scheme.Scheme.New(o.GroupVersionKind())
	if err != nil {
		return nil, fmt.Errorf("merging into %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	was, err := json.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("merging into %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	is, err := strategicpatch.StrategicMergePatch(was, patch, typed)
	if err != nil {
		return nil, fmt.Errorf("merging into %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	var out unstructured.Unstructured
	if err := out.UnmarshalJSON(is); err != nil {
		return nil, fmt.Errorf("merging into %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	if o.GetKind() == "PodDisruptionBudget" {
		oneLimit(out.Object)
	}
	return out.Object, nil
}

// oneLimit drops the chart's minAvailable where the document sets the other: a
// PodDisruptionBudget takes one of them.
func oneLimit(budget map[string]any) {
	spec, _ := budget["spec"].(map[string]any)
	_, most := spec["maxUnavailable"]
	if _, least := spec["minAvailable"]; most && least {
		spec["minAvailable"] = nil
	}
}
