package istio_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/istio"
)

func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCleanValues(t *testing.T) {
	for name, tc := range map[string]struct {
		values, clean string
		dropped       []string
	}{
		"a site's mirror stays, the old release's tag does not": {
			values: "global: {hub: mirror.example.com/istio, tag: 1.27.0, proxy: {logLevel: debug}}", clean: "global: {hub: mirror.example.com/istio, proxy: {logLevel: debug}}",
			dropped: []string{"global.tag"},
		},
		"what names the revision goes, wherever it stands": {
			values:  "{revision: a, defaultRevision: a, revisionTags: [prod], tag: x, pilot: {tag: y, traceSampling: 5}}",
			clean:   "pilot: {traceSampling: 5}",
			dropped: []string{"defaultRevision", "pilot.tag", "revision", "revisionTags", "tag"},
		},
		"addresses of the old istiod go, and maps they leave empty": {
			values:  "{global: {caAddress: 'istiod.istio-system.svc:15012'}, meshConfig: {accessLogFile: /dev/stdout, defaultConfig: {discoveryAddress: 'istiod.istio-system.svc:15012'}}}",
			clean:   "meshConfig: {accessLogFile: /dev/stdout}",
			dropped: []string{"global.caAddress", "meshConfig.defaultConfig.discoveryAddress"},
		},
		"other proxy settings beside the address stay": {
			values:  "meshConfig: {defaultConfig: {discoveryAddress: 'x:1', holdApplicationUntilProxyStarts: true}}",
			clean:   "meshConfig: {defaultConfig: {holdApplicationUntilProxyStarts: true}}",
			dropped: []string{"meshConfig.defaultConfig.discoveryAddress"},
		},
		"an image by name stays": {
			values: "pilot: {image: pilot}", clean: "pilot: {image: pilot}",
		},
		"an image with a tag or a digest pins the old release": {
			values:  "{pilot: {image: 'mirror:5000/pilot:1.27.0'}, global: {proxy: {image: 'proxyv2@sha256:aa'}}}",
			clean:   "{}",
			dropped: []string{"global.proxy.image", "pilot.image"},
		},
		"a registry's port is no tag": {
			values: "pilot: {image: 'mirror:5000/pilot'}", clean: "pilot: {image: 'mirror:5000/pilot'}",
		},
		"nothing":                         {values: "{}", clean: "{}"},
		"a path through what is no map":   {values: "global: text", clean: "global: text"},
		"an empty map of the user's stay": {values: "pilot: {env: {}}", clean: "pilot: {env: {}}"},
	} {
		t.Run(name, func(t *testing.T) {
			values := parsed(t, tc.values)
			clean, dropped := istio.CleanValues(values)
			if d := cmp.Diff(parsed(t, tc.clean), clean); d != "" {
				t.Error("clean: -want +got", d)
			}
			if d := cmp.Diff(tc.dropped, dropped); d != "" {
				t.Error("dropped: -want +got", d)
			}
			if d := cmp.Diff(parsed(t, tc.values), values); d != "" {
				t.Error("the values it was given have changed", d)
			}
		})
	}
}

func TestRevisionValues(t *testing.T) {
	for name, tc := range map[string]struct {
		old, over, want string
		replicas        int
	}{
		"nothing set: two, with or without an HPA": {
			old: "{}", over: "{}", replicas: 1,
			want: "{revision: new, pilot: {replicaCount: 2, autoscaleMin: 2}}",
		},
		"an HPA that is off has no minimum": {
			old: "pilot: {autoscaleEnabled: false, replicaCount: 1}", over: "{}", replicas: 1,
			want: "{revision: new, pilot: {autoscaleEnabled: false, replicaCount: 2}}",
		},
		"not smaller than what runs, the HPA's maximum rises with it": {
			old: "pilot: {autoscaleMin: 2}", over: "{}", replicas: 7,
			want: "{revision: new, pilot: {replicaCount: 7, autoscaleMin: 7, autoscaleMax: 7}}",
		},
		"more than is needed stays": {
			old: "{autoscaleMin: 4, autoscaleMax: 9}", over: "{}", replicas: 3,
			want: "{revision: new, autoscaleMin: 4, autoscaleMax: 9, pilot: {replicaCount: 3, autoscaleMin: 4}}",
		},
		"the request's values lie over the old ones": {
			old: "{revision: old, pilot: {traceSampling: 1, env: {A: a}}}", over: "pilot: {env: {A: b}}", replicas: 2,
			want: "{revision: new, pilot: {traceSampling: 1, env: {A: b}, replicaCount: 2, autoscaleMin: 2}}",
		},
		"a tag that the request asks for stays": {
			old: "global: {tag: 1.27.0}", over: "global: {tag: 1.29.1-custom}", replicas: 2,
			want: "{revision: new, global: {tag: 1.29.1-custom}, pilot: {replicaCount: 2, autoscaleMin: 2}}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := istio.HelmInMemory(istio.NewCharts(t.TempDir()))
			got := h.RevisionValues(parsed(t, tc.old), parsed(t, tc.over), "new", tc.replicas)
			if d := cmp.Diff(toYAML(t, parsed(t, tc.want)), toYAML(t, got)); d != "" {
				t.Error("-want +got", d)
			}
		})
	}
}

// toYAML makes numbers comparable: what was stored comes back as float64.
func toYAML(t *testing.T, v any) string {
	t.Helper()
	raw, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
