package envoy

import (
	"fmt"
	"strings"

	admin "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
)

// Bootstrap is what a proxy was started with.
type Bootstrap struct {
	IstioVersion     string
	ProxyVersion     string // the commit of Istio's proxy
	EnvoyVersion     string
	DiscoveryAddress string         // of the istiod that its agent connects to
	Document         map[string]any // all of it, under canonical names
}

// Bootstrap reads the proxy's bootstrap.
func (d Dump) Bootstrap() (Bootstrap, error) {
	s, err := d.section("BootstrapConfigDump")
	if err != nil {
		return Bootstrap{}, err
	}
	m := &admin.BootstrapConfigDump{}
	if err := into(s, m); err != nil {
		return Bootstrap{}, fmt.Errorf("reading the proxy's bootstrap: %w", err)
	}
	meta := m.GetBootstrap().GetNode().GetMetadata().GetFields()
	b := Bootstrap{
		IstioVersion:     meta["ISTIO_VERSION"].GetStringValue(),
		ProxyVersion:     meta["ISTIO_PROXY_SHA"].GetStringValue(),
		DiscoveryAddress: meta["PROXY_CONFIG"].GetStructValue().GetFields()["discoveryAddress"].GetStringValue(),
		Document:         document(s, m),
	}
	if parts := strings.Split(b.ProxyVersion, ":"); len(parts) > 1 { // istio-proxy:<commit>
		b.ProxyVersion = parts[1]
	}
	build := m.GetBootstrap().GetNode().GetUserAgentBuildVersion()
	v := build.GetVersion()
	b.EnvoyVersion = fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	for _, part := range []struct{ key, sep string }{{"build.label", "-"}, {"revision.status", "/"}, {"build.type", "/"}, {"ssl.version", "/"}} {
		if value, ok := build.GetMetadata().GetFields()[part.key]; ok {
			b.EnvoyVersion += part.sep + value.GetStringValue()
		}
	}
	return b, nil
}
