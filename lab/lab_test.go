package lab_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-mesh/serin/lab"
)

// start starts a lab with one release of Istio built.
func start(t *testing.T) (*lab.Lab, kubernetes.Interface) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the lab: not in -short")
	}
	l, err := lab.Start(t.Context(), lab.Options{Dir: t.TempDir(), Istio: []string{"1.29.1"}, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	cfg, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l, client
}

// until waits for what must come to be.
func until(t *testing.T, what string, is func(ctx context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true,
		func(ctx context.Context) (bool, error) { return is(ctx), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// hello is a pod behind a LoadBalancer Service that a controller must approve of.
func hello(t *testing.T, c kubernetes.Interface) {
	t.Helper()
	until(t, "the default service account", func(ctx context.Context) bool {
		_, err := c.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	labels := map[string]string{"app": "hello"}
	grace := int64(10)
	_, err := c.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "hello", Labels: labels},
		Spec: corev1.PodSpec{
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "example.com/approved"}}, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "hello", Image: "app:1", Ports: []corev1.ContainerPort{{ContainerPort: 8000}},
				Env: []corev1.EnvVar{{Name: "NAME", Value: "hello"}, {Name: "DRAIN", Value: "1s"}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "hello"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: labels,
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8000)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func get(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// answers says whether hello answers at the external address of its Service.
func answers(ctx context.Context, t *testing.T, c kubernetes.Interface) bool {
	t.Helper()
	s, err := c.CoreV1().Services("default").Get(ctx, "hello", metav1.GetOptions{})
	if err != nil || len(s.Status.LoadBalancer.Ingress) == 0 {
		return false
	}
	return strings.Contains(get(ctx, t, "http://"+s.Annotations["lab.serin.dev/address.http"]), `"name":"hello"`)
}

func TestPod_livesAndDiesAsUnderAKubelet(t *testing.T) {
	l, c := start(t)
	hello(t, c)
	pods := c.CoreV1().Pods("default")
	until(t, "containers ready, pod not", func(ctx context.Context) bool {
		p, err := pods.Get(ctx, "hello", metav1.GetOptions{})
		return err == nil && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].Ready && !isReady(p)
	})
	patch := []byte(`{"status":{"conditions":[{"type":"example.com/approved","status":"True"}]}}`)
	if _, err := pods.Patch(t.Context(), "hello", "application/strategic-merge-patch+json", patch, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	until(t, "pod ready", func(ctx context.Context) bool {
		p, err := pods.Get(ctx, "hello", metav1.GetOptions{})
		return err == nil && isReady(p) && strings.HasPrefix(p.Status.PodIP, "10.244.")
	})
	until(t, "an external address that answers", func(ctx context.Context) bool { return answers(ctx, t, c) })
	if err := pods.Delete(t.Context(), "hello", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	left := time.Now()
	until(t, "pod gone", func(ctx context.Context) bool {
		_, err := pods.Get(ctx, "hello", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if took := time.Since(left); took < time.Second || took > 9*time.Second {
		t.Errorf("the pod was gone after %s: want its drain of 1s, and not its grace period of 10s", took)
	}
	audit, err := os.ReadFile(l.AuditLog())
	if err != nil || !strings.Contains(string(audit), `"verb":"delete"`) {
		t.Errorf("the audit log does not know of the deletion (%v)", err)
	}
}

func TestAPIServer_comesBack(t *testing.T) {
	l, c := start(t)
	for _, fault := range []string{"apiserver-pause", "apiserver-gone"} {
		began := time.Now()
		if err := l.Fault(t.Context(), lab.Fault{Name: fault, Args: []string{"1s"}}); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) < time.Second {
			t.Errorf("%s was over after %s", fault, time.Since(began))
		}
		until(t, "the API server answers after "+fault, func(ctx context.Context) bool {
			_, err := c.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
			return err == nil
		})
	}
	if err := l.Fault(t.Context(), lab.Fault{Name: "earthquake"}); err == nil || !strings.Contains(err.Error(), "kill-istiod") {
		t.Errorf("an unknown fault: %v, want a list of those there are", err)
	}
}

func TestIstioctl_isTheReleaseAskedFor(t *testing.T) {
	l, _ := start(t)
	out, err := exec.CommandContext(t.Context(), l.Istioctl("1.29.1"), "version", "--remote=false").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "1.29.1") {
		t.Errorf("istioctl version: %s (%v)", out, err)
	}
}
