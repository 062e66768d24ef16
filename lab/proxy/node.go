package proxy

import (
	"encoding/json"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// node is what the proxy says of itself, as pilot-agent builds it from the
// ISTIO_META_ variables, the pod's labels and the image (R§7.4).
func (p *Proxy) node() *core.Node {
	pod := p.cfg.Pod
	kind := "sidecar"
	if p.cfg.Router {
		kind = "router"
	}
	meta := map[string]any{}
	for k, v := range p.cfg.Env {
		if name, ok := strings.CutPrefix(k, "ISTIO_META_"); ok {
			meta[name] = v
		}
		if name, ok := strings.CutPrefix(k, "ISTIO_METAJSON_"); ok {
			var o any
			if json.Unmarshal([]byte(v), &o) == nil {
				meta[name] = o
			}
		}
	}
	var conf any
	if json.Unmarshal([]byte(p.cfg.Env["PROXY_CONFIG"]), &conf) == nil {
		meta["PROXY_CONFIG"] = conf
	}
	labels := map[string]any{}
	for k, v := range pod.Labels {
		labels[k] = v
	}
	meta["LABELS"] = labels
	meta["NAMESPACE"] = pod.Namespace
	meta["SERVICE_ACCOUNT"] = pod.Spec.ServiceAccountName
	meta["INSTANCE_IPS"] = pod.Status.PodIP
	meta["ISTIO_VERSION"] = p.version
	meta["NODE_NAME"] = pod.Spec.NodeName
	meta["NAME"] = pod.Name
	meta["PILOT_SAN"] = []any{}
	s, err := structpb.NewStruct(meta)
	if err != nil { // a value JSON cannot hold; istiod needs the rest
		s = &structpb.Struct{}
	}
	return &core.Node{
		Id:            kind + "~" + pod.Status.PodIP + "~" + pod.Name + "." + pod.Namespace + "~" + pod.Namespace + ".svc.cluster.local",
		Cluster:       pod.Labels["service.istio.io/canonical-name"] + "." + pod.Namespace,
		Metadata:      s,
		UserAgentName: "envoy",
	}
}

// peer says who calls, in the header that stands for the metadata exchange.
func (p *Proxy) peer() string {
	pod := p.cfg.Pod
	return strings.Join([]string{p.cfg.Env["ISTIO_META_WORKLOAD_NAME"], pod.Namespace, pod.Annotations["istio.io/rev"]}, "/")
}
