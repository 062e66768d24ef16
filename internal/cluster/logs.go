package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/accesslog"
	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

const telemetryCRD = "telemetries.telemetry.istio.io"

// Logging reads what decides whether the proxies of a namespace write access logs:
// the mesh configurations of the control planes, and the Telemetries of their root
// namespaces and of that one.
func (r *Reader) Logging(ctx context.Context, planes []mesh.ControlPlane, namespace string) (accesslog.Facts, error) {
	f := accesslog.Facts{Meshes: map[string]accesslog.Mesh{}}
	v := &survey{facts: &facts{controlPlanes: planes}}
	if err := r.meshConfigs(ctx, v); err != nil {
		return f, err
	}
	spaces := []string{namespace}
	for _, c := range planes {
		if config, ok := v.MeshConfigs[c.Revision]; ok {
			m := loggingMesh(config, c.Namespace)
			f.Meshes[c.Revision] = m
			spaces = append(spaces, m.Root)
		}
	}
	slices.Sort(spaces)
	gvr, err := r.telemetryResource(ctx)
	if err != nil || gvr.Version == "" {
		return f, err
	}
	var all []unstructured.Unstructured
	for _, ns := range slices.Compact(spaces) {
		err := each(ctx, telemetryCRD, metav1.ListOptions{}, r.Dynamic.Resource(gvr).Namespace(ns).List, func(l *unstructured.UnstructuredList) {
			all = append(all, l.Items...)
		})
		if err != nil {
			return f, err
		}
	}
	slices.SortFunc(all, func(a, b unstructured.Unstructured) int { // as istiod sorts them
		x, y := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		return cmp.Or(x.Compare(y.Time), cmp.Compare(a.GetName()+"."+a.GetNamespace(), b.GetName()+"."+b.GetNamespace()))
	})
	for i := range all {
		f.Telemetries = append(f.Telemetries, loggingTelemetry(&all[i]))
	}
	return f, nil
}

// telemetryResource is how Telemetries are asked for; none where there is no such kind.
func (c Clients) telemetryResource(ctx context.Context) (schema.GroupVersionResource, error) {
	crd, err := c.CRDs.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, telemetryCRD, reading())
	if apierrors.IsNotFound(err) {
		return schema.GroupVersionResource{}, nil
	}
	if err != nil {
		return schema.GroupVersionResource{}, asking("get", "customresourcedefinitions "+telemetryCRD, err)
	}
	return schema.GroupVersionResource{Group: crd.Spec.Group, Version: served(crd), Resource: crd.Spec.Names.Plural}, nil
}

func loggingMesh(config map[string]any, namespace string) accesslog.Mesh {
	m := accesslog.Mesh{Root: cmp.Or(text(config["rootNamespace"]), namespace), File: text(config["accessLogFile"]), Providers: map[string]accesslog.Provider{}}
	m.Service, _, _ = unstructured.NestedBool(config, "enableEnvoyAccessLogService")
	m.Defaults, _, _ = unstructured.NestedStringSlice(config, "defaultProviders", "accessLogging")
	list, _, _ := unstructured.NestedSlice(config, "extensionProviders")
	for _, e := range list {
		p, _ := e.(map[string]any)
		out := accesslog.Provider{}
		out.Path, _, _ = unstructured.NestedString(p, "envoyFileAccessLog", "path")
		for _, k := range []string{"envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls", "envoyOtelAls"} {
			out.Logs = out.Logs || p[k] != nil
		}
		m.Providers[strings.ToLower(text(p["name"]))] = out
	}
	return m
}

