package cluster

import (
	"context"
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// installChart installs a release of the base or the gateway chart, and waits
// until its definitions are served or its pods have come.
func (w *Writer) installChart(ctx context.Context, st plan.Step) error {
	if err := w.chart(ctx, *st.Release); err != nil {
		return fmt.Errorf("installing release %s: %w", st.Target, err)
	}
	return nil
}

func (w *Writer) chart(ctx context.Context, want mesh.Release) error {
	if want.Chart != "base" {
		if err := w.releases.Install(ctx, want, ""); err != nil {
			return err
		}
		_, err := w.rolledOut(ctx, mesh.Ref{Kind: mesh.KindDeployment, Namespace: want.Namespace, Name: want.Name})
		return err
	}
	crds, err := w.releases.CRDs(ctx, want)
	if err != nil {
		return err
	}
	for _, name := range crds { // left by an earlier installation: charts ask Helm to keep them
		if err := w.adopt(ctx, name, want); err != nil {
			return err
		}
	}
	if err := w.releases.Install(ctx, want, ""); err != nil {
		return err
	}
	for _, name := range crds {
		if err := w.established(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// uninstallChart takes an installed release away again, unless it was there.
func (w *Writer) uninstallChart(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if _, had := before.Release(mesh.Owner{Kind: mesh.OwnerHelm, Name: st.Release.Namespace + "/" + st.Release.Name}); had {
		return nil
	}
	if err := w.releases.Uninstall(ctx, st.Release.Namespace, st.Release.Name); err != nil {
		return fmt.Errorf("uninstalling release %s: %w", st.Target, err)
	}
	return nil
}

// removeChart uninstalls a release; its record is kept for the way back.
func (w *Writer) removeChart(ctx context.Context, st plan.Step) error {
	if err := w.releases.Keep(ctx, st.Release.Namespace, st.Release.Name); err != nil {
		return fmt.Errorf("removing release %s: %w", st.Target, err)
	}
	if err := w.releases.Uninstall(ctx, st.Release.Namespace, st.Release.Name); err != nil {
		return fmt.Errorf("removing release %s: %w", st.Target, err)
	}
	return nil
}

// restoreChart installs a removed release as it was.
func (w *Writer) restoreChart(ctx context.Context, st plan.Step) error {
	if err := w.releases.Restore(ctx, st.Release.Namespace, st.Release.Name, ""); err != nil {
		return fmt.Errorf("installing release %s again: %w", st.Target, err)
	}
	return nil
}
