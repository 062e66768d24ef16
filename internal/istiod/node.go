package istiod

import (
	"encoding/json"
	"maps"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
)

// proxyContainer is the container, or init container, that injection adds (R§1.5).
const proxyContainer = "istio-proxy"

// proxyOf is the part of a node's id that istiod calls the proxy: pod.namespace.
func proxyOf(n *core.Node) string {
	if parts := strings.Split(n.GetId(), "~"); len(parts) == 4 {
		return parts[2]
	}
	return ""
}

// Facts about a proxy that only its running pod has, and that its agent finds out
// by itself: they are those of the proxy that is there now.
func agentsOwn() []string {
	return []string{"ENVOY_PROMETHEUS_PORT", "ENVOY_STATUS_PORT", "EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "METADATA_DISCOVERY", "OUTLIER_LOG_PATH", "PILOT_SAN", "PLATFORM_METADATA", "UNPRIVILEGED_POD"}
}

// nodeOf is what the proxy of an injected pod would say of itself: what its agent
// makes of the pod's environment, labels and annotations (pkg/bootstrap/config.go
// GetNodeMetaData). now is the running pod in whose place it would be, known what
// its proxy said of itself.
func nodeOf(injected, now corev1.Pod, known client, version string) *core.Node {
	proxy, ok := sidecar(injected)
	if !ok {
		return nil
	}
	meta := environment(proxy, now)
	for _, k := range agentsOwn() {
		if v, ok := known.Metadata[k]; ok {
			if _, set := meta[k]; !set {
				meta[k] = v
			}
		}
	}
	// Both would have istiod register a workload in its name (R§7.4).
	delete(meta, "AUTO_REGISTER_GROUP")
	delete(meta, "WORKLOAD_ENTRY")
	labels := maps.Clone(injected.Labels)
	delete(labels, "pod-template-hash")
	meta["LABELS"], meta["ANNOTATIONS"] = untyped(labels), untyped(injected.Annotations)
	meta["NAME"], meta["NAMESPACE"], meta["NODE_NAME"] = now.Name, now.Namespace, now.Spec.NodeName
	meta["SERVICE_ACCOUNT"] = now.Spec.ServiceAccountName
	meta["INSTANCE_IPS"] = addresses(now)
	meta["ISTIO_VERSION"] = version
	n := &core.Node{
		Id:      strings.Join([]string{kind(proxy), now.Status.PodIP, now.Name + "." + now.Namespace, now.Namespace + ".svc." + domain(proxy)}, "~"),
		Cluster: injected.Labels["service.istio.io/canonical-name"] + "." + now.Namespace,
	}
	if len(known.Locality) > 0 {
		n.Locality = &core.Locality{}
		if protojson.Unmarshal(known.Locality, n.GetLocality()) != nil {
			n.Locality = nil
		}
	}
	// A value that JSON cannot hold is none of Istio's: it comes from JSON.
	n.Metadata, _ = structpb.NewStruct(plain(meta))
	return n
}

// plain is the metadata as JSON has it.
func plain(meta map[string]any) map[string]any {
	b, err := json.Marshal(meta)
	if err != nil {
		return nil
	}
	var out map[string]any
	if json.Unmarshal(b, &out) != nil {
		return nil
	}
	return out
}

func sidecar(p corev1.Pod) (corev1.Container, bool) {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			if c.Name == proxyContainer {
				return c, true
			}
		}
	}
	return corev1.Container{}, false
}

// environment is the metadata in the proxy's environment.
func environment(c corev1.Container, now corev1.Pod) map[string]any {
	meta := map[string]any{}
	var objects []string
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			value = field(now, e.ValueFrom.FieldRef.FieldPath)
		}
		if e.Name == "PROXY_CONFIG" {
			var conf map[string]any
			if json.Unmarshal([]byte(value), &conf) == nil {
				meta["PROXY_CONFIG"] = conf
			}
		}
		if name, ok := strings.CutPrefix(e.Name, "ISTIO_META_"); ok {
			meta[name] = value
		}
		if strings.HasPrefix(e.Name, "ISTIO_METAJSON_") {
			objects = append(objects, value)
		}
	}
	for _, o := range objects {
		var m map[string]any
		if json.Unmarshal([]byte(o), &m) == nil {
			maps.Copy(meta, m)
		}
	}
	return meta
}

// field is what the downward API gives for the fields that injection asks for.
func field(p corev1.Pod, path string) string {
	switch path {
	case "metadata.name":
		return p.Name
	case "metadata.namespace":
		return p.Namespace
	case "spec.nodeName":
		return p.Spec.NodeName
	case "spec.serviceAccountName":
		return p.Spec.ServiceAccountName
	case "status.podIP":
		return p.Status.PodIP
	case "status.hostIP":
		return p.Status.HostIP
	}
	return ""
}

// addresses are the pod's, as one string: istiod splits it.
func addresses(p corev1.Pod) string {
	var out []string
	for _, ip := range p.Status.PodIPs {
		out = append(out, ip.IP)
	}
	if len(out) == 0 {
		return p.Status.PodIP
	}
	return strings.Join(out, ",")
}

// kind is the type of the proxy: its second argument, "proxy sidecar".
func kind(c corev1.Container) string {
	if len(c.Args) > 1 && c.Args[0] == "proxy" {
		return c.Args[1]
	}
	return "sidecar"
}

// domain is the cluster's, from the argument that names that of the namespace.
func domain(c corev1.Container) string {
	for i, a := range c.Args {
		if a == "--domain" && i+1 < len(c.Args) {
			if _, d, ok := strings.Cut(c.Args[i+1], ".svc."); ok {
				return d
			}
		}
	}
	return "cluster.local"
}

func untyped(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
