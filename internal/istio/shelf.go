package istio

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"

	release "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// secrets keeps records in Secrets of the release's namespace, beside Helm's own
// and as secret as those: values may hold passwords. Helm does not see them, so
// that the name is free for a user's own "helm install".
type secrets struct {
	cfg *rest.Config
}

const (
	keptKey   = "release"
	keptLabel = "serin.dev/kept-release"
	keptType  = corev1.SecretType("serin.dev/kept-release")
)

func keptName(name string) string { return "serin-kept-" + name }

func (s secrets) in(namespace string) (typedcorev1.SecretInterface, error) {
	client, err := kubernetes.NewForConfig(s.cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client.CoreV1().Secrets(namespace), nil
}

func (s secrets) put(ctx context.Context, rel *release.Release) error {
	api, err := s.in(rel.Namespace)
	if err != nil {
		return err
	}
	data, err := packed(rel)
	if err != nil {
		return err
	}
	c := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: keptName(rel.Name), Namespace: rel.Namespace, Labels: map[string]string{
			"app.kubernetes.io/managed-by": "serin", keptLabel: rel.Name,
		}},
		Type: keptType, Data: map[string][]byte{keptKey: data},
	}
	_, err = api.Create(ctx, c, metav1.CreateOptions{FieldManager: "serin"})
	if apierrors.IsAlreadyExists(err) {
		_, err = api.Update(ctx, c, metav1.UpdateOptions{FieldManager: "serin"})
	}
	if err != nil {
		return fmt.Errorf("writing secret %s/%s: %w", rel.Namespace, c.Name, err)
	}
	return nil
}

func (s secrets) get(ctx context.Context, namespace, name string) (*release.Release, error) {
	api, err := s.in(namespace)
	if err != nil {
		return nil, err
	}
	c, err := api.Get(ctx, keptName(name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nothing is kept
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s/%s: %w", namespace, keptName(name), err)
	}
	rel, err := unpacked(c.Data[keptKey])
	if err != nil {
		return nil, fmt.Errorf("reading secret %s/%s: %w", namespace, keptName(name), err)
	}
	return rel, nil
}

func (s secrets) drop(ctx context.Context, namespace, name string) error {
	api, err := s.in(namespace)
	if err != nil {
		return err
	}
	if err := api.Delete(ctx, keptName(name), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting secret %s/%s: %w", namespace, keptName(name), err)
	}
	return nil
}

func packed(rel *release.Release) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(rel); err != nil {
		return nil, fmt.Errorf("encoding release %s: %w", rel.Name, err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("encoding release %s: %w", rel.Name, err)
	}
	return b.Bytes(), nil
}

func unpacked(data []byte) (*release.Release, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unzipping: %w", err)
	}
	var rel release.Release
	if err := json.NewDecoder(z).Decode(&rel); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return &rel, nil
}
