package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// source is where objects come from: a typed client's List and Watch.
type source[L runtime.Object] struct {
	what  string // of the API, for errors: "deployments.apps"
	of    any    // the client; a fake one cannot stream its first list
	opts  metav1.ListOptions
	list  func(context.Context, metav1.ListOptions) (L, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// named limits a source to one object.
func named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()}
}

// await looks at the source's objects whenever one of them changes, until done
// says yes or ctx ends. What done saw last is in the error. A watch that breaks,
// or an API server that goes away meanwhile, is waited out.
func await[T metav1.Object, L runtime.Object](ctx context.Context, why string, src source[L], example T, done func([]T) (bool, string, error)) error {
	obj, ok := any(example).(runtime.Object)
	if !ok {
		return fmt.Errorf("waiting for %s: %T is no API object", why, example)
	}
	// Looked at once by itself: mostly there is nothing to wait for, and what is not
	// permitted is said here, where a watch would only try again.
	first, err := src.list(ctx, src.opts)
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", why, asking("list", src.what, err))
	}
	now, err := listed[T](first)
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", why, err)
	}
	yes, seen, err := done(now)
	if err != nil || yes {
		return err
	}
	var store cache.Store
	look := func() (bool, error) {
		yes, saw, err := done(objects[T](store))
		seen = saw
		return yes, err
	}
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return src.list(ctx, narrowed(o, src.opts))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return src.watch(ctx, narrowed(o, src.opts))
		},
	}, src.of)
	_, err = watchtools.UntilWithSync(ctx, lw, obj,
		func(s cache.Store) (bool, error) { store = s; return look() },
		func(watch.Event) (bool, error) { return look() })
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && seen != "":
		return fmt.Errorf("waiting for %s: %s: %w", why, seen, ctx.Err())
	case ctx.Err() != nil:
		return fmt.Errorf("waiting for %s: %w", why, ctx.Err())
	}
	return fmt.Errorf("waiting for %s: %w", why, err)
}

func objects[T metav1.Object](s cache.Store) []T {
	var out []T
	for _, o := range s.List() {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b T) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out
}

func listed[T metav1.Object](list runtime.Object) ([]T, error) {
	var out []T
	err := meta.EachListItem(list, func(o runtime.Object) error {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading a list: %w", err)
	}
	return out, nil
}

func narrowed(o, by metav1.ListOptions) metav1.ListOptions {
	o.FieldSelector, o.LabelSelector = by.FieldSelector, by.LabelSelector
	return o
}

// only returns the object of that name: fakes do not select by field.
func only[T metav1.Object](list []T, name string) (T, bool) {
	for _, o := range list {
		if o.GetName() == name {
			return o, true
		}
	}
	var none T
	return none, false
}
