package script_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/serin-mesh/serin/internal/cli"
	"github.com/serin-mesh/serin/internal/mesh"
)

// stubborn are access logs whose Telemetry cannot be removed, or is removed by others.
type stubborn struct {
	cli.AccessLogs

	remove func() error
	renew  func() // before its command says that it runs
}

func (s stubborn) Remove(ctx context.Context, t mesh.Telemetry) error {
	if s.remove != nil {
		return s.remove()
	}
	return s.AccessLogs.Remove(ctx, t)
}

func (s stubborn) Renew(ctx context.Context, t mesh.Telemetry, until time.Time) error {
	if s.renew != nil {
		s.renew()
	}
	return s.AccessLogs.Renew(ctx, t, until)
}

// S-34: a gateway logs whose pods go on writing ends by ctrl-C, or because somebody has
// removed its Telemetry, which it says; and it never ends in silence with one left.
func TestS34_howFollowingEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		code int
		says string
		end  func(w world, s *stubborn, stop func())
		left bool
	}{
		"by ctrl-C": {0, "removed telemetry istio-ingress/serin-logs-istio-ingress", func(_ world, s *stubborn, stop func()) { s.renew = stop }, false},
		"by the terminal's end": {0, "removed telemetry istio-ingress/serin-logs-istio-ingress", func(_ world, s *stubborn, _ func()) {
			s.renew = func() { _ = syscall.Kill(syscall.Getpid(), syscall.SIGHUP) }
		}, false},
		"because somebody removes it": {3, "was removed by somebody else", func(w world, s *stubborn, _ func()) {
			s.renew = func() {
				m, _ := w.stored()
				m.Telemetries = nil
				w.save("snapshot.yaml", m)
			}
		}, false},
		"and it cannot be removed": {1, "remedy: serin repair, or kubectl -n istio-ingress delete telemetry serin-logs-istio-ingress", func(_ world, s *stubborn, stop func()) {
			s.renew, s.remove = stop, func() error { return errors.New("removing it: connection refused") }
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("SERIN_FAKE", dir)
			t.Setenv("KUBECONFIG", filepath.Join(dir, "kubeconfig"))
			w := here()
			w.save("snapshot.yaml", canary([]string{"1.27.0", "1.29.1"}).Snapshot())
			w.write("logfile", "none")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			s := stubborn{AccessLogs: accessLogs{w}}
			tt.end(w, &s, stop)
			all := fakeWorld()
			all.AccessLogs = func(cli.Target) (cli.AccessLogs, error) { return s, nil }
			all.Wait = func(ctx context.Context, _ time.Duration) error {
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond): //nolint:forbidigo // a terminal's signal comes in its own time
				}
				return ctx.Err()
			}
			all.Logs = func(ctx context.Context, _ cli.Target, _ cli.LogQuestion) (io.ReadCloser, error) {
				r, out := io.Pipe()
				context.AfterFunc(ctx, func() { _ = out.CloseWithError(ctx.Err()) })
				return r, nil
			}
			var out, talk bytes.Buffer
			code := cli.Main(ctx, []string{"serin", "gateway", "logs", "istio-ingress", "--telemetry"}, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &talk}, all)
			if code != tt.code || !strings.Contains(talk.String(), tt.says) {
				t.Errorf("exit code %d, want %d with %q:\n%s", code, tt.code, tt.says, talk.String())
			}
			m, err := w.stored()
			if err != nil || (len(m.Telemetries) > 0) != tt.left {
				t.Errorf("at the end: %+v %v", m.Telemetries, err)
			}
		})
	}
}
