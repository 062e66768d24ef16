package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

const bundleAnnotation = "gateway.networking.k8s.io/bundle-version"

// resource is how to ask for a definition's objects; none where it is not there.
func (r *Reader) resource(ctx context.Context, v *survey, crd string) (schema.GroupVersionResource, error) {
	if gvr, ok := v.resources[crd]; ok || !slices.Contains(v.definitions, crd) {
		return gvr, nil
	}
	d, err := r.CRDs.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, crd, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return schema.GroupVersionResource{}, nil
	}
	if err != nil {
		return schema.GroupVersionResource{}, asking("get", "customresourcedefinitions "+crd, err)
	}
	return schema.GroupVersionResource{Group: d.Spec.Group, Version: served(d), Resource: d.Spec.Names.Plural}, nil
}

// gatewayAPI reads the Gateway API's definitions.
func (r *Reader) gatewayAPI(ctx context.Context, v *survey) error {
	for _, name := range v.definitions {
		if !strings.HasSuffix(name, ".gateway.networking.k8s.io") {
			continue
		}
		d, err := r.CRDs.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return asking("get", "customresourcedefinitions "+name, err)
		}
		c := crdOf(d)
		c.Bundle = d.Annotations[bundleAnnotation]
		v.note(func() { v.GatewayAPI = append(v.GatewayAPI, c) })
	}
	return nil
}

// kinds finds which of the kinds have an object at all, and searches those that
// the upgrade notes name words for. The rest of Gateway API counts too: a
// definition that is ignored matters only where there are objects.
func (r *Reader) kinds(ctx context.Context, v *survey) error {
	texts := map[string][]string{}
	for _, t := range skew.Texts() {
		resource, words, _ := strings.Cut(t, " ")
		texts[resource] = append(texts[resource], words)
	}
	wanted := slices.Clone(skew.Kinds())
	for _, name := range v.definitions {
		if strings.HasSuffix(name, "routes.gateway.networking.k8s.io") {
			wanted = append(wanted, name)
		}
	}
	slices.Sort(wanted)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, kind := range slices.Compact(wanted) {
		g.Go(func() error { return v.tolerate(kind, r.any(ctx, v, kind)) })
	}
	for kind, words := range texts {
		g.Go(func() error { return v.tolerate(kind, r.search(ctx, v, kind, words)) })
	}
	return g.Wait()
}

// any notes whether there is an object of the kind: one is enough to ask for.
func (r *Reader) any(ctx context.Context, v *survey, kind string) error {
	gvr, err := r.resource(ctx, v, kind)
	if err != nil || gvr.Version == "" {
		return err
	}
	l, err := r.Metadata.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return asking("list", kind, err)
	}
	if len(l.Items) > 0 {
		v.note(func() { v.kinds[kind] = true })
	}
	return nil
}

// search notes the objects of the kind whose spec has one of the words.
func (r *Reader) search(ctx context.Context, v *survey, kind string, words []string) error {
	gvr, err := r.resource(ctx, v, kind)
	if err != nil || gvr.Version == "" {
		return err
	}
	return each(ctx, kind, metav1.ListOptions{}, r.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
		for _, o := range l.Items {
			spec, err := json.Marshal(o.Object["spec"])
			if err != nil {
				continue // it came from JSON
			}
			for _, w := range words {
				if strings.Contains(string(spec), w) {
					v.note(func() {
						if v.Texts == nil {
							v.Texts = map[string][]string{}
						}
						v.Texts[kind+" "+w] = append(v.Texts[kind+" "+w], o.GetNamespace()+"/"+o.GetName())
					})
				}
			}
		}
	})
}

// envoyFilters keeps of each what an upgrade may break.
func (r *Reader) envoyFilters(ctx context.Context, v *survey) error {
	const kind = "envoyfilters.networking.istio.io"
	gvr, err := r.resource(ctx, v, kind)
	if err != nil || gvr.Version == "" {
		return err
	}
	return each(ctx, kind, metav1.ListOptions{}, r.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
		for i := range l.Items {
			f := envoyFilterOf(&l.Items[i])
			v.note(func() { v.EnvoyFilters = append(v.EnvoyFilters, f) })
		}
	})
}