func loggingTelemetry(o *unstructured.Unstructured) accesslog.Telemetry {
	t := accesslog.Telemetry{Namespace: o.GetNamespace(), Name: o.GetName(), Revision: o.GetLabels()[mesh.RevLabel]}
	if o.GetLabels()[mesh.LogsLabel] != "" {
		own := strayOf(o, clock.Now())
		t.Own = &own
	}
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	t.Selector, _, _ = unstructured.NestedStringMap(spec, "selector", "matchLabels")
	targets, _, _ := unstructured.NestedSlice(spec, "targetRefs")
	if one, ok := spec["targetRef"]; ok {
		targets = append(targets, one)
	}
	for _, e := range targets {
		m, _ := e.(map[string]any)
		name := "" // one of another kind is for no gateway, and for no namespace either
		if m["kind"] == "Gateway" {
			name = text(m["name"])
		}
		t.Targets = append(t.Targets, name)
	}
	entries, _, _ := unstructured.NestedSlice(spec, "accessLogging")
	for _, e := range entries {
		m, _ := e.(map[string]any)
		l := accesslog.Logging{}
		l.Mode, _, _ = unstructured.NestedString(m, "match", "mode")
		l.Disabled, _, _ = unstructured.NestedBool(m, "disabled")
		l.Filter, _, _ = unstructured.NestedString(m, "filter", "expression")
		providers, _, _ := unstructured.NestedSlice(m, "providers")
		for _, p := range providers {
			pm, _ := p.(map[string]any)
			l.Providers = append(l.Providers, text(pm["name"]))
		}
		t.Logging = append(t.Logging, l)
	}
	return t
}

// strayOf is what a Telemetry of serin's says of the command that has added it. One
// that does not say until when is nobody's any more.
func strayOf(o metav1.Object, now time.Time) mesh.Telemetry {
	until, err := time.Parse(time.RFC3339, o.GetAnnotations()[mesh.UntilAnnotation])
	return mesh.Telemetry{
		Namespace: o.GetNamespace(), Name: o.GetName(), UID: string(o.GetUID()), By: o.GetAnnotations()[mesh.ByAnnotation], Command: o.GetAnnotations()[mesh.CommandMark],
		Since: o.GetCreationTimestamp().UTC().Format(time.RFC3339), Left: err != nil || now.After(until),
	}
}

// strays are the Telemetries that gateway logs has added.
func (r *Reader) strays(ctx context.Context, gvr schema.GroupVersionResource, f *facts) error {
	return r.listed(ctx, gvr, metav1.ListOptions{LabelSelector: mesh.LogsLabel}, func(o metav1.PartialObjectMetadata) {
		f.telemetries = append(f.telemetries, strayOf(&o, clock.Now()))
	})
}

// Logger adds a Telemetry for as long as a command runs, and removes it.
type Logger struct{ *Reader }

// object is the Telemetry as it is made.
func (l Logger) object(gvr schema.GroupVersionResource, t accesslog.Telemetry, m accesslog.Marks) *unstructured.Unstructured {
	var logging []any
	for _, e := range t.Logging {
		entry := map[string]any{}
		var providers []any
		for _, p := range e.Providers {
			providers = append(providers, map[string]any{"name": p})
		}
		entry["providers"] = providers
		if e.Filter != "" {
			entry["filter"] = map[string]any{"expression": e.Filter}
		}
		logging = append(logging, entry)
	}
	selector := map[string]any{}
	for k, v := range t.Selector {
		selector[k] = v
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"selector": map[string]any{"matchLabels": selector}, "accessLogging": logging},
	}}
	o.SetAPIVersion(gvr.GroupVersion().String())
	o.SetKind("Telemetry")
	o.SetNamespace(t.Namespace)
	o.SetName(t.Name)
	o.SetLabels(map[string]string{managedBy: "serin", mesh.LogsLabel: strings.TrimPrefix(t.Name, "serin-logs-")})
	o.SetAnnotations(map[string]string{mesh.ByAnnotation: m.By, mesh.CommandMark: m.Command, mesh.UntilAnnotation: m.Until.UTC().Format(time.RFC3339)})
	return o
}

// Try asks the API server whether it would take the Telemetry, and Istio's validator
// with it, and returns it as YAML. Nothing is made.
func (l Logger) Try(ctx context.Context, t accesslog.Telemetry, m accesslog.Marks) ([]byte, error) {
	gvr, err := l.kind(ctx, t)
	if err != nil {
		return nil, err
	}
	o := l.object(gvr, t, m)
	opts := creating()
	opts.DryRun = []string{metav1.DryRunAll}
	if _, err := l.Dynamic.Resource(gvr).Namespace(t.Namespace).Create(ctx, o, opts); err != nil {
		return nil, fmt.Errorf("trying Telemetry %s/%s: %w", t.Namespace, t.Name, asking("create", telemetryCRD, err))
	}
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("writing the Telemetry: %w", err)
	}
	return text, nil
}

