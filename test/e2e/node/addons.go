//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/serin-mesh/serin/lab/bookinfo"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func (w *worker) client() (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", w.state.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return c, nil
}

// nodeReady waits for the kubelet's own word.
func (w *worker) nodeReady(ctx context.Context) error {
	client, err := w.client()
	if err != nil {
		return err
	}
	err = until(ctx, 2*time.Minute, func() error {
		n, err := client.CoreV1().Nodes().Get(ctx, "node", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("it is not Ready")
	})
	if err != nil {
		return fmt.Errorf("waiting for the kubelet (%s): %w", w.state.file("log/kubelet.log"), err)
	}
	return nil
}

// addons puts CoreDNS on the cluster.
func (w *worker) addons(ctx context.Context) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", w.state.Kubeconfig())
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	var objects []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(fmt.Sprintf(coreDNS, dnsIP)), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("decoding CoreDNS' objects: %w", err)
		}
		objects = append(objects, u)
	}
	if err := bookinfo.Apply(ctx, cfg, objects); err != nil {
		return fmt.Errorf("applying CoreDNS: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if err := bookinfo.WaitReady(wait, cfg, "kube-system"); err != nil {
		return fmt.Errorf("waiting for CoreDNS: %w", err)
	}
	return nil
}
