package istio

import (
	"context"
	"errors"
	"fmt"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// Uninstall removes a release, or what is left of one. None is fine. What Helm
// does not own any more it leaves; it does not wait for pods.
func (h *Helm) Uninstall(_ context.Context, namespace, name string) error {
	c, err := h.configure(namespace)
	if err != nil {
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
