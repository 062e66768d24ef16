package istiod

import (
	"errors"
	"fmt"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3" // these for their definitions: what filters are configured with can then be read
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/serin-mesh/serin/internal/shadow"
)

// rejects are the resources of an answer that Envoy would not accept, by name, and
// why. A proxy that rejects one keeps what it had, and one that is new starts
// without it.
func rejects(answer *discovery.DiscoveryResponse) (shadow.Kind, map[string]string) {
	kind, out := shadow.Kind(""), map[string]string{}
	for _, any := range answer.GetResources() {
		var (
			m    proto.Message
			name func() string
		)
		switch answer.GetTypeUrl() {
		case typeURL(shadow.Clusters):
			c := &cluster.Cluster{}
			kind, m, name = shadow.Clusters, c, c.GetName
		case typeURL(shadow.Listeners):
			l := &listener.Listener{}
			kind, m, name = shadow.Listeners, l, l.GetName
		case typeURL(shadow.Routes):
			r := &route.RouteConfiguration{}
			kind, m, name = shadow.Routes, r, r.GetName
		default:
			return "", nil
		}
		if any.UnmarshalTo(m) != nil {
			continue // of another release's definition; istiod's own dump is what is compared
		}
		if err := broken(m); err != nil {
			out[name()] = err.Error()
		}
	}
	return kind, out
}

// broken says why Envoy would reject a message: what its definition demands of each
// value, which Envoy checks first, of it and of the filters' configuration inside.
// What only a filter itself finds wrong is not known here.
func broken(m proto.Message) error {
	if v, ok := m.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return err
		}
	}
	return within(m.ProtoReflect())
}

func unpacked(packed *anypb.Any) error {
	inner, err := packed.UnmarshalNew()
	switch {
	case errors.Is(err, protoregistry.NotFound):
		return nil // one of many filters of which nothing is known here
	case err != nil:
		return fmt.Errorf("%s cannot be read: %w", packed.GetTypeUrl(), err)
	}
	return broken(inner)
}

// within looks for messages that are packed: those that hold them do not look inside.
func within(m protoreflect.Message) error {
	if packed, ok := m.Interface().(*anypb.Any); ok {
		return unpacked(packed)
	}
	var first error
	look := func(v protoreflect.Value) bool {
		first = within(v.Message())
		return first == nil
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { return look(v) })
		case f.IsList() && f.Message() != nil:
			for i := 0; i < v.List().Len() && first == nil; i++ {
				look(v.List().Get(i))
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			look(v)
		}
		return first == nil
	})
	return first
}
