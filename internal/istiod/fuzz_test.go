package istiod_test

import (
	"testing"

	"github.com/serin-mesh/serin/internal/istiod"
)

// FuzzParseDump: whatever an istiod answers for a proxy's configuration, it is read
// or is an error.
func FuzzParseDump(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"configs":[null]}`, `{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump","dynamicActiveClusters":[{"cluster":{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"a"}}]}]}`,
		`{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamicListeners":[{"name":"x","activeState":{"listener":{}}}]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if c, err := istiod.ParseDump(b); err == nil {
			_ = istiod.References(c)
		}
	})
}
