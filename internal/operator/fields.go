package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// The fields of an IstioOperator. They are there to be checked: what is read is
// the document, which says what was set and what was not.
type (
	whole struct {
		metav1.TypeMeta `json:",inline"`

		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     spec              `json:"spec"`
	}
	spec struct {
		Profile              string          `json:"profile"`
		Hub                  string          `json:"hub"`
		Tag                  any             `json:"tag"`
		Namespace            string          `json:"namespace"`
		Revision             string          `json:"revision"`
		CompatibilityVersion string          `json:"compatibilityVersion"`
		MeshConfig           map[string]any  `json:"meshConfig"`
		Components           componentFields `json:"components"`
		Values               map[string]any  `json:"values"`
		UnvalidatedValues    map[string]any  `json:"unvalidatedValues"`
	}
	componentFields struct {
		Base            *baseFields    `json:"base"`
		Pilot           *planeFields   `json:"pilot"`
		CNI             *planeFields   `json:"cni"`
		Ztunnel         *planeFields   `json:"ztunnel"`
		IngressGateways []gatewayField `json:"ingressGateways"`
		EgressGateways  []gatewayField `json:"egressGateways"`
	}
	baseFields struct {
		Enabled    *bool       `json:"enabled"`
		Kubernetes *kubernetes `json:"k8s"`
	}
	planeFields struct {
		Enabled    *bool       `json:"enabled"`
		Namespace  string      `json:"namespace"`
		Hub        string      `json:"hub"`
		Tag        any         `json:"tag"`
		Kubernetes *kubernetes `json:"k8s"`
	}
	gatewayField struct {
		planeFields `json:",inline"`

		Name  string            `json:"name"`
		Label map[string]string `json:"label"`
	}
	kubernetes struct {
		Affinity            *corev1.Affinity                           `json:"affinity"`
		Env                 []*corev1.EnvVar                           `json:"env"`
		HpaSpec             *autoscalingv2.HorizontalPodAutoscalerSpec `json:"hpaSpec"`
		ImagePullPolicy     string                                     `json:"imagePullPolicy"`
		NodeSelector        map[string]string                          `json:"nodeSelector"`
		PodDisruptionBudget *policyv1.PodDisruptionBudgetSpec          `json:"podDisruptionBudget"`
		PodAnnotations      map[string]string                          `json:"podAnnotations"`
		PriorityClassName   string                                     `json:"priorityClassName"`
		ReadinessProbe      *corev1.Probe                              `json:"readinessProbe"`
		ReplicaCount        uint32                                     `json:"replicaCount"`
		Resources           *corev1.ResourceRequirements               `json:"resources"`
		Service             *corev1.ServiceSpec                        `json:"service"`
		Strategy            *appsv1.DeploymentStrategy                 `json:"strategy"`
		Tolerations         []*corev1.Toleration                       `json:"tolerations"`
		ServiceAnnotations  map[string]string                          `json:"serviceAnnotations"`
		SecurityContext     *corev1.PodSecurityContext                 `json:"securityContext"`
		Volumes             []*corev1.Volume                           `json:"volumes"`
		VolumeMounts        []*corev1.VolumeMount                      `json:"volumeMounts"`
		Overlays            []overlay                                  `json:"overlays"`
	}
	overlay struct {
		APIVersion string  `json:"apiVersion"` // not looked at, by istioctl neither
		Kind       string  `json:"kind"`
		Name       string  `json:"name"`
		Patches    []patch `json:"patches"`
	}
	patch struct {
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
)

// settings are what a document says of one component.
type settings struct {
	gatewayField

	raw map[string]any // as it is written: an unset field and a zero one differ
}

func (s settings) enabled() bool { return s.Enabled == nil || *s.Enabled }

func settingsOf(entry any, path string) (settings, error) {
	raw, ok := entry.(map[string]any)
	if !ok {
		return settings{}, fmt.Errorf("%s: it is no map", path)
	}
	out := settings{raw: raw}
	b, err := json.Marshal(raw)
	if err != nil {
		return out, fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(b, &out.gatewayField); err != nil {
		return out, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// strict refuses fields that no IstioOperator has, and values of the wrong type.
func strict(m map[string]any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("reading the IstioOperator: %w", err)
	}
	var w whole
	unknown, err := kjson.UnmarshalStrict(b, &w)
	if err != nil {
		return fmt.Errorf("reading the IstioOperator: %w", err)
	}
	if len(unknown) > 0 {
		return fmt.Errorf("reading the IstioOperator: %w", errors.Join(unknown...))
	}
	return checked(w.Spec)
}

// checked are the rules that istioctl has for single fields.
func checked(s spec) error {
	if s.Revision != "" && !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`).MatchString(s.Revision) {
		return fmt.Errorf("spec.revision: %q is no DNS label: lower case letters, digits and dashes", s.Revision)
	}
	if s.Hub != "" && !regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9._/:]*$`).MatchString(s.Hub) {
		return fmt.Errorf("spec.hub: %q is no repository of images", s.Hub)
	}
	if s.Tag != nil && !regexp.MustCompile(`^\w[\w.-]{0,127}$`).MatchString(fmt.Sprint(s.Tag)) {
		return fmt.Errorf("spec.tag: %q is no tag of an image", fmt.Sprint(s.Tag))
	}
	for key, list := range map[string][]gatewayField{"ingressGateways": s.Components.IngressGateways, "egressGateways": s.Components.EgressGateways} {
		for i, g := range list {
			if g.Name != "" && !regexp.MustCompile(`^[a-z0-9.-]{1,254}$`).MatchString(g.Name) {
				return fmt.Errorf("spec.components.%s[%d].name: %q is no name of an object", key, i, g.Name)
			}
		}
	}
	return nil
}

// dropped refuses what istioctl takes and then does not use: the user would
// believe it to be in force.
func dropped(user, m map[string]any) error {
	in := stringAt(m, "metadata.namespace")
	for _, p := range []string{"spec.namespace", "metadata.namespace"} {
		if ns := stringAt(user, p); ns != "" && ns != in {
			return fmt.Errorf("%s: %s has no effect, istioctl installs into %s: set spec.values.global.istioNamespace, or take it out", p, ns, in)
		}
	}
	for _, k := range kinds() {
		v, _ := at(user, "spec.components."+k.key)
		list, isList := v.([]any)
		if !isList {
			list = []any{v}
		}
		for i, e := range list {
			raw, _ := e.(map[string]any)
			p := "spec.components." + k.key
			if isList {
				p = fmt.Sprintf("%s[%d]", p, i)
			}
			if err := k.dropped(raw, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k kind) dropped(raw map[string]any, path string) error {
	if _, ok := raw["hub"]; ok && k.gateway() {
		return fmt.Errorf("%s.hub: it has no effect, a gateway's image comes from its injector or from spec.hub: take it out", path)
	}
	k8s, _ := raw["k8s"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(k8s)) {
		switch {
		case key == "overlays":
		case key == "volumes", key == "volumeMounts":
			return fmt.Errorf("%s.k8s.%s: it has no effect in istioctl: use an overlay, or the chart's values", path, key)
		case k.resource.kind == "":
			return fmt.Errorf("%s.k8s.%s: it has no effect, there are only definitions and accounts in it: an overlay has", path, key)
		}
	}
	return nil
}

// ignored says which fields change nothing, in istioctl neither, and harm nobody.
func ignored(user map[string]any) []string {
	meta, _ := user["metadata"].(map[string]any)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if !slices.Contains([]string{"name", "namespace"}, key) {
			out = append(out, "metadata."+key+" is of the file alone: nothing that is installed gets it")
		}
	}
	return out
}

// named is a field's path in the document.
func (c Component) named(field string) string { return strings.TrimSuffix(c.path+"."+field, ".") }
