package cluster

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

// tagService moves the Service of a tag to a revision, or makes the one that tags
// have from 1.28 on (R§2.1). One that is there moves whatever the version: left
// behind, both revisions would claim the tag.
func (w *Writer) tagService(ctx context.Context, tag, rev, version string) error {
	return w.tagServiceAt(ctx, tag, rev, skew.HasTagService(version))
}

// tagServiceAgain moves the Service of a tag that had one, or makes it again,
// whatever the release: a tag keeps its Service when it moves to an older one.
func (w *Writer) tagServiceAgain(ctx context.Context, tag, rev string) error {
	return w.tagServiceAt(ctx, tag, rev, true)
}

func (w *Writer) tagServiceAt(ctx context.Context, tag, rev string, made bool) error { //nolint:revive // whether it is to be there, not a mode
	name := mesh.TagServiceName(tag)
	api := w.Kube.CoreV1().Services(w.namespace)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		have, err := api.Get(ctx, name, reading())
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return asking("get", "services "+name, err)
		}
		if missing && !made {
			return nil
		}
		istiod, err := api.Get(ctx, mesh.IstiodName(rev), reading())
		if err != nil {
			return asking("get", "services "+mesh.IstiodName(rev), err)
		}
		if missing {
			_, err := api.Create(ctx, serviceOfTag(tag, rev, name, istiod), creating())
			return err
		}
		if have.Labels[mesh.RevLabel] == rev && maps.Equal(have.Spec.Selector, istiod.Spec.Selector) {
			return nil
		}
		if have.Labels == nil {
			have.Labels = map[string]string{}
		}
		have.Labels[mesh.RevLabel], have.Spec.Selector = rev, maps.Clone(istiod.Spec.Selector)
		_, err = api.Update(ctx, have, updating())
		return err
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("pointing Service %s to revision %s: %w", name, rev, err)
	}
	return nil
}

// serviceOfTag is what the chart would render: the revision's ports and pods
// under the tag's name. It belongs to no release.
func serviceOfTag(tag, rev, name string, istiod *corev1.Service) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: istiod.Namespace, Labels: map[string]string{
			"app": "istiod", "istio": "pilot", mesh.RevLabel: rev, mesh.TagLabel: tag,
		}},
		Spec: corev1.ServiceSpec{
			Selector: maps.Clone(istiod.Spec.Selector), IPFamilyPolicy: istiod.Spec.IPFamilyPolicy, IPFamilies: istiod.Spec.IPFamilies,
		},
	}
	for _, p := range istiod.Spec.Ports {
		p.NodePort = 0 // each Service has its own
		s.Spec.Ports = append(s.Spec.Ports, p)
	}
	return s
}

func (w *Writer) dropTagService(ctx context.Context, tag string) error {
	err := w.Kube.CoreV1().Services(w.namespace).Delete(ctx, mesh.TagServiceName(tag), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return asking("delete", "services "+mesh.TagServiceName(tag), err)
	}
	return nil
}
