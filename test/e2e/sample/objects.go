package sample

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

//go:embed *.yaml
var manifests embed.FS

// The names of what is put on the cluster.
const (
	Host      = "bookinfo.example.com" // that the gateway serves
	Path      = "/productpage"
	Namespace = "bookinfo"      // of the services
	Gateway   = "istio-ingress" // namespace and name of the gateway
	System    = "istio-system"
	LoadPlace = "serin-e2e" // namespace of the load
	Image     = "docker.io/serin/app:1"
)

// Apps are the services' Deployments, in the order a person would list them.
func Apps() []string {
	return []string{"details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1"}
}

// Options say what the services are like.
type Options struct {
	Replicas int           // of each Deployment; default 1
	Drain    time.Duration // how long a service goes on answering after SIGTERM; 0 stops at once
	Image    string        // default Image
}

type app struct{ Name, Version, Upstreams string }

func services() []app {
	return []app{
		{"details", "v1", ""},
		{"ratings", "v1", ""},
		{"reviews", "v1", ""},
		{"reviews", "v2", "http://ratings:9080"},
		{"reviews", "v3", "http://ratings:9080"},
		{"productpage", "v1", "http://details:9080,http://reviews:9080"},
	}
}

// objects renders one of the manifests.
func objects(file string, o Options) ([]*unstructured.Unstructured, error) {
	t, err := template.ParseFS(manifests, file)
	if err != nil {
		return nil, fmt.Errorf("reading the manifests: %w", err)
	}
	if o.Image == "" {
		o.Image = Image
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Services": services(), "Host": Host, "Path": Path, "Namespace": Namespace, "Load": LoadPlace,
		"Replicas": max(o.Replicas, 1), "Drain": o.Drain.String(), "Image": o.Image,
	})
	if err != nil {
		return nil, fmt.Errorf("rendering the manifests: %w", err)
	}
	var all []*unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(&out, 4096); ; {
		u := &unstructured.Unstructured{}
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("decoding the manifests: %w", err)
		}
		if len(u.Object) > 0 {
			all = append(all, u)
		}
	}
}
