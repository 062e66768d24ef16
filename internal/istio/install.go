package istio

import (
	"context"
	"fmt"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/postrenderer"
	release "helm.sh/helm/v4/pkg/release/v1"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
)

// Install makes a release, or carries on with one that a killed process left. A
// release that is deployed as asked is left alone. It does not wait for pods.
//
// like names a release of the same namespace whose way of applying the new one
// takes: a user whose Helm merges on the client (Helm 3) goes on as before.
func (h *Helm) Install(ctx context.Context, want mesh.Release, like string) error {
	return h.installWith(ctx, want, like, h.keeping(context.WithoutCancel(ctx)))
}

// InstallHeld is Install for a gateway whose pods get a readiness gate: they are in
// no Service until somebody opens it (S-29). The values are those of the release
// like, with want's over them; it returns when Helm has made the objects.
func (h *Helm) InstallHeld(ctx context.Context, want mesh.Release, like string) error {
	old, ok, err := h.Get(ctx, want.Namespace, like)
	if err != nil {
		return fmt.Errorf("installing release %s/%s: %w", want.Namespace, want.Name, err)
	}
	if !ok {
		return fmt.Errorf("installing release %s/%s: %w: release %s, whose values it takes, is gone", want.Namespace, want.Name, drive.ErrRefused, like)
	}
	want.Values = merge(old.Values, want.Values)
	return h.installWith(ctx, want, like, held{})
}

func (h *Helm) installWith(ctx context.Context, want mesh.Release, like string, post postrenderer.PostRenderer) error {
	ch, err := h.charts.Load(ctx, want.Chart, want.Version)
	if err != nil {
		return fmt.Errorf("installing release %s/%s: %w", want.Namespace, want.Name, err)
	}
	c, err := h.configure(want.Namespace)
	if err != nil {
		return fmt.Errorf("installing release %s/%s: %w", want.Namespace, want.Name, err)
	}
	state, err := h.settle(ctx, c, want)
	if err != nil {
		return fmt.Errorf("installing release %s/%s: %w", want.Namespace, want.Name, err)
	}
	switch state {
	case asAsked:
		return nil
	case differs:
		return fmt.Errorf("installing release %s/%s: there is one with another chart or other values: %w", want.Namespace, want.Name, ErrForeign)
	case absent, again:
	}
	if err := h.unshared(ctx, c, ch, want); err != nil {
		return fmt.Errorf("installing release %s/%s: %w", want.Namespace, want.Name, err)
	}
	in, err := h.install(c, ch, want, like)
	if err != nil {
		return fmt.Errorf("installing release %s/%s: %w", want.Namespace, want.Name, err)
	}
	in.PostRenderer = post
	// Helm marks a release failed when its context ends and goes on in the
	// background: it is let finish, which takes seconds without waiting for pods.
	if _, err := in.RunWithContext(context.WithoutCancel(ctx), ch, copyValues(want.Values)); err != nil {
		return fmt.Errorf("installing release %s/%s: %w", want.Namespace, want.Name, err)
	}
	return nil
}

func (*Helm) install(c *action.Configuration, ch *chart.Chart, want mesh.Release, like string) (*action.Install, error) {
	in := action.NewInstall(c)
	in.ReleaseName, in.Namespace = want.Name, want.Namespace
	in.WaitStrategy = kube.HookOnlyStrategy
	in.SkipSchemaValidation = unchecked(ch)
	in.Replace = true // of a revision that failed or that settle marked as failed; any other is refused
	pattern, err := last(c, like)
	if err != nil {
		return nil, err
	}
	if pattern != nil {
		in.ServerSideApply = pattern.ApplyMethod == string(release.ApplyMethodServerSideApply)
	}
	return in, nil
}

// Upgrade brings a release to a chart version and to exactly these values. One
// that is deployed as asked is left alone. A pending record of an attempt at
// want, or at one of earlier, is taken over.
func (h *Helm) Upgrade(ctx context.Context, want mesh.Release, earlier ...mesh.Release) error {
	return h.upgradeWith(ctx, want, earlier, func(*release.Release) postrenderer.PostRenderer { return h.keeping(context.WithoutCancel(ctx)) })
}

// UpgradeResting is Upgrade of a gateway whose Deployment somebody has scaled: the
// number of its pods stays what it is (S-32).
func (h *Helm) UpgradeResting(ctx context.Context, want mesh.Release, earlier ...mesh.Release) error {
	return h.upgradeWith(ctx, want, earlier, func(was *release.Release) postrenderer.PostRenderer {
		return resting{onServer: was != nil && was.ApplyMethod == string(release.ApplyMethodServerSideApply)}
	})
}

func (h *Helm) upgradeWith(ctx context.Context, want mesh.Release, earlier []mesh.Release, post func(was *release.Release) postrenderer.PostRenderer) error {
	c, err := h.configure(want.Namespace)
	if err != nil {
		return fmt.Errorf("upgrading release %s/%s: %w", want.Namespace, want.Name, err)
	}
	ch, err := h.chartFor(ctx, c, want)
	if err != nil {
		return fmt.Errorf("upgrading release %s/%s: %w", want.Namespace, want.Name, err)
	}
	state, err := h.settle(ctx, c, want, earlier...)
	if err != nil {
		return fmt.Errorf("upgrading release %s/%s: %w", want.Namespace, want.Name, err)
	}
	if state == asAsked {
		return nil
	}
	up := action.NewUpgrade(c)
	up.Namespace = want.Namespace
	up.WaitStrategy = kube.HookOnlyStrategy
	up.ResetValues = true // exactly want's values: nothing is merged in behind our back
	up.MaxHistory = maxHistory
	up.SkipSchemaValidation = unchecked(ch)
	was, err := last(c, want.Name)
	if err != nil {
		return fmt.Errorf("upgrading release %s/%s: %w", want.Namespace, want.Name, err)
	}
	up.PostRenderer = post(was)
	if _, err := up.RunWithContext(context.WithoutCancel(ctx), want.Name, ch, copyValues(want.Values)); err != nil {
		return fmt.Errorf("upgrading release %s/%s: %w", want.Namespace, want.Name, err)
	}
	return nil
}

// chartFor is the chart that the release was installed with, which Helm keeps with
// it, where only its values are to change: no repository is needed for that, and
// none can have another chart under the same version. Any other is loaded.
func (h *Helm) chartFor(ctx context.Context, c *action.Configuration, want mesh.Release) (*chart.Chart, error) {
	rel, err := last(c, want.Name)
	if err != nil {
		return nil, err
	}
	if carriesChart(rel, want) {
		return rel.Chart, nil
	}
	if rel != nil { // an earlier revision of it, where it goes back
		all, err := c.Releases.History(want.Name)
		if err != nil {
			return nil, fmt.Errorf("reading the history of release %s: %w", want.Name, err)
		}
		for _, r := range all {
			if old, ok := r.(*release.Release); ok && carriesChart(old, want) {
				return old.Chart, nil
			}
		}
	}
	return h.charts.Load(ctx, want.Chart, want.Version)
}

// carriesChart says whether a stored release has the chart that is wanted.
func carriesChart(rel *release.Release, want mesh.Release) bool {
	return rel != nil && whole(rel.Chart) && rel.Chart.Metadata.Name == want.Chart && rel.Chart.Metadata.Version == want.Version
}

// whole says whether a chart came back from Helm's storage as it went in: charts
// within it are not stored.
func whole(ch *chart.Chart) bool {
	return ch != nil && ch.Metadata != nil && len(ch.Templates) > 0 && len(ch.Metadata.Dependencies) == 0
}
