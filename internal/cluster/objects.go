package cluster

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
)

// releases reads the Helm releases of Istio's charts from Helm's own storage:
// Secrets of owner=helm, the newest record of each.
func (r *Reader) releases(ctx context.Context, s *mesh.Snapshot) error {
	opts := metav1.ListOptions{LabelSelector: "owner=helm", Limit: page}
	newest := map[string]record{}
	for {
		list, err := r.kube.CoreV1().Secrets("").List(ctx, opts)
		if err != nil {
			return listing("secrets", err)
		}
		for _, x := range list.Items {
			rec, err := decodeRecord(x.Data["release"])
			if err != nil {
				return fmt.Errorf("reading the Helm release in secret %s/%s: %w", x.Namespace, x.Name, err)
			}
			key := rec.Namespace + "/" + rec.Name
			if rec.Version >= newest[key].Version {
				newest[key] = rec
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			break
		}
	}
	for _, rec := range newest {
		switch rec.Chart.Metadata.Name {
		case "base", "istiod", "gateway":
			s.Releases = append(s.Releases, mesh.Release{
				Namespace: rec.Namespace, Name: rec.Name, Chart: rec.Chart.Metadata.Name, Version: rec.Chart.Metadata.Version,
				Status: rec.Info.Status, Values: masked(rec.Config),
			})
		}
	}
	return nil
}

// record is the part of Helm's stored release that is used.
type record struct {
	Name      string         `json:"name"`
	Namespace string         `json:"namespace"`
	Version   int            `json:"version"`
	Config    map[string]any `json:"config"`
	Info      struct {
		Status string `json:"status"`
	} `json:"info"`
	Chart struct {
		Metadata struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"metadata"`
	} `json:"chart"`
}

// decodeRecord undoes what Helm's secret driver does: JSON, gzip, base64.
func decodeRecord(b []byte) (record, error) {
	var rec record
	raw, err := base64.StdEncoding.DecodeString(string(b))
	if err != nil {
		return rec, fmt.Errorf("decoding base64: %w", err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return rec, fmt.Errorf("unpacking: %w", err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		return rec, fmt.Errorf("unpacking: %w", err)
	}
	if err := json.Unmarshal(text, &rec); err != nil {
		return rec, fmt.Errorf("decoding JSON: %w", err)
	}
	return rec, nil
}

// masked hides what looks like a secret: a snapshot holds none.
func masked(values map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range values {
		low := strings.ToLower(k)
		switch inner := v.(type) {
		case map[string]any:
			out[k] = masked(inner)
		case string:
			out[k] = inner
			if strings.Contains(low, "password") || strings.Contains(low, "token") || strings.Contains(low, "secret") || strings.HasSuffix(low, "key") {
				out[k] = "(hidden)"
			}
		default:
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// resource is a kind of Istio's or the Gateway API's that may carry istio.io/rev.
type resource struct {
	kind string
	gvr  schema.GroupVersionResource
}

func pinnable() []resource {
	net := func(kind, plural string) resource {
		return resource{kind, schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: plural}}
	}
	sec := func(kind, plural string) resource {
		return resource{kind, schema.GroupVersionResource{Group: "security.istio.io", Version: "v1", Resource: plural}}
	}
	return []resource{
		net("VirtualService", "virtualservices"), net("DestinationRule", "destinationrules"), net("Gateway", "gateways"),
		net("ServiceEntry", "serviceentries"), net("Sidecar", "sidecars"), net("WorkloadEntry", "workloadentries"),
		{"EnvoyFilter", schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1alpha3", Resource: "envoyfilters"}},
		sec("AuthorizationPolicy", "authorizationpolicies"), sec("PeerAuthentication", "peerauthentications"), sec("RequestAuthentication", "requestauthentications"),
		{"Telemetry", schema.GroupVersionResource{Group: "telemetry.istio.io", Version: "v1", Resource: "telemetries"}},
		{"WasmPlugin", schema.GroupVersionResource{Group: "extensions.istio.io", Version: "v1alpha1", Resource: "wasmplugins"}},
	}
}

// istioObjects reads what carries a revision, the managed gateways, and where gateways route to.
func (r *Reader) istioObjects(ctx context.Context, s *mesh.Snapshot) error {
	for _, p := range pinnable() {
		items, err := r.list(ctx, p.gvr, metav1.ListOptions{LabelSelector: mesh.RevLabel})
		if err != nil {
			return err
		}
		for _, o := range items {
			s.PinnedObjects = append(s.PinnedObjects, mesh.Object{Kind: p.kind, Namespace: o.GetNamespace(), Name: o.GetName(), Revision: o.GetLabels()[mesh.RevLabel]})
		}
	}
	groups, err := r.list(ctx, schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "workloadgroups"}, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range groups {
		s.Unsupported = append(s.Unsupported, mesh.Object{Kind: "WorkloadGroup", Namespace: o.GetNamespace(), Name: o.GetName(), Note: "virtual machines in the mesh"})
	}
	if err := r.managedGateways(ctx, s); err != nil {
		return err
	}
	return r.routed(ctx, s)
}

func (r *Reader) managedGateways(ctx context.Context, s *mesh.Snapshot) error {
	items, err := r.list(ctx, schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range items {
		class, _, err := unstructured.NestedString(o.Object, "spec", "gatewayClassName")
		if err == nil && strings.HasPrefix(class, "istio") {
			s.ManagedGateways = append(s.ManagedGateways, mesh.Object{Kind: "Gateway", Namespace: o.GetNamespace(), Name: o.GetName(), Revision: o.GetLabels()[mesh.RevLabel], Note: "class " + class})
		}
	}
	return nil
}

// routed lists the Services that VirtualServices bound to a gateway route to.
func (r *Reader) routed(ctx context.Context, s *mesh.Snapshot) error {
	items, err := r.list(ctx, schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range items {
		gws, _, err := unstructured.NestedStringSlice(o.Object, "spec", "gateways")
		if err != nil || !slices.ContainsFunc(gws, func(g string) bool { return g != "mesh" }) {
			continue
		}
		for _, host := range hosts(o.Object["spec"]) {
			parts := strings.Split(host, ".")
			ns := o.GetNamespace()
			if len(parts) > 1 {
				ns = parts[1]
			}
			if key := ns + "/" + parts[0]; !slices.Contains(s.RoutedServices, key) {
				s.RoutedServices = append(s.RoutedServices, key)
			}
		}
	}
	return nil
}

// hosts finds every destination.host, however deep.
func hosts(v any) []string {
	var out []string
	switch x := v.(type) {
	case map[string]any:
		if d, ok := x["destination"].(map[string]any); ok {
			if h, ok := d["host"].(string); ok {
				out = append(out, h)
			}
		}
		for _, inner := range x {
			out = append(out, hosts(inner)...)
		}
	case []any:
		for _, inner := range x {
			out = append(out, hosts(inner)...)
		}
	}
	return out
}

// list lists a kind that may not be installed: then there is nothing of it.
func (r *Reader) list(ctx context.Context, gvr schema.GroupVersionResource, opts metav1.ListOptions) ([]unstructured.Unstructured, error) {
	opts.Limit = page
	var out []unstructured.Unstructured
	for {
		l, err := r.dynamic.Resource(gvr).List(ctx, opts)
		if apierrors.IsNotFound(err) {
			return out, nil
		}
		if err != nil {
			return nil, listing(gvr.Resource+"."+gvr.Group, err)
		}
		out = append(out, l.Items...)
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return out, nil
		}
	}
}

// order sorts every list by its elements' identity, so that equal meshes give equal bytes.
func order(s *mesh.Snapshot) {
	by := func(parts ...string) string { return strings.Join(parts, "\x00") }
	slices.SortFunc(s.ControlPlanes, func(a, b mesh.ControlPlane) int { return cmp.Compare(a.Revision, b.Revision) })
	slices.SortFunc(s.Injectors, func(a, b mesh.Injector) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Validators, func(a, b mesh.Validator) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.TagServices, func(a, b mesh.TagService) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Namespaces, func(a, b mesh.Namespace) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Workloads, func(a, b mesh.Workload) int {
		return cmp.Compare(by(a.Namespace, string(a.Kind), a.Name), by(b.Namespace, string(b.Kind), b.Name))
	})
	slices.SortFunc(s.Pods, func(a, b mesh.Pod) int { return cmp.Compare(by(a.Namespace, a.Name), by(b.Namespace, b.Name)) })
	slices.SortFunc(s.Releases, func(a, b mesh.Release) int { return cmp.Compare(by(a.Namespace, a.Name), by(b.Namespace, b.Name)) })
	object := func(a, b mesh.Object) int {
		return cmp.Compare(by(a.Namespace, a.Kind, a.Name), by(b.Namespace, b.Kind, b.Name))
	}
	slices.SortFunc(s.PinnedObjects, object)
	slices.SortFunc(s.ManagedGateways, object)
	slices.SortFunc(s.Unsupported, object)
	slices.SortFunc(s.Singletons, func(a, b mesh.Singleton) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.CRDs, func(a, b mesh.CRD) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(s.RoutedServices)
}
