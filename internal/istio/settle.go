package istio

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"helm.sh/helm/v4/pkg/action"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"

	"github.com/serin-mesh/serin/internal/mesh"
)

// found is what the storage holds of a release before anything is done to it.
type found int

const (
	absent  found = iota
	asAsked       // deployed with this chart and these values
	differs       // deployed with others
	again         // its last attempt did not end; it is marked as failed, so that Helm goes on
)

// settle looks at what there is and takes over what a killed process left.
//
// A record that is pending may be another person's Helm at work. It is ours, or
// as good as ours, when it holds what is being asked for, or one of the earlier
// attempts that the caller knows of. Then it is set aside (see takeOver).
func (h *Helm) settle(ctx context.Context, c *action.Configuration, want mesh.Release, earlier ...mesh.Release) (found, error) {
	rel, err := last(c, want.Name)
	if err != nil {
		return absent, err
	}
	if rel == nil {
		return absent, nil
	}
	same := holds(rel, want)
	switch st := rel.Info.Status; {
	case st == rcommon.StatusDeployed && same:
		return asAsked, nil
	case st == rcommon.StatusDeployed:
		return differs, nil
	case st == rcommon.StatusFailed, st == rcommon.StatusUninstalled, st == rcommon.StatusSuperseded:
		return again, nil
	case st == rcommon.StatusUninstalling:
		return absent, h.Uninstall(ctx, want.Namespace, want.Name)
	case !same && !slices.ContainsFunc(earlier, func(e mesh.Release) bool { return holds(rel, e) }):
		return differs, fmt.Errorf("its revision %d is %s, begun by someone else (chart %s): %w; see \"helm history %s -n %s\"",
			rel.Version, st, chartOf(rel), ErrForeign, want.Name, want.Namespace)
	}
	if err := takeOver(c, rel); err != nil {
		return again, fmt.Errorf("taking over its revision %d: %w", rel.Version, err)
	}
	return again, nil
}

// takeOver sets aside a pending record, so that Helm goes on. An upgrade's is
// deleted: the deployed one before it still says what the release holds, and the
// history is as if nothing had been begun. An install's is the only list of what
// that attempt made, which an uninstall needs: it is marked as failed.
func takeOver(c *action.Configuration, rel *release.Release) error {
	if _, err := c.Releases.Deployed(rel.Name); err == nil {
		if _, err := c.Releases.Delete(rel.Name, rel.Version); err != nil {
			return fmt.Errorf("removing its record: %w", err)
		}
		return nil
	}
	rel.SetStatus(rcommon.StatusFailed, "Interrupted; carried on in the next revision")
	if err := c.Releases.Update(rel); err != nil {
		return fmt.Errorf("marking its record: %w", err)
	}
	return nil
}

// Forget sets aside what an upgrade to want left when it did not end, pending or
// failed. The release then is what was deployed before. Nothing else is touched.
func (h *Helm) Forget(_ context.Context, want mesh.Release) error {
	c, err := h.configure(want.Namespace)
	if err != nil {
		return fmt.Errorf("settling release %s/%s: %w", want.Namespace, want.Name, err)
	}
	for {
		rel, err := last(c, want.Name)
		if err != nil {
			return fmt.Errorf("settling release %s/%s: %w", want.Namespace, want.Name, err)
		}
		if rel == nil || !holds(rel, want) || !rel.Info.Status.IsPending() && rel.Info.Status != rcommon.StatusFailed {
			return nil
		}
		if _, err := c.Releases.Deployed(want.Name); err != nil {
			return nil //nolint:nilerr // no deployed one below: it is not an upgrade's record
		}
		if _, err := c.Releases.Delete(rel.Name, rel.Version); err != nil {
			return fmt.Errorf("settling release %s/%s: %w", want.Namespace, want.Name, err)
		}
	}
}

func chartOf(r *release.Release) string {
	m := asRelease(r)
	return m.Chart + " " + m.Version
}

// holds says whether the stored release is of this chart with these values.
func holds(r *release.Release, want mesh.Release) bool {
	is := asRelease(r)
	return is.Chart == want.Chart && is.Version == want.Version && sameValues(is.Values, want.Values)
}

// sameValues compares values as JSON knows them: 2 and 2.0 are one number once stored.
func sameValues(a, b map[string]any) bool {
	x, y := plain(a), plain(b)
	return len(a) == 0 && len(b) == 0 || x != nil && reflect.DeepEqual(x, y)
}

func plain(v map[string]any) map[string]any {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil
	}
	return out
}
