package istiod

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// validated are the groups of the objects that istiod's /validate knows. Objects
// of the Gateway API are not among them: their CRDs validate them, and an upgrade
// of Istio does not change those.
func validated() []string {
	return []string{"extensions.istio.io", "networking.istio.io", "security.istio.io", "telemetry.istio.io"}
}

// page is how many objects are read at once.
const page = 500

// Objects asks the new revision's validator about every object of Istio's that is
// stored, as if it were created now, and of those that it refuses the old
// revision's too. Objects that are pinned to another revision it never reads.
func (a *Asker) Objects(ctx context.Context, q shadow.Question) ([]shadow.Object, error) {
	next, err := a.servers(ctx, q.New.Revision)
	if err != nil {
		return nil, err
	}
	defer next[0].close()
	old, err := a.servers(ctx, q.Old.Revision)
	if err != nil {
		return nil, err
	}
	defer old[0].close()
	stored, err := a.stored(ctx, q)
	if err != nil {
		return nil, err
	}
	out := make([]shadow.Object, len(stored))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, o := range stored {
		group.Go(func() error {
			out[i] = validate(ctx, next[0], old[0], o)
			return nil // what fails is in the Object
		})
	}
	_ = group.Wait() // no question returns an error to the group
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("asking the validators: %w", err)
	}
	return out, nil
}

// stored are the objects of every kind that the cluster serves.
func (a *Asker) stored(ctx context.Context, q shadow.Question) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, crd := range q.Snapshot.CRDs {
		plural, group, _ := strings.Cut(crd.Name, ".")
		if !slices.Contains(validated(), group) || len(crd.ServedVersions) == 0 {
			continue
		}
		kind := schema.GroupVersionResource{Group: group, Version: version(crd), Resource: plural}
		for next := ""; ; {
			list, err := a.Dynamic.Resource(kind).List(ctx, metav1.ListOptions{Limit: page, Continue: next})
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", crd.Name, err)
			}
			for _, o := range list.Items {
				if rev := o.GetLabels()[mesh.RevLabel]; rev == "" || rev == q.New.Revision {
					out = append(out, o)
				}
			}
			if next = list.GetContinue(); next == "" {
				break
			}
		}
	}
	return out, nil
}

// version is the one to read objects in: istiod does not tell them apart.
func version(crd mesh.CRD) string {
	if slices.Contains(crd.ServedVersions, "v1") {
		return "v1"
	}
	return crd.ServedVersions[0]
}

func validate(ctx context.Context, next, old *server, o unstructured.Unstructured) shadow.Object {
	out := shadow.Object{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
	o.SetManagedFields(nil)
	answer, err := next.judge(ctx, o)
	if err != nil {
		out.Failed = err.Error()
		return out
	}
	out.Warnings = answer.Warnings
	if answer.Allowed {
		return out
	}
	out.Denied = reason(answer)
	if before, err := old.judge(ctx, o); err == nil && !before.Allowed {
		out.Before = reason(before)
	}
	return out
}

// judge is what an istiod's validator says of an object.
func (s *server) judge(ctx context.Context, o unstructured.Unstructured) (*admissionv1.AdmissionResponse, error) {
	raw, err := o.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	gvk := o.GroupVersionKind()
	return s.reviewed(ctx, "/validate", &admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}, Namespace: o.GetNamespace(), Name: o.GetName(),
		Object: runtime.RawExtension{Raw: raw},
	})
}
