package fields_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/fields"
)

func TestUnknown_namesWhatNobodyReads(t *testing.T) {
	for name, tt := range map[string]struct {
		scope   fields.Scope
		version string
		values  string
		want    []string
	}{
		"nothing":                               {fields.Istiod, "1.29.1", "{}", nil},
		"a letter is missing":                   {fields.Istiod, "1.29.1", "pilot: {replicaCont: 3}", []string{"pilot.replicaCont pilot.replicaCount"}},
		"at the top and under pilot":            {fields.Istiod, "1.29.1", "{replicaCount: 3, pilot: {replicaCount: 3, env: {ANY: x}}, env: {ANY: x}}", nil},
		"mesh config, also under pilot":         {fields.Istiod, "1.29.1", "{meshConfig: {accessLogFil: x, defaultConfig: {holdApplicationUntilProxyStart: true}}, pilot: {meshConfig: {nosuch: 1}}}", []string{"meshConfig.accessLogFil meshConfig.accessLogFile", "meshConfig.defaultConfig.holdApplicationUntilProxyStart meshConfig.defaultConfig.holdApplicationUntilProxyStarts", "pilot.meshConfig.nosuch "}},
		"what users name themselves":            {fields.Istiod, "1.29.1", "{podLabels: {a: b}, resources: {requests: {cpu: 1}}, affinity: {nodeAffinity: {}}, global: {proxy: {resources: {requests: {cpu: 1}}}}}", nil},
		"another place":                         {fields.Istiod, "1.29.1", "{includeIPRanges: x}", []string{"includeIPRanges global.proxy.includeIPRanges"}},
		"nothing is near":                       {fields.Istiod, "1.29.1", "{wholly: {unheard: of}}", []string{"wholly "}},
		"an IstioOperator's values":             {fields.Operator, "1.27.0", "{global: {proxy: {nosuch: 1}}, pilot: {autoscaleMin: 2}, gateways: {istio-ingressgateway: {autoscaleMn: 1}}}", []string{"gateways.istio-ingressgateway.autoscaleMn gateways.istio-ingressgateway.autoscaleMin", "global.proxy.nosuch "}},
		"the base chart":                        {fields.Base, "1.29.1", "{defaultRevision: x, base: {enableCRDTemplate: true}}", []string{"base.enableCRDTemplate base.enableCRDTemplates"}},
		"a gateway":                             {fields.Gateway, "1.29.1", "{service: {type: None, prts: []}, labels: {any: x}, autoscaling: {enabled: false}}", []string{"service.prts service.ports"}},
		"a later release has it":                {fields.Gateway, "1.26.0", "{service: {clusterIP: x}}", []string{"service.clusterIP "}},
		"between two that are known":            {fields.Gateway, "1.28.3", "{service: {clusterIP: x, nosuch: 1}}", []string{"service.nosuch "}},
		"a list of maps":                        {fields.Mesh, "1.29.1", "{extensionProviders: [{name: a, zipkin: {service: x, prt: 1}}]}", []string{"extensionProviders[0].zipkin.prt extensionProviders[0].zipkin.port"}},
		"a list where a map is expected":        {fields.Istiod, "1.29.1", "{global: [1, {hub: x}]}", nil},
		"text where a map is expected":          {fields.Istiod, "1.29.1", "{global: text, meshConfig: text, pilot: 3}", nil},
		"the spelling of protocols, and JSON's": {fields.Mesh, "1.29.1", "{accessLogFile: x, access_log_file: x}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var values map[string]any
			if err := yaml.Unmarshal([]byte(tt.values), &values); err != nil {
				t.Fatal(err)
			}
			found, ok := fields.Unknown(tt.scope, tt.version, values)
			if !ok {
				t.Fatal("nothing is known")
			}
			var got []string
			for _, f := range found {
				got = append(got, f.Path+" "+f.Nearest)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Of a release that was not read nothing is said: what is new in it is not wrong.
func TestUnknown_ofReleasesThatWereNotRead(t *testing.T) {
	for _, v := range []string{"1.25.0", "1.30.0", "2.0.0", "", "latest"} {
		if found, ok := fields.Unknown(fields.Istiod, v, map[string]any{"nosuch": 1}); ok || found != nil {
			t.Errorf("%q: %v", v, found)
		}
	}
}

func TestReleases_areThoseOfTheFile(t *testing.T) {
	if got := fmt.Sprint(fields.Releases()); got != "[1.26.0 1.27.0 1.29.1]" {
		t.Errorf("got %s", got)
	}
	for _, s := range []fields.Scope{fields.Operator, fields.Istiod, fields.Base, fields.Gateway, fields.Mesh} {
		for _, v := range fields.Releases() {
			if found, ok := fields.Unknown(s, v, map[string]any{"nosuch": 1}); !ok || len(found) != 1 {
				t.Errorf("%s of %s: %v %v", s, v, found, ok)
			}
		}
	}
}

func FuzzUnknown(f *testing.F) {
	f.Add("pilot: {pilot: {meshConfig: {meshConfig: [{}, 1]}}}")
	f.Add("{a: &a [*a]}")
	f.Add("\"\": {\".\": {}}")
	f.Fuzz(func(t *testing.T, text string) {
		var values map[string]any
		if yaml.Unmarshal([]byte(text), &values) != nil {
			t.Skip()
		}
		found, ok := fields.Unknown(fields.Istiod, "1.29.1", values)
		if !ok {
			t.Fatal("nothing is known")
		}
		for _, u := range found {
			starts := func(key string) bool { return strings.HasPrefix(u.Path, key) }
			if !slices.ContainsFunc(slices.Collect(maps.Keys(values)), starts) {
				t.Errorf("%q is not in what was given", u.Path)
			}
		}
	})
}
