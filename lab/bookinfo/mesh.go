package bookinfo

import (
	"context"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Gateway is the name of the ingress gateway's release, Service, Deployment and namespace.
const Gateway = "istio-ingress"

// AddressAnnotation is where the lab writes the loopback address that stands for
// a LoadBalancer Service's external one.
const AddressAnnotation = "lab.serin.dev/address"

// WaitReady returns when every Deployment of the namespace has all its pods available.
func WaitReady(ctx context.Context, cfg *rest.Config, namespace string) error {
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	waiting := ""
	err = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		list, err := c.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			waiting = err.Error()
			return false, nil //nolint:nilerr // the API server may be starting: the wait's own end reports the last error
		}
		for _, d := range list.Items {
			if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < *d.Spec.Replicas || d.Status.AvailableReplicas < *d.Spec.Replicas {
				waiting = fmt.Sprintf("%s has %d of %d pods available", d.Name, d.Status.AvailableReplicas, *d.Spec.Replicas)
				return false, nil
			}
		}
		return len(list.Items) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the Deployments of %s (%s): %w", namespace, waiting, err)
	}
	return nil
}

// Address returns the external address of the ingress gateway, "host:port".
func Address(ctx context.Context, cfg *rest.Config) (string, error) {
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return "", fmt.Errorf("making a client: %w", err)
	}
	var svc *corev1.Service
	err = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		svc, err = c.CoreV1().Services(Gateway).Get(ctx, Gateway, metav1.GetOptions{})
		return err == nil && svc.Annotations[AddressAnnotation] != "", nil
	})
	if err != nil {
		return "", fmt.Errorf("waiting for the address of Service %s: %w", Gateway, err)
	}
	// the gateway has several ports; the first http one is what clients dial
	for _, p := range []string{"http2", "http"} {
		if a := svc.Annotations[AddressAnnotation+"."+p]; a != "" {
			return a, nil
		}
	}
	return svc.Annotations[AddressAnnotation], nil
}

// WaitServing returns when the sample answers through the gateway: routes reach
// proxies a moment after they are stored. It wants three good answers in a row.
func WaitServing(ctx context.Context, address string) error {
	good, last := 0, ""
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx, address)
		if last != "" {
			good = 0
			return false, nil
		}
		good++
		return good == 3, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the sample to answer at %s (%s): %w", address, last, err)
	}
	return nil
}

// ask sends one request and says what was wrong with the answer, "" if nothing was.
func ask(ctx context.Context, address string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+Path, nil)
	if err != nil {
		return err.Error()
	}
	req.Host, req.Close = Host, true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	return ""
}
