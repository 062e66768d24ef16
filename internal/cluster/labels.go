package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// label makes all label edits of a namespace in one patch. Order: there is none,
// and must not be. With one edit first, new pods would start without a proxy, or
// not move at all (R§1.7).
func (w *Writer) label(ctx context.Context, namespace string, labels map[string]*string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return fmt.Errorf("labelling namespace %s: %w", namespace, err)
	}
	if _, err := w.Kube.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, patching()); err != nil {
		return fmt.Errorf("labelling namespace %s: %w", namespace, asking("patch", "namespaces", err))
	}
	return nil
}

// labelBack makes the labels what they were and gives up their ownership.
func (w *Writer) labelBack(ctx context.Context, namespace string, labels map[string]*string) error {
	if err := w.label(ctx, namespace, labels); err != nil {
		return err
	}
	return w.handBack(ctx, namespaceResource(), "", namespace)
}
