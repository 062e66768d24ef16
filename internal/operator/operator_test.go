package operator_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/operator"
)

func build() operator.Build {
	return operator.Build{Version: "1.29.1", Hub: "docker.io/istio", Tag: "1.29.1"}
}

func file(spec string) operator.File {
	return operator.File{Name: "op.yaml", Data: []byte("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  " + strings.ReplaceAll(spec, "\n", "\n  "))}
}

// resolved is the installation of a spec.
func resolved(t *testing.T, spec string, sets ...string) operator.Installation {
	t.Helper()
	doc, err := operator.Read([]operator.File{file(spec)}, sets)
	if err != nil {
		t.Fatal(err)
	}
	in, err := doc.Resolve(build())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func valueAt(m map[string]any, path string) any {
	var v any = m
	for key := range strings.SplitSeq(path, ".") {
		in, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = in[key]
	}
	return v
}

func TestResolve_sayWhatWins(t *testing.T) {
	tests := []struct {
		name, spec string
		sets       []string
		path       string
		want       any
	}{
		{"the release's hub", "profile: minimal", nil, "global.hub", "docker.io/istio"},
		{"the file's hub over the release's", "hub: mirror", nil, "global.hub", "mirror"},
		{"a value over the field of the same meaning", "hub: mirror\nvalues: {global: {hub: other}}", nil, "global.hub", "other"},
		{"a setting over the file", "hub: mirror", []string{"hub=set"}, "global.hub", "set"},
		{"a revision", "revision: canary", nil, "revision", "canary"},
		{"mesh config becomes a value", "meshConfig: {accessLogFile: /dev/stdout}", nil, "meshConfig.accessLogFile", "/dev/stdout"},
		{"mesh config among values loses, as in istioctl", "meshConfig: {accessLogFile: a}\nvalues: {meshConfig: {accessLogFile: b}}", nil, "meshConfig.accessLogFile", "a"},
		{"compatibility stays text", `compatibilityVersion: "1.30"`, nil, "compatibilityVersion", "1.30"},
		{"a tag set stays text", "profile: minimal", []string{"tag=1.10"}, "global.tag", "1.10"},
		{"a value set is a number", "profile: minimal", []string{"values.pilot.autoscaleMin=3"}, "pilot.autoscaleMin", float64(3)},
		{"unvalidated values are last", "hub: a\nunvalidatedValues: {global: {hub: b}}", nil, "global.hub", "b"},
		{"what is enabled is a value", "components: {cni: {enabled: true}}", nil, "pilot.cni.enabled", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := resolved(t, tt.spec, tt.sets...)
			if got := valueAt(in.Component(operator.Pilot)[0].Values, tt.path); got != tt.want {
				t.Errorf("%s is %v, want %v", tt.path, got, tt.want)
			}
		})
	}
}

func TestResolve_components(t *testing.T) {
	tests := []struct {
		name, spec string
		want       []string
	}{
		{"the default profile", "profile: default", []string{"Base", "Pilot", "IngressGateways istio-ingressgateway"}},
		{"the empty one", "profile: empty", nil},
		{"ambient", "profile: ambient", []string{"Base", "Pilot", "Cni", "Ztunnel"}},
		{"demo", "profile: demo", []string{"Base", "Pilot", "IngressGateways istio-ingressgateway", "EgressGateways istio-egressgateway"}},
		{"gateways by name", "components: {ingressGateways: [{name: a}, {name: b, enabled: false}, {name: c, enabled: true}]}", []string{"Base", "Pilot", "IngressGateways a", "IngressGateways c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range resolved(t, tt.spec).Components {
				got = append(got, strings.TrimSpace(string(c.Name)+" "+c.Gateway))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("components (-want +got):\n%s", d)
			}
		})
	}
}

func TestRead_refusesByName(t *testing.T) {
	tests := []struct{ name, spec, want string }{
		{"an unknown field", "hubb: x", "hubb"},
		{"a field in another case", "Hub: x", "Hub"},
		{"a value that the release does not have", "values: {pilot: {replicaCont: 3}}", "did you mean spec.values.pilot.replicaCount?"},
		{"a field that Kubernetes does not have", "values: {pilot: {affinity: {nodeAffinityy: {}}}}", "spec.values.pilot.affinity.nodeAffinityy: Kubernetes, to which Istio 1.29.1 hands it on, has no such field\n  remedy: did you mean spec.values.pilot.affinity.nodeAffinity?"},
		{"a list where Kubernetes has a map", "values: {pilot: {env: [{name: A}]}}", "spec.values.pilot.env: it is a list"},
		{"mesh config that nobody reads", "meshConfig: {accessLogFil: x}", "spec.meshConfig.accessLogFil: Istio"},
		{"the same among values", "values: {meshConfig: {defaultConfig: {nosuch: 1}}}", "spec.values.meshConfig.defaultConfig.nosuch"},
		{"a deep one", "components: {pilot: {k8s: {env: [{nam: x}]}}}", "nam"},
		{"an empty field", "meshConfig:", "spec.meshConfig"},
		{"values that are a list", "values: [a]", "spec.values"},
		{"gateways that are a map", "components: {ingressGateways: {name: x}}", "ingressGateways"},
		{"a package path", "installPackagePath: /x", "spec.installPackagePath"},
		{"a namespace that istioctl ignores", "namespace: mesh", "spec.namespace"},
		{"a profile", "profile: nonesuch", "spec.profile"},
		{"a profile's path", "profile: ../default", "spec.profile"},
		{"a revision", "revision: 1.29.1", "spec.revision"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := operator.Read([]operator.File{file(tt.spec)}, nil)
			if err == nil {
				_, err = doc.Resolve(build())
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want one that names %s", err, tt.want)
			}
		})
	}
	for _, s := range []string{"", "=", "a", "a=b=c", "a.[=x", "components.ingressGateways.[name:none].enabled=true", "profile.x=y", "values.[0]=1"} {
		if _, err := operator.Read([]operator.File{file("profile: minimal")}, []string{s}); err == nil && s != "values.[0]=1" {
			t.Errorf("--set %q is taken", s)
		}
	}
}

