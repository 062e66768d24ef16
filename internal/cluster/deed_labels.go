package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// label makes all label edits of a namespace in one patch. Order: there is none,
// and must not be: with one edit first, new pods would start without a proxy or
// not move at all (R§1.7).
func (w *Writer) label(ctx context.Context, namespace string, labels map[string]*string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return fmt.Errorf("labelling namespace %s: %w", namespace, err)
	}
	if _, err := w.kube.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, options()); err != nil {
		return fmt.Errorf("labelling namespace %s: %w", namespace, err)
	}
	return nil
}
