package fields

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// form is what must stand at a place: the name of a type of Kubernetes, or one of
// these words; "[]" stands before it where a list must.
type form string

const (
	anything  form = ""
	text      form = "text"
	number    form = "number"
	yesNo     form = "true or false"
	quantity  form = "quantity"
	portOrInt form = "number or text"
	texts     form = "map of text"   // the names are the user's
	scalars   form = "map of values" // a chart makes text of them
	amounts   form = "resources"     // names of resources, and how much
)

// formOf is what Kubernetes wants at a value that a chart hands on to it. What is
// not listed is the chart's own.
func formOf(s Scope, path []string) form {
	key := path[len(path)-1]
	if s == Gateway {
		switch key {
		case "ports":
			return "[]ServicePort"
		case "imagePullSecrets":
			return "[]LocalObjectReference"
		}
	}
	return map[string]form{
		"additionalContainers":              "[]Container",
		"affinity":                          "Affinity",
		"alwaysInjectSelector":              "[]LabelSelector",
		"annotations":                       texts,
		"autoscaleBehavior":                 "HorizontalPodAutoscalerBehavior",
		"containerSecurityContext":          "SecurityContext",
		"defaultNodeSelector":               texts,
		"defaultResources":                  "ResourceRequirements",
		"defaultTolerations":                "[]Toleration",
		"deploymentAnnotations":             texts,
		"env":                               scalars,
		"envVarFrom":                        "[]EnvVar",
		"initContainers":                    "[]Container",
		"lifecycle":                         "Lifecycle",
		"limits":                            amounts,
		"neverInjectSelector":               "[]LabelSelector",
		"nodeSelector":                      texts,
		"podAnnotations":                    texts,
		"podDisruptionBudget":               "PodDisruptionBudgetSpec",
		"podLabels":                         scalars,
		"readinessProbe":                    "Probe",
		"requests":                          amounts,
		"resources":                         "ResourceRequirements",
		"seccompProfile":                    "SeccompProfile",
		"securityContext":                   "PodSecurityContext",
		"serviceAccountAnnotations":         texts,
		"serviceAnnotations":                texts,
		"sidecarInjectorWebhookAnnotations": texts,
		"strategy":                          "DeploymentStrategy",
		"toleration":                        "[]Toleration",
		"tolerations":                       "[]Toleration",
		"topologySpreadConstraints":         "[]TopologySpreadConstraint",
		"volumeMounts":                      "[]VolumeMount",
		"volumes":                           "[]Volume",
	}[key]
}

// handed goes into a value that is handed on to Kubernetes.
func (w *walk) handed(v any, f form, path []string) {
	one, list := strings.CutPrefix(string(f), "[]")
	switch {
	case v == nil, f == anything: // nil takes a chart's own default away
	case list:
		all, ok := v.([]any)
		if !ok {
			w.wrong(path, v, "a list")
			return
		}
		for i, e := range all {
			w.handed(e, form(one), indexed(path, i))
		}
	case types().of[f] != nil, f == texts, f == scalars, f == amounts:
		m, ok := v.(map[string]any)
		if !ok {
			w.wrong(path, v, "a map")
			return
		}
		w.named(m, f, path)
	case !fits(v, f):
		w.wrong(path, v, string(f))
	}
}

// named judges the names in a map, and what stands at each.
func (w *walk) named(m map[string]any, f form, path []string) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := append(slices.Clone(path), key)
		inner, known := types().of[f][key]
		switch f { //nolint:exhaustive // the others have no names of the user's own
		case texts:
			inner, known = text, true
		case scalars:
			if inner, known = anything, true; isMap(m[key]) {
				w.wrong(at, m[key], "a value")
			}
		case amounts:
			inner, known = quantity, resource(key)
		}
		if !known {
			w.found = append(w.found, Field{Path: strings.Join(at, "."), Nearest: nearestOf(names(f), path, key), Kubernetes: true})
			continue
		}
		w.handed(m[key], inner, at)
	}
}

func (w *walk) wrong(path []string, v any, want string) {
	if fit, ok := map[string]string{string(number): "a whole number", string(quantity): "a quantity", string(portOrInt): "a number or text"}[want]; ok {
		want = fit
	}
	w.found = append(w.found, Field{Path: strings.Join(path, "."), Wrong: "is " + called(v) + ", and " + want + " is read there", Kubernetes: true})
}

// resource says whether containers can ask for it: Kubernetes' own, and by their
// full names others'.
func resource(name string) bool {
	return slices.Contains(standard(), name) || strings.HasPrefix(name, "hugepages-") || strings.Contains(name, "/")
}

func standard() []string { return []string{"cpu", "ephemeral-storage", "memory"} }

func names(f form) []string {
	if f == amounts {
		return standard()
	}
	return slices.Sorted(maps.Keys(types().of[f]))
}

// fits says whether a value that is no map and no list can be what it must be.
func fits(v any, f form) bool {
	switch v := v.(type) {
	case string:
		return f == text || f == quantity || f == portOrInt
	case bool:
		return f == yesNo
	case int, int64, uint64:
		return f == number || f == quantity || f == portOrInt
	case float64:
		return f == quantity || (f == number || f == portOrInt) && v == float64(int64(v))
	}
	return false
}

func called(v any) string {
	switch v.(type) {
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return "text"
	case bool:
		return string(yesNo)
	}
	return "a number"
}

func isMap(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// indexed is the path of a list's element.
func indexed(path []string, i int) []string {
	out := slices.Clone(path)
	out[len(out)-1] += fmt.Sprintf("[%d]", i)
	return out
}

//go:embed kubernetes.txt
var kubernetesFile string

// api are the types of Kubernetes that charts take, and the release they are of.
type api struct {
	release string
	of      map[form]map[string]form
}

//nolint:gochecknoglobals // a constant that must be decoded: it is never written again
var types = sync.OnceValue(func() api {
	a := api{of: map[form]map[string]form{}}
	for line := range strings.Lines(kubernetesFile) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		switch {
		case words[0] == "release":
			a.release = words[1]
			continue
		case len(words) == 2:
			words = append(words, "")
		}
		of := form(words[0])
		if a.of[of] == nil {
			a.of[of] = map[string]form{}
		}
		a.of[of][words[1]] = form(words[2])
	}
	return a
})

// Kubernetes is the release whose types are known. A newer one may have fields that
// are not.
func Kubernetes() string { return types().release }