func envoyFilterOf(o *unstructured.Unstructured) mesh.EnvoyFilter {
	f := mesh.EnvoyFilter{Namespace: o.GetNamespace(), Name: o.GetName()}
	patches, _, _ := unstructured.NestedSlice(o.Object, "spec", "configPatches")
	for _, p := range patches {
		patch, _ := p.(map[string]any)
		if version, _, _ := unstructured.NestedString(patch, "match", "proxy", "proxyVersion"); version != "" {
			f.ProxyVersions = append(f.ProxyVersions, version)
		}
		if op, _, _ := unstructured.NestedString(patch, "patch", "operation"); slices.Contains([]string{"INSERT_BEFORE", "INSERT_AFTER", "REPLACE"}, op) {
			f.Relative = append(f.Relative, op)
		}
		value, _, _ := unstructured.NestedMap(patch, "patch", "value")
		walk(value, func(key, text string) {
			switch {
			case key == "@type", key == "type_url": // the second is inside of a TypedStruct
				f.Types = append(f.Types, text[strings.LastIndex(text, "/")+1:])
			case key == "name" && strings.HasPrefix(text, "envoy."):
				f.Filters = append(f.Filters, text)
			}
		})
	}
	for _, list := range []*[]string{&f.ProxyVersions, &f.Relative, &f.Types, &f.Filters} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return f
}

// walk calls use for every string in the value, with its key.
func walk(v any, use func(key, text string)) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if text, ok := e.(string); ok {
				use(k, text)
				continue
			}
			walk(e, use)
		}
	case []any:
		for _, e := range v {
			walk(e, use)
		}
	}
}

// installers finds objects that make a controller install Istio.
func (r *Reader) installers(ctx context.Context, v *survey) error {
	for crd, note := range map[string]func(*unstructured.Unstructured) string{
		"istios.sailoperator.io":              always("the Sail operator"),
		"istiooperators.install.istio.io":     always("an IstioOperator, for an operator in the cluster"),
		"applications.argoproj.io":            argo,
		"helmreleases.helm.toolkit.fluxcd.io": flux,
	} {
		if err := v.tolerate(crd, r.installer(ctx, v, crd, note)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) installer(ctx context.Context, v *survey, crd string, note func(*unstructured.Unstructured) string) error {
	gvr, err := r.resource(ctx, v, crd)
	if err != nil || gvr.Version == "" {
		return err
	}
	return each(ctx, crd, metav1.ListOptions{}, r.Dynamic.Resource(gvr).List, func(l *unstructured.UnstructuredList) {
		for i := range l.Items {
			o := &l.Items[i]
			if why := note(o); why != "" {
				v.note(func() {
					v.Installers = append(v.Installers, mesh.Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Note: why})
				})
			}
		}
	})
}

func always(note string) func(*unstructured.Unstructured) string {
	return func(*unstructured.Unstructured) string { return note }
}

// argo recognises an Application whose sources are Istio's charts.
func argo(o *unstructured.Unstructured) string {
	sources, _, _ := unstructured.NestedSlice(o.Object, "spec", "sources")
	if one, ok, _ := unstructured.NestedMap(o.Object, "spec", "source"); ok {
		sources = append(sources, one)
	}
	for _, s := range sources {
		m, _ := s.(map[string]any)
		chart, _, _ := unstructured.NestedString(m, "chart")
		repo, _, _ := unstructured.NestedString(m, "repoURL")
		if ofIstiosCharts(chart, repo) {
			return "Argo CD, chart " + chart
		}
	}
	return ""
}

// flux recognises a HelmRelease of one of Istio's charts.
func flux(o *unstructured.Unstructured) string {
	chart, _, _ := unstructured.NestedString(o.Object, "spec", "chart", "spec", "chart")
	source, _, _ := unstructured.NestedString(o.Object, "spec", "chart", "spec", "sourceRef", "name")
	if ofIstiosCharts(chart, source) {
		return "Flux, chart " + chart
	}
	return ""
}

// ofIstiosCharts says whether a chart is one of Istio's: base and gateway are
// names that others have too, and are so only where they come from Istio.
func ofIstiosCharts(chart, from string) bool {
	return chart == "istiod" || slices.Contains([]string{"base", "gateway", "cni", "ztunnel", "ambient"}, chart) && strings.Contains(strings.ToLower(from), "istio")
}
