package walk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// app is the sample: one Deployment and its Service.
const app = "hello"

// Sample puts the sample into a namespace, which it makes, and waits until it is
// ready: its arguments are the namespace, the namespace's labels, and after a "--"
// those of the pods.
func Sample(ctx context.Context, client kubernetes.Interface, args ...string) error {
	if len(args) == 0 {
		return errors.New("usage: sample NAMESPACE [LABEL=VALUE…] [-- LABEL=VALUE…]")
	}
	labels := map[bool]map[string]string{false: {}, true: {"app": app}}
	ofPods := false
	for _, a := range args[1:] {
		key, value, ok := strings.Cut(a, "=")
		switch {
		case a == "--":
			ofPods = true
		case !ok:
			return fmt.Errorf("%q is no LABEL=VALUE", a)
		default:
			labels[ofPods][key] = value
		}
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: args[0], Labels: labels[false]}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", args[0], err)
	}
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Name: "http", Port: 9080}}},
	}
	if _, err := client.CoreV1().Services(args[0]).Create(ctx, svc, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("putting the sample into %s: %w", args[0], err)
	}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels[true]}, Spec: corev1.PodSpec{Containers: []corev1.Container{container()}}},
		},
	}
	if _, err := client.AppsV1().Deployments(args[0]).Create(ctx, d, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("putting the sample into %s: %w", args[0], err)
	}
	return Ready(ctx, client, args[0])
}

func container() corev1.Container {
	return corev1.Container{
		Name: app, Image: "docker.io/serin/app:1", ImagePullPolicy: corev1.PullIfNotPresent,
		Ports: []corev1.ContainerPort{{ContainerPort: 9080}},
		Env:   []corev1.EnvVar{{Name: "NAME", Value: app}, {Name: "DRAIN", Value: "2s"}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(9080)}},
			PeriodSeconds: 1,
		},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("5m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
		}},
	}
}

// Ready waits until every Deployment of a namespace has all its pods, and no others.
func Ready(ctx context.Context, client kubernetes.Interface, namespace string) error {
	waiting := ""
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		list, err := client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			waiting = err.Error()
			return false, nil //nolint:nilerr // the wait's end reports the last one
		}
		for _, d := range list.Items {
			s := d.Status
			if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < *d.Spec.Replicas || s.AvailableReplicas < *d.Spec.Replicas || s.Replicas > *d.Spec.Replicas {
				waiting = fmt.Sprintf("%s has %d of %d new pods available, %d in all", d.Name, s.AvailableReplicas, *d.Spec.Replicas, s.Replicas)
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the Deployments of %s (%s): %w", namespace, waiting, err)
	}
	return nil
}

// Drained waits until every pod that was told to go has gone.
func Drained(ctx context.Context, client kubernetes.Interface) error {
	leaving := ""
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		list, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			leaving = err.Error()
			return false, nil //nolint:nilerr // the wait's end reports the last one
		}
		for _, p := range list.Items {
			if p.DeletionTimestamp != nil {
				leaving = p.Namespace + "/" + p.Name
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for pods to go (%s): %w", leaving, err)
	}
	return nil
}
