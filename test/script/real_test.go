package script_test

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-mesh/serin/internal/cli"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
)

// realReader asks the cluster that the kubeconfig names, to see what its errors become.
func realReader() cli.World {
	w := fakeWorld()
	w.Reader = func(t cli.Target) (drive.Reader, error) {
		c, err := t.REST()
		if err != nil {
			return nil, err
		}
		client, err := kubernetes.NewForConfig(c)
		return clusterReader{client}, err
	}
	return w
}

type clusterReader struct{ client kubernetes.Interface }

func (r clusterReader) Observe(ctx context.Context) (mesh.Snapshot, error) {
	_, err := r.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		err = fmt.Errorf("observing namespaces: %w", err)
	}
	return mesh.Snapshot{}, err
}
