package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	counted "github.com/serin-mesh/serin/lab/load"
	"github.com/serin-mesh/serin/test/walk"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-mesh/serin/test/e2e/sample"
)

// The walk-throughs of Istio's documentation, command by command, with serin alone
// and by a user with exactly the roles that serin prints, on real pods: the scripts
// that the lab runs beside what is done by hand. All the while each sample is asked
// twenty times a second, from outside the mesh, on a new connection each time.
func TestWalk(t *testing.T) {
	scripts, err := walk.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		t.Run(s.Name, func(t *testing.T) {
			w := walker{world: reached(t), dir: t.TempDir()}
			w.clear()
			n := w.needs()
			if err := s.Write(w.dir, n); err != nil {
				t.Fatal(err)
			}
			for _, line := range s.Before {
				if err := w.types(line); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			s.Run(t, n)
			t.Logf("%s took %s", s.Name, time.Since(began).Round(time.Second))
			w.lost()
		})
	}
}

// walker goes a walk-through on the cluster.
type walker struct {
	*world

	dir     string // with the script's files
	samples []string
	loads   map[string]*counted.Counter
	stop    []context.CancelFunc
}

// clear makes the cluster empty, now and at the end.
func (w *walker) clear() {
	w.t.Helper()
	w.loads = map[string]*counted.Counter{}
	remove := func() {
		ctx := context.Background()
		for _, stop := range w.stop {
			stop()
		}
		if w.t.Failed() {
			w.describe()
		}
		for _, ns := range w.samples {
			if err := w.kube.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				w.t.Error(err)
			}
		}
		if err := sample.Remove(ctx, w.cfg); err != nil {
			w.t.Error(err)
		}
	}
	if err := sample.Remove(w.t.Context(), w.cfg); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(remove)
	for _, name := range []string{sample.System, sample.Gateway} { // marked as the tests' own, to be removed
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{sample.Label: "true"}}}
		if _, err := w.kube.CoreV1().Namespaces().Create(w.t.Context(), ns, metav1.CreateOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// needs is what a script is told of the cluster.
func (w *walker) needs() walk.World {
	w.t.Helper()
	users, err := walk.Users(w.t.Context(), w.kube, w.serin, w.kubeconfig, w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := clientcmd.LoadFromFile(w.kubeconfig)
	if err != nil {
		w.t.Fatal(err)
	}
	return walk.World{
		Serin: w.serin, As: users, Charts: w.charts, Mesh: c.CurrentContext,
		Istiod: sample.IstiodValues(w.values()), Gateway: sample.GatewayValues(),
		Sample:  func(args ...string) error { return w.sample(args...) },
		Drained: func() error { return walk.Drained(w.t.Context(), w.kube) },
		Apply:   func(text string) error { return walk.Apply(w.t.Context(), w.cfg, text) },
		Types:   w.types,
		Same:    func(string) {}, // compared in the lab
	}
}

// sample puts a sample on the cluster, and a load on it.
func (w *walker) sample(args ...string) error {
	if err := walk.Sample(w.t.Context(), w.kube, args...); err != nil {
		return fmt.Errorf("putting a sample on the cluster: %w", err)
	}
	w.samples = append(w.samples, args[0])
	svc, err := w.kube.CoreV1().Services(args[0]).Get(w.t.Context(), "hello", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("looking for the sample's Service: %w", err)
	}
	address := net.JoinHostPort(svc.Spec.ClusterIP, "9080")
	if err := dialled(w.t.Context(), address); err != nil {
		w.t.Logf("no requests to %s: its Service is out of reach: %v", args[0], err)
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = append(w.stop, stop)
	w.loads[args[0]] = counted.Run(ctx, counted.Config{URL: "http://" + address + "/hello", Rate: 20, Fresh: true})
	return nil
}

// dialled waits until an address can be dialled: a Service's takes a moment to lead to
// its pods.
func dialled(ctx context.Context, address string) error {
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err != nil {
			return false, nil //nolint:nilerr // tried again
		}
		return true, c.Close()
	})
	if err != nil {
		return fmt.Errorf("dialling %s: %w", address, err)
	}
	return nil
}

// lost ends the loads and wants no request to have failed.
func (w *walker) lost() {
	w.t.Helper()
	for _, stop := range w.stop {
		stop()
	}
	sent, failed := 0, 0
	for ns, c := range w.loads {
		c.Wait()
		s := c.Snapshot()
		sent, failed = sent+s.Sent, failed+s.Failed
		for i, f := range s.Failures {
			if i == 5 {
				break
			}
			w.t.Errorf("%s: request lost at %s: %s", ns, f.At.Format(time.TimeOnly), f.Cause)
		}
	}
	w.t.Logf("requests: sent %d, failed %d", sent, failed)
}

// types types a command of another tool.
func (w *walker) types(line string) error {
	f := strings.Fields(line)
	if f[0] == "sample" {
		return w.sample(f[1:]...)
	}
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(os.Getenv(toolsEnv), f[0]), f[1:]...)
	cmd.Dir, cmd.Env = w.dir, append(os.Environ(), "KUBECONFIG="+w.kubeconfig)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

// reached is the cluster, with nothing on it.
func reached(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, kubeconfig: os.Getenv(kubeconfigEnv), charts: os.Getenv(chartsEnv), serin: os.Getenv("SERIN_BIN")}
	if w.kubeconfig == "" {
		t.Skipf("needs a cluster with real pods: make e2e makes one; or %s=FILE", kubeconfigEnv)
	}
	if w.serin == "" {
		t.Fatal("SERIN_BIN is not set: it is the serin to try, as make build makes it")
	}
	var err error
	if w.cfg, err = clientcmd.BuildConfigFromFlags("", w.kubeconfig); err != nil {
		t.Fatal(err)
	}
	w.cfg.QPS, w.cfg.Burst = 50, 100
	w.kube = kubernetes.NewForConfigOrDie(w.cfg)
	return w
}