// kind refuses a Telemetry that would be for a whole namespace, whatever asked for it.
func (l Logger) kind(ctx context.Context, t accesslog.Telemetry) (schema.GroupVersionResource, error) {
	if len(t.Selector) == 0 {
		return schema.GroupVersionResource{}, refused("a Telemetry without a selector would be for all of namespace %s", t.Namespace)
	}
	gvr, err := l.telemetryResource(ctx)
	if err == nil && gvr.Version == "" {
		err = refused("the cluster has no definition %s", telemetryCRD)
	}
	return gvr, err
}

// Add makes the Telemetry, which must not be there, and says which it is. Where it is
// not known whether it was made, it is removed.
func (l Logger) Add(ctx context.Context, t accesslog.Telemetry, m accesslog.Marks) (mesh.Telemetry, error) {
	gvr, err := l.kind(ctx, t)
	if err != nil {
		return mesh.Telemetry{}, err
	}
	o := l.object(gvr, t, m)
	made, err := l.Dynamic.Resource(gvr).Namespace(t.Namespace).Create(ctx, o, creating())
	if err == nil {
		return strayOf(made, clock.Now()), nil
	}
	err = fmt.Errorf("adding Telemetry %s/%s: %w", t.Namespace, t.Name, asking("create", telemetryCRD, err))
	there, seen := l.Dynamic.Resource(gvr).Namespace(t.Namespace).Get(ctx, t.Name, reading())
	if seen == nil && maps.Equal(there.GetAnnotations(), o.GetAnnotations()) {
		err = errors.Join(err, l.Remove(ctx, strayOf(there, clock.Now())))
	}
	return mesh.Telemetry{}, err
}

// Renew says that the command still runs. A Telemetry that is another by now, or
// gone, is refused: somebody has removed it.
func (l Logger) Renew(ctx context.Context, t mesh.Telemetry, until time.Time) error {
	gvr, err := l.telemetryResource(ctx)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": t.UID, "annotations": map[string]string{mesh.UntilAnnotation: until.UTC().Format(time.RFC3339)},
	}})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	_, err = l.Dynamic.Resource(gvr).Namespace(t.Namespace).Patch(ctx, t.Name, types.MergePatchType, patch, patching())
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsInvalid(err):
		return fmt.Errorf("%w: %s was removed by somebody else", drive.ErrRefused, t)
	case err != nil:
		return asking("patch", telemetryCRD, err)
	}
	return nil
}

// Remove takes the Telemetry away, that one and no other of its name.
func (l Logger) Remove(ctx context.Context, t mesh.Telemetry) error {
	gvr, err := l.telemetryResource(ctx)
	if err == nil && gvr.Version != "" {
		err = l.dropTelemetry(ctx, gvr, t)
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", t, err)
	}
	return nil
}

func (c Clients) dropTelemetry(ctx context.Context, gvr schema.GroupVersionResource, t mesh.Telemetry) error {
	uid := types.UID(t.UID)
	err := c.Dynamic.Resource(gvr).Namespace(t.Namespace).Delete(ctx, t.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if ignoreGone(err) == nil || apierrors.IsConflict(err) { // a conflict: it is another by now
		return nil
	}
	return asking("delete", telemetryCRD, err)
}

// dropTelemetries removes what killed commands have left.
func (w *Writer) dropTelemetries(ctx context.Context, st plan.Step) error {
	gvr, err := w.telemetryResource(ctx)
	if err != nil || gvr.Version == "" {
		return err
	}
	for _, t := range st.Strays {
		if err := w.dropTelemetry(ctx, gvr, t); err != nil {
			return fmt.Errorf("removing %s: %w", t, err)
		}
	}
	return nil
}
