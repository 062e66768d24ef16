package fields_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/fields"
)

var update = flag.Bool("update", false, "write kubernetes.txt anew")

// What a chart hands on to Kubernetes is checked as Kubernetes' own types have it.
func TestUnknown_namesWhatKubernetesDoesNotHave(t *testing.T) {
	for name, tt := range map[string]struct {
		scope  fields.Scope
		values string
		want   []string
	}{
		"affinity": {fields.Istiod, "{affinity: {nodeAffinityy: {}, podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKye: a, topologyKey: b}]}}}", []string{
			"affinity.nodeAffinityy -> affinity.nodeAffinity",
			"affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKye -> affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
		}},
		"below pilot too":           {fields.Istiod, "{pilot: {affinity: {nodeAffinityy: {}}}}", []string{"pilot.affinity.nodeAffinityy -> pilot.affinity.nodeAffinity"}},
		"an IstioOperator's":        {fields.Operator, "{pilot: {affinity: {podAfinity: {}}}, gateways: {istio-ingressgateway: {tolerations: [{operatr: Exists}]}}}", []string{"gateways.istio-ingressgateway.tolerations[0].operatr -> gateways.istio-ingressgateway.tolerations[0].operator", "pilot.affinity.podAfinity -> pilot.affinity.podAffinity"}},
		"resources":                 {fields.Istiod, "{resources: {limitss: {cpu: 1}, requests: {cpuu: 1, memory: 1Gi}}}", []string{"resources.limitss -> resources.limits", "resources.requests.cpuu -> resources.requests.cpu"}},
		"resources, where they are": {fields.Operator, "{pilot: {resources: {limits: {}, requests: {memry: 1Gi}}}}", []string{"pilot.resources.requests.memry -> pilot.resources.requests.memory"}},
		"what others offer":         {fields.Istiod, "{resources: {limits: {hugepages-2Mi: 4Mi, nvidia.com/gpu: 1, ephemeral-storage: 1Gi, cpu: 0.5}, claims: [{name: a, request: b}]}}", nil},
		"tolerations":               {fields.Istiod, "{tolerations: [{key: a, operator: Exists}, {key: b, efect: NoSchedule, tolerationSeconds: 3}]}", []string{"tolerations[1].efect -> tolerations[1].effect"}},
		"topology":                  {fields.Istiod, "{topologySpreadConstraints: [{maxSkw: 1, labelSelector: {matchLabel: {}}, whenUnsatisfiable: DoNotSchedule}]}", []string{"topologySpreadConstraints[0].labelSelector.matchLabel -> topologySpreadConstraints[0].labelSelector.matchLabels", "topologySpreadConstraints[0].maxSkw -> topologySpreadConstraints[0].maxSkew"}},
		"environment":               {fields.Istiod, "{env: {ANY: x, N: 1, B: true, NONE: }}", nil},
		"environment as a list":     {fields.Istiod, "{env: [{name: ANY, value: x}]}", []string{"env is a list, and a map is read there"}},
		"environment of maps":       {fields.Istiod, "{pilot: {env: {ANY: {value: x}}}}", []string{"pilot.env.ANY is a map, and a value is read there"}},
		"environment from others":   {fields.Gateway, "{envVarFrom: [{name: A, valueFrom: {secretKeyRf: {}, configMapKeyRef: {name: a, key: b, optional: true}}}]}", []string{"envVarFrom[0].valueFrom.secretKeyRf -> envVarFrom[0].valueFrom.secretKeyRef"}},
		"annotations":               {fields.Istiod, "{podAnnotations: {any/thing: x}, serviceAnnotations: {a: 1}, podLabels: {a: 1}}", []string{"serviceAnnotations.a is a number, and text is read there"}},
		"annotations as a list":     {fields.Gateway, "{podAnnotations: [a]}", []string{"podAnnotations is a list, and a map is read there"}},
		"a node selector":           {fields.Gateway, "{nodeSelector: {pool: mesh, spot: true}}", []string{"nodeSelector.spot is true or false, and text is read there"}},
		"a gateway's ports":         {fields.Gateway, "{service: {ports: [{name: http, port: 80, targetPort: http}, {name: https, port: \"443\", targePort: 8443}]}}", []string{"service.ports[1].port is text, and a whole number is read there", "service.ports[1].targePort -> service.ports[1].targetPort"}},
		"security":                  {fields.Gateway, "{securityContext: {runAsUser: 1.5, sysctls: [{name: a, value: b}]}, containerSecurityContext: {capabilities: {drp: [ALL], add: [1]}, runAsUser: 1337}}", []string{"containerSecurityContext.capabilities.add[0] is a number, and text is read there", "containerSecurityContext.capabilities.drp -> containerSecurityContext.capabilities.drop", "securityContext.runAsUser is a number, and a whole number is read there"}},
		"volumes":                   {fields.Istiod, "{volumes: [{name: a, configMap: {name: b, defaultMode: 420, optionl: true}}], volumeMounts: [{name: a, mountPat: /x}]}", []string{"volumeMounts[0].mountPat -> volumeMounts[0].mountPath", "volumes[0].configMap.optionl -> volumes[0].configMap.optional"}},
		"containers":                {fields.Gateway, "{initContainers: [{name: a, image: b, comand: [c], env: [{name: A, vale: b}]}]}", []string{"initContainers[0].comand -> initContainers[0].command", "initContainers[0].env[0].vale -> initContainers[0].env[0].value"}},
		"a probe and a hook":        {fields.Gateway, "{readinessProbe: {httpGet: {prt: 1, port: http}}, lifecycle: {preStop: {sleep: {seconds: 3}}, preStart: {}}}", []string{"lifecycle.preStart -> ", "readinessProbe.httpGet.prt -> readinessProbe.httpGet.port"}},
		"rollout and scale":         {fields.Gateway, "{strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailble: 0}}, autoscaling: {autoscaleBehavior: {scaleDown: {stabilizationWindowSecs: 1}}}, podDisruptionBudget: {minAvailable: 1, maxUnavailabl: 2}}", []string{"autoscaling.autoscaleBehavior.scaleDown.stabilizationWindowSecs -> autoscaling.autoscaleBehavior.scaleDown.stabilizationWindowSeconds", "podDisruptionBudget.maxUnavailabl -> podDisruptionBudget.maxUnavailable", "strategy.rollingUpdate.maxUnavailble -> strategy.rollingUpdate.maxUnavailable"}},
		"injection's selectors":     {fields.Istiod, "{sidecarInjectorWebhook: {neverInjectSelector: [{matchExpressions: [{key: a, operator: Exists, vals: []}]}]}}", []string{"sidecarInjectorWebhook.neverInjectSelector[0].matchExpressions[0].vals -> "}},
		"a default is taken away":   {fields.Istiod, "{affinity: , tolerations: , resources: {requests: {cpu: }}}", nil},
		"one where a list must be":  {fields.Istiod, "{tolerations: {key: a}}", []string{"tolerations is a map, and a list is read there"}},
		"text where a map must be":  {fields.Istiod, "{affinity: none}", []string{"affinity is text, and a map is read there"}},
		"what newer Kubernetes has": {fields.Gateway, "{topologySpreadConstraints: [{nodeTaintsPolicy: Honor, matchLabelKeys: [a]}], envVarFrom: [{name: a, valueFrom: {fileKeyRef: {key: a, path: b, volumeName: c}}}]}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var values map[string]any
			if err := yaml.Unmarshal([]byte(tt.values), &values); err != nil {
				t.Fatal(err)
			}
			found, ok := fields.Unknown(tt.scope, "1.29.1", values)
			if !ok {
				t.Fatal("nothing is known")
			}
			var got []string
			for _, f := range found {
				if !f.Kubernetes {
					t.Errorf("%s is not said to be of Kubernetes", f.Path)
				}
				if f.Wrong != "" {
					got = append(got, f.Path+" "+f.Wrong)
					continue
				}
				got = append(got, f.Path+" -> "+f.Nearest)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// The file is what the API's own types say, as the module that serin is built with
// has them.
func TestKubernetes_areTheTypesOfTheAPI(t *testing.T) {
	w := typesOf{lines: map[string]bool{}, seen: map[reflect.Type]bool{}}
	for _, v := range []any{
		corev1.Affinity{},
		corev1.Container{},
		corev1.EnvVar{},
		corev1.Lifecycle{},
		corev1.LocalObjectReference{},
		corev1.PodSecurityContext{},
		corev1.Probe{},
		corev1.ResourceRequirements{},
		corev1.SeccompProfile{},
		corev1.SecurityContext{},
		corev1.ServicePort{},
		corev1.Toleration{},
		corev1.TopologySpreadConstraint{},
		corev1.Volume{},
		corev1.VolumeMount{},
		metav1.LabelSelector{},
		appsv1.DeploymentStrategy{},
		autoscalingv2.HorizontalPodAutoscalerBehavior{},
		policyv1.PodDisruptionBudgetSpec{},
	} {
		w.add(reflect.TypeOf(v))
	}
	want := "release " + apiRelease(t) + "\n" + strings.Join(slices.Sorted(maps.Keys(w.lines)), "\n") + "\n"
	if *update {
		if err := os.WriteFile("kubernetes.txt", []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile("kubernetes.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(is)); d != "" {
		t.Errorf("go test ./internal/fields -update writes it anew:\n%s", d)
	}
	if fields.Kubernetes() != apiRelease(t) {
		t.Errorf("it is of %s", fields.Kubernetes())
	}
}

// apiRelease is the release of Kubernetes that go.mod names: k8s.io/api v0.37.1 is 1.37's.
func apiRelease(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if w := strings.Fields(line); len(w) > 1 && w[0] == "k8s.io/api" {
			return "1." + strings.Split(w[1], ".")[1]
		}
	}
	t.Fatal("go.mod does not name k8s.io/api")
	return ""
}

// typesOf are types as lines of kubernetes.txt.
type typesOf struct {
	lines map[string]bool
	seen  map[reflect.Type]bool
}

func (w typesOf) add(t reflect.Type) {
	if w.seen[t] {
		return
	}
	w.seen[t] = true
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && f.Anonymous { // inline
			w.inline(t, f.Type)
			continue
		}
		if name != "" && name != "-" {
			w.lines[strings.TrimSpace(fmt.Sprintf("%s %s %s", t.Name(), name, w.form(f.Type)))] = true
		}
	}
}

func (w typesOf) inline(into, t reflect.Type) {
	w.add(t)
	for line := range maps.Clone(w.lines) {
		if rest, ok := strings.CutPrefix(line, t.Name()+" "); ok {
			w.lines[into.Name()+" "+rest] = true
		}
	}
}

// form is what stands at a field of this type; a name that is empty is anything.
func (w typesOf) form(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		return "quantity"
	case reflect.TypeFor[intstr.IntOrString]():
		return "number or text"
	case reflect.TypeFor[metav1.Time]():
		return "text"
	case reflect.TypeFor[corev1.ResourceList]():
		return "resources"
	case reflect.TypeFor[metav1.ObjectMeta](), reflect.TypeFor[corev1.PersistentVolumeClaimSpec]():
		return "" // of a claim's template: not followed
	}
	switch t.Kind() { //nolint:exhaustive // the others are not in the API, or may be anything
	case reflect.Pointer:
		return w.form(t.Elem())
	case reflect.Slice:
		return "[]" + w.form(t.Elem())
	case reflect.Struct:
		w.add(t)
		return t.Name()
	case reflect.Map:
		return "map of text"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int32, reflect.Int64:
		return "number"
	}
	return ""
}
