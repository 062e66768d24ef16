package istio

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/operator"
)

// operatorRelease is the name under which istioctl renders every chart.
const operatorRelease = "istio"

// Resolve puts an IstioOperator over the profile and the release's own hub and
// tag, which its istiod chart says.
func (h *Helm) Resolve(ctx context.Context, doc operator.Document, version string) (operator.Installation, error) {
	ch, err := h.charts.Load(ctx, "istiod", version)
	if err != nil {
		return operator.Installation{}, err
	}
	in, err := doc.Resolve(buildOf(ch.Values, version))
	if err != nil {
		return operator.Installation{}, fmt.Errorf("translating the IstioOperator for %s: %w", version, err)
	}
	return in, nil
}

// buildOf is what a release was built with, by its istiod chart's own values.
func buildOf(values map[string]any, version string) operator.Build {
	b := operator.Build{Version: version, Hub: "docker.io/istio", Tag: version}
	defaults, ok := values["_internal_defaults_do_not_set"].(map[string]any)
	if !ok {
		defaults = values
	}
	global, _ := defaults["global"].(map[string]any)
	if hub, ok := global["hub"].(string); ok && hub != "" {
		b.Hub = hub
	}
	if tag := global["tag"]; tag != nil && fmt.Sprint(tag) != "" {
		b.Tag = fmt.Sprint(tag)
	}
	return b
}

// RenderComponent returns a component's objects as "istioctl manifest generate"
// prints them.
func (h *Helm) RenderComponent(ctx context.Context, c operator.Component, version string) ([]unstructured.Unstructured, error) {
	objs, err := h.render(ctx, mesh.Release{Namespace: c.Namespace, Name: operatorRelease, Chart: c.Chart, Version: version, Values: c.Values})
	if err != nil {
		return nil, err
	}
	out, err := c.Finish(objs)
	if err != nil {
		return nil, fmt.Errorf("finishing chart %s %s: %w", c.Chart, version, err)
	}
	return out, nil
}
