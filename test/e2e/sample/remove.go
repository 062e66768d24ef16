package sample

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Remove takes off the cluster what Install and any upgrade have put there, if
// anything. A namespace that is not marked as ours stops it before it begins.
func Remove(ctx context.Context, cfg *rest.Config) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if err := ours(ctx, client); err != nil {
		return err
	}
	// Order: webhooks first, or what they guard cannot be deleted once their istiod is gone.
	for _, r := range clusterWide() {
		if err := removeIstios(ctx, dyn.Resource(r)); err != nil {
			return err
		}
	}
	for _, name := range places() {
		if err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing namespace %s: %w", name, err)
		}
	}
	return gone(ctx, client, dyn)
}

// ours refuses a cluster with an Istio that Install did not put there.
func ours(ctx context.Context, client kubernetes.Interface) error {
	for _, name := range places() {
		ns, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking at namespace %s: %w", name, err)
		}
		if ns.Labels[Label] != "true" {
			return fmt.Errorf("removing the mesh: namespace %s is not of the tests' making\n  remedy: give the tests a cluster without Istio", name)
		}
	}
	return nil
}

func clusterWide() []schema.GroupVersionResource {
	gvr := func(group, resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}
	}
	return []schema.GroupVersionResource{
		gvr("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
		gvr("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
		gvr("admissionregistration.k8s.io", "validatingadmissionpolicies"),
		gvr("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
		gvr("rbac.authorization.k8s.io", "clusterrolebindings"),
		gvr("rbac.authorization.k8s.io", "clusterroles"),
		customResources(),
	}
}

func customResources() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// istios says whether the name of an object that has no namespace is one of Istio's.
func istios(name string) bool {
	return strings.HasPrefix(name, "istio") || strings.HasSuffix(name, ".istio.io") || strings.HasPrefix(name, "stable-channel-policy")
}

func removeIstios(ctx context.Context, r dynamic.ResourceInterface) error {
	list, err := r.List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing what to remove: %w", err)
	}
	for _, o := range list.Items {
		if !istios(o.GetName()) {
			continue
		}
		if err := r.Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// gone waits until nothing is left.
func gone(ctx context.Context, client kubernetes.Interface, dyn dynamic.Interface) error {
	left := errors.New("nothing was looked at")
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		left = nil
		for _, name := range places() {
			if _, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				left = errors.Join(fmt.Errorf("namespace %s is still there", name), err)
				return false, nil
			}
		}
		list, err := dyn.Resource(customResources()).List(ctx, metav1.ListOptions{})
		if err != nil {
			left = err
			return false, nil //nolint:nilerr // the wait's end reports it
		}
		for _, o := range list.Items {
			if istios(o.GetName()) {
				left = fmt.Errorf("%s is still there", o.GetName())
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("removing the mesh: %w (%w)", err, left)
	}
	return nil
}
