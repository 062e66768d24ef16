package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// upgradeBase upgrades the release that brings the CRDs and waits until they are
// served. Its values stay as they are: defaultRevision moves with the default tag,
// not before (S-3).
func (w *Writer) upgradeBase(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	if st.Owner == mesh.OwnerIstioctl {
		if err := w.applyBase(ctx, st, p, before); err != nil {
			return fmt.Errorf("upgrading base to %s: %w", st.Version, err)
		}
		return nil
	}
	want, err := w.wantedBase(ctx, st, before)
	if err != nil {
		return fmt.Errorf("upgrading base to %s: %w", st.Version, err)
	}
	crds, err := w.releases.CRDs(ctx, want)
	if err != nil {
		return fmt.Errorf("upgrading base to %s: %w", st.Version, err)
	}
	for _, name := range crds {
		if err := w.adopt(ctx, name, want); err != nil {
			return fmt.Errorf("upgrading base to %s: %w", st.Version, err)
		}
	}
	if err := w.releases.Upgrade(ctx, want); err != nil {
		return fmt.Errorf("upgrading base to %s: %w", st.Version, err)
	}
	for _, name := range crds {
		if err := w.established(ctx, name); err != nil {
			return fmt.Errorf("upgrading base to %s: %w", st.Version, err)
		}
	}
	return nil
}

// leaveBase leaves the CRDs: they are additive, and taking versions away could
// strand stored objects (R§14). Only an upgrade that was cut off is settled, or
// the user's next helm would find "another operation in progress".
func (w *Writer) leaveBase(ctx context.Context, st plan.Step, before mesh.Snapshot) error {
	if st.Owner == mesh.OwnerIstioctl {
		return nil // nothing was begun that is not done
	}
	want, err := w.wantedBase(ctx, st, before)
	if err != nil {
		return fmt.Errorf("leaving base: %w", err)
	}
	if err := w.releases.Forget(ctx, want); err != nil {
		return fmt.Errorf("leaving base: %w", err)
	}
	return nil
}

func (w *Writer) wantedBase(ctx context.Context, st plan.Step, before mesh.Snapshot) (mesh.Release, error) {
	base, ok := before.Base()
	if !ok {
		return mesh.Release{}, refused("Helm has no release of the base chart")
	}
	rel, ok, err := w.releases.Get(ctx, base.Namespace, base.Name)
	if err != nil {
		return mesh.Release{}, err
	}
	if !ok {
		return mesh.Release{}, refused("release %s/%s is gone", base.Namespace, base.Name)
	}
	rel.Version = st.Version
	return rel, nil
}

// adopt gives the release a definition that nobody owns: up to 1.23 the chart
// installed CRDs without Helm's marks, and Helm refuses to touch what has none
// (R§11.1). What another tool owns stays its own, and Helm then says so.
func (w *Writer) adopt(ctx context.Context, name string, rel mesh.Release) error {
	client := w.Metadata.Resource(crdResource())
	o, err := client.Get(ctx, name, reading())
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return asking("get", "customresourcedefinitions "+name, err)
	}
	if k := ownerOf(o).Kind; k != mesh.OwnerNone && k != mesh.OwnerIstioctl {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels":      map[string]string{managedBy: "Helm"},
		"annotations": map[string]string{helmName: rel.Name, helmNamespace: rel.Namespace},
	}})
	if err != nil {
		return fmt.Errorf("adopting %s: %w", name, err)
	}
	if _, err := client.Patch(ctx, name, types.MergePatchType, patch, patching()); err != nil {
		return fmt.Errorf("adopting %s: %w", name, asking("patch", "customresourcedefinitions", err))
	}
	return w.handBack(ctx, crdResource(), "", name) // the marks are Helm's now
}

// established waits until the API server serves the definition.
func (w *Writer) established(ctx context.Context, name string) error {
	api := w.CRDs.ApiextensionsV1().CustomResourceDefinitions()
	crd, err := api.Get(ctx, name, metav1.GetOptions{})
	if err == nil && established(crd) {
		return nil
	}
	src := source[*apiextensionsv1.CustomResourceDefinitionList]{
		what: "customresourcedefinitions", of: w.CRDs, opts: named(name), list: api.List, watch: api.Watch,
	}
	return await(ctx, "custom resource definition "+name, src, &apiextensionsv1.CustomResourceDefinition{},
		func(list []*apiextensionsv1.CustomResourceDefinition) (bool, string, error) {
			c, ok := only(list, name)
			return ok && established(c), "it is not established", nil
		})
}
