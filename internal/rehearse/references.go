package rehearse

import (
	"cmp"
	"slices"
)

// Ref names an object that another one needs.
type Ref struct {
	Kind     string
	Name     string
	Optional bool
}

const (
	kindSecret    = "Secret"
	kindConfigMap = "ConfigMap"
	kindAccount   = "ServiceAccount"
)

// Secrets are the names of those that the objects refer to, for an adapter that
// reads no others.
func Secrets(objects []Object) []string {
	var out []string
	for _, o := range objects {
		for _, r := range references(o) {
			if r.Kind == kindSecret {
				out = append(out, r.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// references are the ConfigMaps, Secrets and accounts that an object needs.
func references(o Object) []Ref {
	var out []Ref
	switch o.Kind() {
	case "Deployment":
		out = ofPod(below(o, "spec", "template", "spec"))
	case kindAccount:
		for _, s := range elements(o, "imagePullSecrets") {
			out = append(out, Ref{kindSecret, text(s, "name"), true}) // the node only warns
		}
	case "WasmPlugin":
		out = append(out, Ref{kindSecret, text(o, "spec", "imagePullSecret"), true})
	case "DestinationRule":
		out = append(out, credentials(o["spec"])...)
	}
	return slices.DeleteFunc(out, func(r Ref) bool { return r.Name == "" })
}

// credentials are the Secrets that a DestinationRule's TLS settings name, at any depth.
func credentials(v any) []Ref {
	var out []Ref
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if s, ok := e.(string); ok && key == "credentialName" {
				out = append(out, Ref{kindSecret, s, true})
			}
			out = append(out, credentials(e)...)
		}
	case []any:
		for _, e := range v {
			out = append(out, credentials(e)...)
		}
	}
	return out
}

func ofPod(spec map[string]any) []Ref {
	out := []Ref{{Kind: kindAccount, Name: cmp.Or(text(spec, "serviceAccountName"), text(spec, "serviceAccount"), "default")}}
	for _, s := range elements(spec, "imagePullSecrets") {
		out = append(out, Ref{kindSecret, text(s, "name"), true})
	}
	for _, c := range containers(spec) {
		out = append(out, ofContainer(c)...)
	}
	for _, v := range elements(spec, "volumes") {
		out = append(out, ofVolume(v)...)
		for _, p := range elements(v, "projected", "sources") {
			out = append(out, ofVolume(p)...)
		}
	}
	return out
}

func containers(spec map[string]any) []map[string]any {
	return slices.Concat(elements(spec, "initContainers"), elements(spec, "containers"))
}

func ofContainer(c map[string]any) []Ref {
	var out []Ref
	for _, e := range elements(c, "env") {
		out = append(out,
			refAt(kindConfigMap, below(e, "valueFrom", "configMapKeyRef"), "name"),
			refAt(kindSecret, below(e, "valueFrom", "secretKeyRef"), "name"))
	}
	for _, e := range elements(c, "envFrom") {
		out = append(out, refAt(kindConfigMap, below(e, "configMapRef"), "name"), refAt(kindSecret, below(e, "secretRef"), "name"))
	}
	return out
}

// ofVolume reads a volume, or a source of a projected one.
func ofVolume(v map[string]any) []Ref {
	return []Ref{
		refAt(kindConfigMap, below(v, "configMap"), "name"),
		refAt(kindSecret, below(v, "secret"), "secretName"),
		refAt(kindSecret, below(v, "secret"), "name"), // projected
	}
}

func refAt(kind string, m map[string]any, key string) Ref {
	return Ref{kind, text(m, key), yes(m, "optional")}
}

// everywhere says whether the cluster makes an object in each namespace by itself.
func everywhere(r Ref) bool {
	switch r.Kind {
	case kindConfigMap:
		return slices.Contains([]string{"kube-root-ca.crt", "istio-ca-root-cert", "istio-ca-crl", "openshift-service-ca.crt"}, r.Name)
	case kindAccount:
		return r.Name == "default"
	}
	return false
}
