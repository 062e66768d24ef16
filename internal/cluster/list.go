package cluster

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// page is how many objects are asked for at once: an answer for 10,000 pods in
// one piece would be 100 MB in the API server's memory and in ours.
const page = 500

// lister is what all typed and untyped clients have in common.
type lister[L metav1.ListInterface] func(context.Context, metav1.ListOptions) (L, error)

// each calls use for every page of a list. what names the resource in errors.
func each[L metav1.ListInterface](ctx context.Context, what string, opts metav1.ListOptions, list lister[L], use func(L)) error {
	opts.Limit = page
	for {
		l, err := list(ctx, opts)
		if token := staleToken(err); token != "" {
			opts.Continue = token
			continue
		}
		if err != nil {
			return asking("list", what, err)
		}
		use(l)
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return nil
		}
	}
}

// staleToken is the token to go on with when a list has outlived the history that
// the server keeps: the rest is newer than the beginning, which the next look mends.
func staleToken(err error) string {
	var status apierrors.APIStatus
	if apierrors.IsResourceExpired(err) && errors.As(err, &status) {
		return status.Status().Continue
	}
	return ""
}

// asking wraps an error of the API server; where the user is not permitted it
// says which verb on what is missing, for that is the remedy.
func asking(verb, what string, err error) error {
	gerund := map[string]string{"list": "listing", "get": "reading", "patch": "patching", "update": "updating", "create": "creating", "delete": "deleting", "watch": "watching"}[verb]
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s %s: not permitted: the user needs verb %s on %s: %w", gerund, what, verb, what, err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s %s: the API server does not accept the user's credentials: %w", gerund, what, err)
	}
	return fmt.Errorf("%s %s: %w", gerund, what, err)
}

// listed is each for metadata alone.
func (r *Reader) listed(ctx context.Context, gvr schema.GroupVersionResource, opts metav1.ListOptions, use func(metav1.PartialObjectMetadata)) error {
	what := gvr.Resource
	if gvr.Group != "" {
		what += "." + gvr.Group
	}
	return each(ctx, what, opts, r.Metadata.Resource(gvr).List, func(l *metav1.PartialObjectMetadataList) {
		for _, o := range l.Items {
			use(o)
		}
	})
}