func TestIsOne(t *testing.T) {
	for text, want := range map[string]bool{
		"kind: IstioOperator\n": true, "apiVersion: install.istio.io/v1alpha1\n": true, "pilot: {a: b}\n": false, "": false, "- a\n": false,
		"---\n---\nkind: IstioOperator\n": true,
	} {
		if got := operator.IsOne([]byte(text)); got != want {
			t.Errorf("IsOne(%q) = %v", text, got)
		}
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system}
spec:
  template:
    spec:
      containers:
      - name: discovery
        args: [discovery, --keepaliveMaxServerConnectionAge, 30m]
        env: [{name: REVISION, value: default}]
`

func TestFinish_changesWhatIsNamed(t *testing.T) {
	tests := []struct{ name, k8s, path, want string }{
		{"a setting", "k8s: {replicaCount: 3}", "replicas", "3"},
		{"an environment is merged by name", "k8s: {env: [{name: REVISION, value: x}, {name: A, value: b}]}", "template.spec.containers", "A"},
		{"an overlay by value", `k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.template.spec.containers.[name:discovery].args.[30m]", value: 60m}]}]}`, "template.spec.containers", "60m"},
		{"an overlay at the end of a list", `k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.template.spec.containers.[name:discovery].args.[-1]", value: last}]}]}`, "template.spec.containers", "last"},
		{"an overlay that makes its way", `k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.new.way", value: made}]}]}`, "new", "made"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := finished(t, tt.k8s)
			if err != nil {
				t.Fatal(err)
			}
			b, err := yaml.Marshal(valueAt(got[0].Object, "spec."+tt.path))
			if err != nil || !strings.Contains(string(b), tt.want) {
				t.Errorf("spec.%s is\n%s, want %s in it (%v)", tt.path, b, tt.want, err)
			}
		})
	}
}

func TestFinish_refusesWhatWouldHaveNoEffect(t *testing.T) {
	tests := []struct{ name, k8s, want string }{
		{"a setting without its object", "k8s: {hpaSpec: {maxReplicas: 3}}", "spec.components.pilot.k8s.hpaSpec"},
		{"an overlay without its object", "k8s: {overlays: [{kind: Secret, name: x}]}", "spec.components.pilot.k8s.overlays[0]"},
		{"a path without its element", `k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.template.spec.containers.[name:x].args", value: 1}]}]}`, "patches[0].path"},
		{"an element that is not there, taken out", `k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.template.spec.containers.[7]"}]}]}`, "patches[0].path"},
		{"a list where there is none", `k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.new.[0]", value: 1}]}]}`, "patches[0].path"},
		{"a bad expression", `k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.template.spec.containers.[0].args.[:(]", value: 1}]}]}`, "patches[0].path"},
		{"no path", "k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{value: 1}]}]}", "patches[0].path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := finished(t, tt.k8s)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want one that names %s", err, tt.want)
			}
		})
	}
}

func finished(t *testing.T, pilot string) ([]unstructured.Unstructured, error) {
	t.Helper()
	var o unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(deployment), &o.Object); err != nil {
		t.Fatal(err)
	}
	c := resolved(t, "components:\n  pilot:\n    "+pilot).Component(operator.Pilot)[0]
	return c.Finish([]unstructured.Unstructured{o})
}

func TestWithRevision_isForAnother(t *testing.T) {
	doc, err := operator.Read([]operator.File{file("revision: old\nvalues: {revision: old, a: b}")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	next, err := doc.WithRevision("1-29-1")
	if err != nil || next.Revision() != "1-29-1" || doc.Revision() != "old" {
		t.Errorf("the next is of %s, the first of %s (%v)", next.Revision(), doc.Revision(), err)
	}
}

// FuzzRead looks for files that panic: they come from people.
func FuzzRead(f *testing.F) {
	f.Add("profile: demo\ncomponents: {pilot: {k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: \"spec.[0].a\", value: 1}]}]}}}", "values.a[0].b=c")
	f.Add("components: {ingressGateways: [null, 1, {name: x}]}", "components.ingressGateways[name:x].enabled=true")
	f.Add("values: {pilot: null, gateways: {istio-ingressgateway: [1]}}", "values.pilot.x=y")
	f.Add("components: {pilot: null, cni: [], ztunnel: \"x\"}", "a[=b")
	f.Fuzz(func(t *testing.T, spec, set string) {
		doc, err := operator.Read([]operator.File{file(spec)}, []string{set})
		if err != nil {
			return
		}
		in, err := doc.Resolve(build())
		if err != nil {
			return
		}
		var o unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(deployment), &o.Object); err != nil {
			t.Fatal(err)
		}
		for _, c := range in.Components {
			_, _ = c.Finish([]unstructured.Unstructured{o})
		}
	})
}
