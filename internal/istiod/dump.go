package istiod

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/serin-mesh/serin/internal/shadow"
)

// client is a connection as /debug/adsz lists it.
type client struct {
	ID       string          `json:"connectionId"` // the proxy's id, a dash and a number
	Metadata map[string]any  `json:"metadata"`
	Locality json.RawMessage `json:"locality"`
}

// proxy is the pod.namespace of the connection.
func (c client) proxy() string { return c.ID[:max(0, strings.LastIndexByte(c.ID, '-'))] }

// clients lists the connections of an istiod, by pod.namespace: of several the newest.
func (s *server) clients(ctx context.Context) (map[string]client, error) {
	b, err := s.get(ctx, "/debug/connections")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Clients []client `json:"clients"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, fmt.Errorf("reading the connections of istiod %s: %w", s.pod.Name, err)
	}
	out := make(map[string]client, len(answer.Clients))
	for _, c := range answer.Clients { // sorted by id: a longer number is a newer one
		if old, ok := out[c.proxy()]; !ok || len(c.ID) > len(old.ID) || len(c.ID) == len(old.ID) && c.ID > old.ID {
			out[c.proxy()] = c
		}
	}
	return out, nil
}

// clientOf is one connection with its metadata.
func (s *server) clientOf(ctx context.Context, id string) (client, error) {
	b, err := s.get(ctx, "/debug/adsz?proxyID="+url.QueryEscape(id))
	if err != nil {
		return client{}, err
	}
	var answer struct {
		Clients []client `json:"clients"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return client{}, fmt.Errorf("reading connection %s of istiod %s: %w", id, s.pod.Name, err)
	}
	// istiod looks for a part of the id, and answers with any that has it.
	if len(answer.Clients) != 1 || answer.Clients[0].ID != id {
		return client{}, fmt.Errorf("istiod %s cannot tell connection %s from another\n  remedy: ask again once that proxy has reconnected", s.pod.Name, id)
	}
	return answer.Clients[0], nil
}

// kinds are what istiod calls the types of resources.
const kinds = "cds,eds,lds,rds,ecds,nds"

// config is what an istiod gives to a connection now, generated for the question.
func (s *server) config(ctx context.Context, id, types string) (shadow.Config, error) {
	b, err := s.get(ctx, "/debug/config_dump?types="+types+"&proxyID="+url.QueryEscape(id))
	if err != nil {
		return nil, err
	}
	c, err := parseDump(b)
	if err != nil {
		return nil, fmt.Errorf("reading what istiod %s gives %s: %w", s.pod.Name, id, err)
	}
	return c, nil
}

// parseDump sorts the resources of a dump by their type.
func parseDump(b []byte) (shadow.Config, error) {
	var dump struct {
		Configs []map[string]any `json:"configs"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&dump); err != nil {
		return nil, err
	}
	out := shadow.Config{}
	for _, c := range dump.Configs {
		of, _ := c["@type"].(string)
		kind, name := sort(of[strings.LastIndexByte(of, '.')+1:], c)
		if kind == "" {
			return nil, fmt.Errorf("a resource of type %q is none that proxies are given", of)
		}
		delete(c, "@type")
		if out[kind] == nil {
			out[kind] = map[string]any{}
		}
		out[kind][name] = c
	}
	return out, nil
}

// sort is the kind and the name of a resource.
func sort(typ string, c map[string]any) (shadow.Kind, string) {
	name, _ := c["name"].(string)
	switch typ {
	case "Cluster":
		return shadow.Clusters, name
	case "ClusterLoadAssignment":
		name, _ = c["clusterName"].(string)
		return shadow.Endpoints, name
	case "Listener":
		return shadow.Listeners, name
	case "RouteConfiguration":
		return shadow.Routes, name
	case "TypedExtensionConfig":
		return shadow.Extensions, name
	case "Wasm": // istiod shows the filter itself, so as to hide its secrets
		config, _ := c["config"].(map[string]any)
		name, _ = config["name"].(string)
		return shadow.Extensions, name
	case "NameTable":
		return shadow.Names, "names"
	}
	return "", ""
}

// refers are the names of resources that clusters and listeners lead to.
type refers struct{ endpoints, routes, extensions map[string]bool }

func references(c shadow.Config) refers {
	r := refers{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for name, body := range c[shadow.Clusters] {
		m, _ := body.(map[string]any)
		if m["type"] != "EDS" {
			continue
		}
		eds, _ := m["edsClusterConfig"].(map[string]any)
		if s, _ := eds["serviceName"].(string); s != "" {
			name = s
		}
		r.endpoints[name] = true
	}
	for _, body := range c[shadow.Listeners] {
		r.walk(body)
	}
	return r
}

func (r refers) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			r.walk(e)
		}
	case map[string]any:
		if rds, ok := v["rds"].(map[string]any); ok {
			if name, _ := rds["routeConfigName"].(string); name != "" {
				r.routes[name] = true
			}
		}
		if _, ok := v["configDiscovery"]; ok {
			if name, _ := v["name"].(string); name != "" {
				r.extensions[name] = true
			}
		}
		for _, e := range v {
			r.walk(e)
		}
	}
}
