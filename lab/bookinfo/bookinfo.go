// Package bookinfo puts the mesh that everybody knows on a cluster: Istio by
// Helm as the default revision, one ingress gateway, and services in the shape
// of Istio's bookinfo sample: productpage calls details and three versions of
// reviews, two of which call ratings.
//
// It is what the demo shows and what the lab's tests upgrade. Start at Install.
package bookinfo

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

//go:embed manifests.yaml
var manifests embed.FS

// Host is the host name the ingress gateway serves.
const Host = "bookinfo.example.com"

// Path is a path of productpage that the gateway routes.
const Path = "/productpage"

// Apps are the Deployments' names, in the order they are made.
func Apps() []string {
	return []string{"details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1"}
}

// Options say what the services are like.
type Options struct {
	Namespace string        // default "default"
	Labels    string        // of the namespace, as YAML flow: {istio-injection: enabled}
	Replicas  int           // of each Deployment; default 1
	Drain     time.Duration // how long an app goes on serving after SIGTERM
	NoGateway bool          // leave the Gateway and VirtualService out
}

// service is one Deployment of the sample.
type service struct{ Name, Version, Upstreams string }

func services() []service {
	return []service{
		{"details", "v1", ""},
		{"ratings", "v1", ""},
		{"reviews", "v1", ""},
		{"reviews", "v2", "http://ratings:9080"},
		{"reviews", "v3", "http://ratings:9080"},
		{"productpage", "v1", "http://details:9080,http://reviews:9080"},
	}
}

// Objects renders the sample.
func Objects(o Options) ([]*unstructured.Unstructured, error) {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.Labels == "" {
		o.Labels = "{istio-injection: enabled}"
	}
	o.Replicas = max(o.Replicas, 1)
	text, err := manifests.ReadFile("manifests.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the manifests: %w", err)
	}
	t, err := template.New("bookinfo").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("parsing the manifests: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, map[string]any{"O": o, "Services": services(), "Host": Host, "Path": Path}); err != nil {
		return nil, fmt.Errorf("rendering the manifests: %w", err)
	}
	return decode(&out)
}

func decode(r io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("decoding the manifests: %w", err)
		}
		if len(u.Object) > 0 {
			objects = append(objects, u)
		}
	}
}

// Apply puts objects on the cluster by server-side apply, field manager "bookinfo".
func Apply(ctx context.Context, cfg *rest.Config, objects []*unstructured.Unstructured) error {
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	dc, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(dc))
	for _, u := range objects {
		m, err := mapper.RESTMapping(u.GroupVersionKind().GroupKind(), u.GroupVersionKind().Version)
		if err != nil {
			return fmt.Errorf("finding the resource of %s %s: %w", u.GetKind(), u.GetName(), err)
		}
		r := dynamic.ResourceInterface(dyn.Resource(m.Resource))
		if m.Scope.Name() == meta.RESTScopeNameNamespace {
			r = dyn.Resource(m.Resource).Namespace(u.GetNamespace())
		}
		if _, err := r.Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: "bookinfo", Force: true}); err != nil {
			return fmt.Errorf("applying %s %s/%s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
		}
	}
	return nil
}
