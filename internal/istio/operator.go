package istio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-mesh/serin/internal/drive"
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
		return operator.Installation{}, fmt.Errorf("translating the IstioOperator for %s: %w: %w", version, drive.ErrRefused, err)
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
		return nil, fmt.Errorf("finishing chart %s %s: %w: %w", c.Chart, version, drive.ErrRefused, err)
	}
	return out, nil
}

// Operator renders one component of an IstioOperator, with the labels by which
// istioctl finds what it installed.
func (h *Helm) Operator(ctx context.Context, document map[string]any, version, component string) ([]unstructured.Unstructured, error) {
	in, err := h.Resolve(ctx, document, version)
	if err != nil {
		return nil, err
	}
	some := in.Component(operator.Name(component))
	if len(some) == 0 {
		return nil, fmt.Errorf("%w: its component %s is not enabled", drive.ErrRefused, component)
	}
	var out []unstructured.Unstructured
	for _, c := range some {
		objs, err := h.RenderComponent(ctx, c, version)
		if errors.Is(err, ErrNoChart) && c.Gateway != "" {
			return nil, fmt.Errorf("%w: %w: the charts of rendered gateways are in Istio's archive alone: unpack istio-%s and give --charts istio-%s/manifests/charts, or let gateways stay (method: stay)",
				drive.ErrRefused, err, version, version)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, objs...)
	}
	for i := range out {
		labels := out[i].GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, owned(in, operator.Name(component)))
		out[i].SetLabels(labels)
	}
	return out, nil
}

// owned are the labels that istioctl gives to what it installs (R§6.5).
func owned(in operator.Installation, component operator.Name) map[string]string {
	labels := map[string]string{
		"operator.istio.io/managed": "Reconcile", "operator.istio.io/version": in.Version, "operator.istio.io/component": string(component),
		"install.operator.istio.io/owning-resource-namespace": in.Namespace, mesh.RevLabel: cmp.Or(in.Revision, mesh.DefaultRevision),
	}
	if in.Name != "" {
		labels["install.operator.istio.io/owning-resource"] = in.Name
	}
	return labels
}
