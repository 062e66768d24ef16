package istio

import (
	"context"
	"errors"
	"fmt"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/storage/driver"
	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
)

// Uninstall removes a release, or what is left of one. None is fine. What Helm
// does not own any more it leaves; it does not wait for pods.
func (h *Helm) Uninstall(_ context.Context, namespace, name string) error {
	c, err := h.configure(namespace)
	if err != nil {
		return fmt.Errorf("uninstalling release %s/%s: %w", namespace, name, err)
	}
	if err := keepCRDs(c, name); err != nil {
		return fmt.Errorf("uninstalling release %s/%s: %w", namespace, name, err)
	}
	un := action.NewUninstall(c)
	un.IgnoreNotFound = true
	un.WaitStrategy = kube.HookOnlyStrategy
	un.DeletionPropagation = "background"
	// A kill between two of the records' deletions leaves some: ask again until none is left.
	if _, err := un.Run(name); err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return fmt.Errorf("uninstalling release %s/%s: %w", namespace, name, err)
	}
	return nil
}

// keepCRDs marks every definition in a release's record as one to keep. The charts
// do so themselves but for one that they forgot up to 1.28, that of WasmPlugins:
// with it Helm would delete every WasmPlugin there is (S-53).
func keepCRDs(c *action.Configuration, name string) error {
	rel, err := last(c, name)
	if err != nil || rel == nil {
		return err
	}
	marked, err := keptCRDs(rel.Manifest)
	if err != nil || marked == rel.Manifest {
		return err
	}
	rel.Manifest = marked
	if err := c.Releases.Update(rel); err != nil {
		return fmt.Errorf("marking its definitions as kept: %w", err)
	}
	return nil
}

// keptCRDs is a manifest in which each definition is marked as one to keep.
func keptCRDs(manifest string) (string, error) {
	nodes, err := kio.FromBytes([]byte(manifest))
	if err != nil {
		return "", fmt.Errorf("reading its objects: %w", err)
	}
	changed := false
	for _, n := range nodes {
		if n.GetKind() != crdKind().Kind || n.GetAnnotations()[kube.ResourcePolicyAnno] == kube.KeepPolicy {
			continue
		}
		if err := n.PipeE(kyaml.SetAnnotation(kube.ResourcePolicyAnno, kube.KeepPolicy)); err != nil {
			return "", fmt.Errorf("marking %s: %w", n.GetName(), err)
		}
		changed = true
	}
	if !changed {
		return manifest, nil
	}
	out, err := kio.StringAll(nodes)
	if err != nil {
		return "", fmt.Errorf("writing its objects: %w", err)
	}
	return out, nil
}
