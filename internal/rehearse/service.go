package rehearse

import (
	"cmp"
	"slices"
	"strings"
)

// exportTo says of a Service to whom it is visible; "." is its own namespace.
const exportTo = "networking.istio.io/exportTo"

// service is a Service that only the copy's namespace sees.
func (b *builder) service(o Object) (copied Object, changes []string, why string) { //nolint:nonamedreturns // two texts
	kind := cmp.Or(text(o, "spec", "type"), "ClusterIP")
	selector := texts(o, "spec", "selector")
	switch {
	case kind == "ExternalName":
		out := o.moved(b.request)
		put(out, b.names.turn(text(o, "spec", "externalName")), "spec", "externalName")
		put(out, ".", "metadata", "annotations", exportTo)
		return out, nil, ""
	case b.request.Namespace == "default" && o.Name() == "kubernetes":
		return nil, nil, "it is the cluster's own"
	case len(selector) == 0:
		return nil, nil, "it selects no pods: its endpoints are made by somebody"
	case len(b.selected(selector)) == 0:
		return nil, nil, "it selects no pod of what is copied"
	}
	if kind != "ClusterIP" {
		changes = append(changes, "ClusterIP instead of "+kind)
	}
	if len(words(o, "spec", "externalIPs")) > 0 {
		changes = append(changes, "without external addresses")
	}
	out := o.moved(b.request)
	spec := map[string]any{"type": "ClusterIP"}
	for _, key := range []string{
		"selector", "ports", "sessionAffinity", "sessionAffinityConfig", "publishNotReadyAddresses", "internalTrafficPolicy", "trafficDistribution", "ipFamilyPolicy", "ipFamilies",
	} {
		if v, ok := below(out, "spec")[key]; ok {
			spec[key] = v
		}
	}
	if text(o, "spec", "clusterIP") == "None" {
		spec["clusterIP"] = "None"
	}
	for _, p := range elements(spec, "ports") {
		delete(p, "nodePort")
	}
	out["spec"] = spec
	put(out, ".", "metadata", "annotations", exportTo)
	b.asks(out)
	return out, changes, ""
}

// selected are the copied Deployments whose pods a Service selects.
func (b *builder) selected(selector map[string]string) []Object {
	var out []Object
	for _, o := range b.plan.Objects {
		if o.Kind() != "Deployment" {
			continue
		}
		labels, all := texts(o, "spec", "template", "metadata", "labels"), true
		for k, v := range selector {
			all = all && labels[k] == v
		}
		if all {
			out = append(out, o)
		}
	}
	return out
}

// Ask is a port of a Service, asked at a pod of the original and at one of the copy.
type Ask struct {
	Service  string            `json:"service"`
	Port     int               `json:"port"`
	Target   string            `json:"target"`         // number or name of the pods' port
	Path     string            `json:"path,omitempty"` // of the request; empty where only a connection is made
	Selector map[string]string `json:"-"`
}

// asks notes what a copied Service is asked.
func (b *builder) asks(service Object) {
	selector := texts(service, "spec", "selector")
	for _, p := range elements(service, "spec", "ports") {
		port, ok := number(p, "port")
		switch protocol := cmp.Or(text(p, "protocol"), "TCP"); {
		case !ok:
			continue
		case protocol != "TCP":
			b.note("Service %s, port %d: %s cannot be asked", service.Name(), port, protocol)
			continue
		}
		ask := Ask{Service: service.Name(), Port: port, Target: target(p), Selector: selector}
		if !speaksHTTP(p) {
			b.plan.Asks = append(b.plan.Asks, ask)
			continue
		}
		paths := append([]string{b.probed(selector, ask.Target)}, b.request.Paths...)
		for i, path := range paths {
			if ask.Path = path; !slices.Contains(paths[:i], path) {
				b.plan.Asks = append(b.plan.Asks, ask)
			}
		}
	}
}

func target(port map[string]any) string {
	if name := text(port, "targetPort"); name != "" {
		return name
	}
	n, ok := number(port, "targetPort")
	if !ok {
		n, _ = number(port, "port")
	}
	return decimal(n)
}

// speaksHTTP says whether a port is declared to, by the rules that Istio has: a
// port that is not, a database's say, is not sent what it would take for garbage.
func speaksHTTP(port map[string]any) bool {
	protocol, _, _ := strings.Cut(cmp.Or(text(port, "appProtocol"), text(port, "name")), "-")
	return slices.Contains([]string{"http", "http2"}, strings.ToLower(protocol)) || text(port, "appProtocol") == "kubernetes.io/h2c"
}

// probed is the path that the kubelet asks at this port already, else the root.
func (b *builder) probed(selector map[string]string, target string) string {
	for _, o := range b.selected(selector) {
		for _, c := range elements(o, "spec", "template", "spec", "containers") {
			for _, kind := range []string{"readinessProbe", "livenessProbe"} {
				get := below(c, kind, "httpGet")
				if path := text(get, "path"); path != "" && sameport(c, get, target) {
					return "/" + strings.TrimPrefix(path, "/")
				}
			}
		}
	}
	return "/"
}

// sameport says whether a probe's port is the one that a Service leads to.
func sameport(container, get map[string]any, target string) bool {
	probe := text(get, "port")
	if n, ok := number(get, "port"); ok {
		probe = decimal(n)
	}
	return resolved(container, probe) == resolved(container, target)
}

// resolved is a port's number, where the container names it.
func resolved(container map[string]any, port string) string {
	for _, p := range elements(container, "ports") {
		if n, ok := number(p, "containerPort"); ok && port != "" && text(p, "name") == port {
			return decimal(n)
		}
	}
	return port
}
