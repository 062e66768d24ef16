package istiod_test

import (
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/serin-mesh/serin/internal/istiod"
)

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// listening is a listener whose filters' configuration is packed twice over.
func listening(t *testing.T, kb uint32, filter *anypb.Any) *discovery.DiscoveryResponse {
	t.Helper()
	manager := &hcm.HttpConnectionManager{
		StatPrefix: "x", MaxRequestHeadersKb: wrapperspb.UInt32(kb), RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{RouteConfigName: "80"}},
		HttpFilters: []*hcm.HttpFilter{{Name: "f", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: filter}}},
	}
	manager.GetRds().ConfigSource = &core.ConfigSource{ConfigSourceSpecifier: &core.ConfigSource_Ads{}}
	l := &listener.Listener{Name: "virtualInbound", FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
		Name: "h", ConfigType: &listener.Filter_TypedConfig{TypedConfig: packed(t, manager)},
	}}}}}
	return &discovery.DiscoveryResponse{TypeUrl: "type.googleapis.com/envoy.config.listener.v3.Listener", Resources: []*anypb.Any{packed(t, l)}}
}

func TestRejects_looksInsideOfFilters(t *testing.T) {
	unknown := &anypb.Any{TypeUrl: "type.googleapis.com/shop.v1.Guard", Value: []byte("x")}
	for _, tt := range []struct {
		name   string
		answer *discovery.DiscoveryResponse
		want   string
	}{
		{"a filter that nothing is known of", listening(t, 60, unknown), ""},
		{"a value out of its range", listening(t, 99999, unknown), "MaxRequestHeadersKb"},
		{"what cannot be read", listening(t, 60, &anypb.Any{TypeUrl: packed(t, &lua.Lua{}).GetTypeUrl(), Value: []byte{0xff}}), "cannot be read"},
		{"another type of answer", &discovery.DiscoveryResponse{TypeUrl: "type.googleapis.com/x"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := istiod.Rejects(tt.answer)["virtualInbound"]
			if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("got %q", got)
			}
		})
	}
}
