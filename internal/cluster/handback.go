package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// handBack gives up serin's ownership of an object's fields, once they are again
// as they were (S-17): a value that is right but "managed by serin" would be a
// conflict for the user's next server-side apply that changes it. Nobody owns
// them then, and the next one to apply them does.
func (w *Writer) handBack(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) error {
	client := w.Metadata.Resource(gvr).Namespace(namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		o, err := client.Get(ctx, name, reading())
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(o.ManagedFields), func(m metav1.ManagedFieldsEntry) bool { return m.Manager == Manager })
		if len(left) == len(o.ManagedFields) {
			return nil
		}
		if len(left) == 0 {
			left = []metav1.ManagedFieldsEntry{{}} // an empty list would mean "as it is"
		}
		patch, err := json.Marshal([]map[string]any{
			{"op": "replace", "path": "/metadata/managedFields", "value": left},
			{"op": "replace", "path": "/metadata/resourceVersion", "value": o.ResourceVersion}, // another's write meanwhile is a conflict
		})
		if err != nil {
			return fmt.Errorf("writing the patch: %w", err)
		}
		_, err = client.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("handing back the fields of %s %s: %w", gvr.Resource, name, err)
	}
	return nil
}

func injectorResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}
}

func namespaceResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
}

func validatorResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}
}
