package operator

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed profiles/*.yaml
var profiles embed.FS

// Build is what a release was built with: its charts say it too.
type Build struct {
	Version string // "1.29.1"
	Hub     string // "docker.io/istio"
	Tag     string // "1.29.1"
}

// Installation is an IstioOperator with everything that its profile and the
// release bring: what istioctl renders.
type Installation struct {
	Name      string // of the IstioOperator, which marks what is installed; often empty
	Namespace string // of the control plane
	Revision  string // empty for none
	Profile   string
	Version   string
	// Components are those that are enabled, in the order in which they are installed.
	Components []Component
	// Ignored are fields that istioctl takes and that change nothing, as sentences.
	Ignored []string
	// Unchecked says that nothing is known of the values that the release reads.
	Unchecked bool
}

// Component returns the enabled components of a name, several for gateways.
func (i Installation) Component(n Name) []Component {
	var out []Component
	for _, c := range i.Components {
		if c.Name == n {
			out = append(out, c)
		}
	}
	return out
}

// Profiles are the names of the built-in profiles.
func Profiles() []string {
	entries, err := profiles.ReadDir("profiles")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(out)
	return out
}

// Resolve puts the document over its profile, and translates it into charts and values.
func (d Document) Resolve(b Build) (Installation, error) {
	user, err := clone(d)
	if err != nil {
		return Installation{}, err
	}
	merged, err := merged(user, b)
	if err != nil {
		return Installation{}, err
	}
	if err := strict(merged); err != nil {
		return Installation{}, err
	}
	if err := dropped(user, merged); err != nil {
		return Installation{}, err
	}
	unchecked, err := known(user, b.Version)
	if err != nil {
		return Installation{}, err
	}
	if extra, ok := mapAt(merged, "spec.unvalidatedValues"); ok {
		merge(merged, map[string]any{"spec": map[string]any{"values": extra}})
	}
	out := Installation{
		Name: stringAt(merged, "metadata.name"), Namespace: stringAt(merged, "metadata.namespace"),
		Revision: stringAt(merged, "spec.values.revision"), Profile: stringAt(merged, "spec.profile"), Version: b.Version, Ignored: ignored(user),
		Unchecked: unchecked,
	}
	if out.Namespace == "" {
		out.Namespace = "istio-system"
	}
	for _, k := range kinds() {
		some, err := k.components(merged)
		if err != nil {
			return Installation{}, err
		}
		out.Components = append(out.Components, some...)
	}
	return out, nil
}

// merged is base < profile < the release's hub and tag < the user, translated to
// Helm's values, and the user's values once more on top.
func merged(user map[string]any, b Build) (map[string]any, error) {
	name := stringAt(user, "spec.profile")
	base, err := profile(name)
	if err != nil {
		return nil, err
	}
	spec, err := asMap(base["spec"], "spec")
	if err != nil {
		return nil, err
	}
	spec["hub"], spec["tag"] = b.Hub, b.Tag
	values, hasValues := mapAt(user, "spec.values")
	merge(base, user)
	if err := translate(base); err != nil {
		return nil, err
	}
	if hasValues {
		merge(base, map[string]any{"spec": map[string]any{"values": values}})
	}
	return base, nil
}

// profile is a built-in profile over the default one.
func profile(name string) (map[string]any, error) {
	out := map[string]any{}
	for _, n := range []string{"default", name} {
		if n == "" || n == "default" && len(out) > 0 {
			continue
		}
		var one map[string]any
		raw, err := profiles.ReadFile("profiles/" + n + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("spec.profile: %q is none of the built-in profiles: %s", n, strings.Join(Profiles(), ", "))
		}
		if err := yaml.Unmarshal(raw, &one); err != nil {
			return nil, fmt.Errorf("reading profile %s: %w", n, err)
		}
		merge(out, one)
	}
	return out, nil
}

// translate copies what has a field of its own to where the charts look for it.
func translate(m map[string]any) error {
	for _, t := range [][2]string{
		{"hub", "global.hub"}, {"tag", "global.tag"}, {"revision", "revision"}, {"meshConfig", "meshConfig"}, {"compatibilityVersion", "compatibilityVersion"},
	} {
		v, ok := at(m, "spec."+t[0])
		if !ok {
			continue
		}
		if config, isMap := v.(map[string]any); isMap {
			config, err := clone(config)
			if err != nil {
				return err
			}
			merge(m, map[string]any{"spec": map[string]any{"values": map[string]any{"meshConfig": config}}})
			continue
		}
		if err := setText(m, "spec.values."+t[1], fmt.Sprint(v)); err != nil && !errors.Is(err, errEmpty) {
			return fmt.Errorf("spec.%s: %w", t[0], err)
		}
	}
	for at, v := range map[string]bool{
		"spec.values.pilot.enabled": boolAt(m, "spec.components.pilot.enabled"), "spec.values.pilot.cni.enabled": boolAt(m, "spec.components.cni.enabled"),
	} {
		if err := setPath(m, strings.Split(at, "."), v); err != nil && !errors.Is(err, errEmpty) {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	if n := stringAt(m, "spec.values.global.istioNamespace"); n != "" {
		return setPath(m, []string{"metadata", "namespace"}, n)
	}
	return nil
}
