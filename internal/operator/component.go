package operator

import (
	"encoding/json"
	"fmt"
	"maps"
)

// Name is a component as the labels of its objects call it.
type Name string

// The components of an IstioOperator.
const (
	Base    Name = "Base"
	Pilot   Name = "Pilot"
	Ingress Name = "IngressGateways"
	Egress  Name = "EgressGateways"
	CNI     Name = "Cni"
	Ztunnel Name = "Ztunnel"
)

// Component is one chart to render: as release "istio", with these values, then
// Finish. A gateway list has several.
type Component struct {
	Name      Name
	Gateway   string // its own name, of a gateway
	Chart     string // base, istiod, istio-ingress, istio-egress, cni, ztunnel
	Namespace string
	Values    map[string]any

	path     string // in the document, for errors
	settings settings
	resource resource
}

// resource is the object that most settings change.
type resource struct{ kind, name, container string }

// kind is what is known of a component before a document says anything.
type kind struct {
	name     Name
	key      string // below spec.components
	chart    string
	root     string // of its values
	resource resource
	byItself bool   // there unless a document says otherwise
	several  bool   // a list
	flat     bool   // its chart has its values at the top
	also     string // a value that enables it too
}

// kinds are the components in the order of installation.
func kinds() []kind {
	return []kind{
		{name: Base, key: "base", chart: "base", root: "global", byItself: true},
		{name: Pilot, key: "pilot", chart: "istiod", root: "pilot", byItself: true, resource: resource{"Deployment", "istiod", "discovery"}},
		{
			name: Ingress, key: "ingressGateways", chart: "istio-ingress", root: "gateways.istio-ingressgateway", byItself: true, several: true,
			resource: resource{"Deployment", "istio-ingressgateway", "istio-proxy"}, also: "spec.values.gateways.istio-ingressgateway.enabled",
		},
		{
			name: Egress, key: "egressGateways", chart: "istio-egress", root: "gateways.istio-egressgateway", several: true,
			resource: resource{"Deployment", "istio-egressgateway", "istio-proxy"}, also: "spec.values.gateways.istio-egressgateway.enabled",
		},
		{name: CNI, key: "cni", chart: "cni", root: "cni", resource: resource{"DaemonSet", "istio-cni-node", "install-cni"}},
		{name: Ztunnel, key: "ztunnel", chart: "ztunnel", root: "ztunnel", flat: true, resource: resource{"DaemonSet", "ztunnel", "istio-proxy"}},
	}
}

// gateway says whether the component is one of the rendered gateways.
func (k kind) gateway() bool { return k.several }

// components are those of the kind that the merged document enables.
func (k kind) components(m map[string]any) ([]Component, error) {
	path := "spec.components." + k.key
	also := k.also != "" && boolAt(m, k.also)
	entries, said, err := k.entries(m, path)
	if err != nil {
		return nil, err
	}
	if !said {
		if !k.byItself && !also {
			return nil, nil
		}
		c, err := k.component(m, path, settings{})
		return []Component{c}, err
	}
	var out []Component
	for i, e := range entries {
		p := path
		if k.several {
			p = fmt.Sprintf("%s[%d]", path, i)
		}
		s, err := settingsOf(e, p)
		if err != nil {
			return nil, err
		}
		if !s.enabled() && !also {
			continue
		}
		c, err := k.component(m, p, s)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// entries are what the document says of the kind, and whether it says anything.
func (k kind) entries(m map[string]any, path string) ([]any, bool, error) {
	v, there := at(m, path)
	if !k.several {
		_, isMap := v.(map[string]any)
		return []any{v}, isMap, nil
	}
	list, isList := v.([]any)
	if there && !isList {
		return nil, true, fmt.Errorf("%s: it is no list", path)
	}
	return list, there, nil
}

func (k kind) component(m map[string]any, path string, s settings) (Component, error) {
	c := Component{Name: k.name, Gateway: s.Name, Chart: k.chart, path: path, settings: s, resource: k.resource, Namespace: s.Namespace}
	if c.Namespace == "" {
		c.Namespace = stringAt(m, "metadata.namespace")
	}
	if c.Namespace == "" {
		c.Namespace = "istio-system"
	}
	if s.Name != "" {
		c.resource.name = s.Name
	}
	if rev := stringAt(m, "spec.values.revision"); k.name == Pilot && rev != "" && rev != "default" {
		c.resource.name += "-" + rev
	}
	all, err := clone(m)
	if err != nil {
		return c, err
	}
	if err := k.own(all, s); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	c.Values, _ = mapAt(all, "spec.values")
	if own, ok := mapAt(all, "spec.values."+k.root); k.flat && ok {
		c.Values = flattened(c.Values, own)
	}
	return c, nil
}

// own puts what the component says of itself among its values.
func (k kind) own(m map[string]any, s settings) error {
	root := append([]string{"spec", "values"}, splitEscaped(k.root, '.')...)
	put := func(key string, v any) error { return setPath(m, append(append([]string{}, root...), key), v) }
	if k.gateway() {
		labels := map[string]any{}
		for key, v := range s.Label {
			labels[key] = v
		}
		if err := put("name", s.Name); err != nil {
			return err
		}
		if err := put("labels", labels); err != nil {
			return err
		}
		ports, err := s.ports()
		if err != nil {
			return err
		}
		if len(ports) > 0 {
			if err := put("ports", ports); err != nil {
				return err
			}
		}
	}
	if s.Hub != "" {
		if err := setText(m, "spec.values."+k.root+".hub", s.Hub); err != nil {
			return err
		}
	}
	if s.Tag != nil {
		return setText(m, "spec.values."+k.root+".tag", fmt.Sprint(s.Tag))
	}
	return nil
}

// flattened are values for a chart that has its own at the top.
func flattened(all, own map[string]any) map[string]any {
	out := map[string]any{"global": all["global"]}
	for k, v := range all {
		if _, isMap := v.(map[string]any); !isMap {
			out[k] = v
		}
	}
	maps.Copy(out, own)
	return out
}

// ports are a gateway's Service ports as plain data, which its chart takes as values.
func (s settings) ports() ([]any, error) {
	if s.Kubernetes == nil || s.Kubernetes.Service == nil || len(s.Kubernetes.Service.Ports) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(s.Kubernetes.Service.Ports)
	if err != nil {
		return nil, fmt.Errorf("reading its ports: %w", err)
	}
	var out []any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("reading its ports: %w", err)
	}
	return out, nil
}
