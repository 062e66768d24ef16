package operator

import (
	"errors"
	"fmt"

	"github.com/serin-mesh/serin/internal/fields"
)

// known refuses values and mesh config that the release does not have, all at
// once, and says whether it could not be told. istioctl refuses such values, too;
// such mesh config it writes down for an istiod that does not read it, and such
// fields of Kubernetes it hands on. What a chart of the user's own reads, and what
// a newer Kubernetes has, goes below spec.unvalidatedValues.
func known(user map[string]any, version string) (bool, error) {
	var errs []error
	unchecked := false
	for _, part := range []struct {
		path  string
		scope fields.Scope
	}{{"spec.values", fields.Operator}, {"spec.meshConfig", fields.Mesh}} {
		values, ok := mapAt(user, part.path)
		if !ok || len(values) == 0 {
			continue
		}
		unknown, told := fields.Unknown(part.scope, version, values)
		unchecked = unchecked || !told && version != ""
		for _, f := range unknown {
			hint := "what a chart of your own reads goes below spec.unvalidatedValues"
			why := "Istio " + version + " has no such field"
			switch {
			case f.Wrong != "":
				why = "it " + f.Wrong
			case f.Kubernetes:
				why = "Kubernetes, to which Istio " + version + " hands it on, has no such field"
			}
			if f.Nearest != "" {
				hint = "did you mean " + part.path + "." + f.Nearest + "? Otherwise, " + hint
			}
			errs = append(errs, fmt.Errorf("%s.%s: %s\n  remedy: %s", part.path, f.Path, why, hint))
		}
	}
	return unchecked, errors.Join(errs...)
}
