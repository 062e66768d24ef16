package cli_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/serin-mesh/serin/internal/cli"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/run"
)

// fake is a world whose calls answer from its fields.
type fake struct {
	snapshots []mesh.Snapshot // one a look, the last for ever
	lost      []error         // one a look, nil when it is used up
	proxies   error
	runs      []run.Run
	list      error
	holders   []string // one a question, the last for ever
	asked     []run.Wish
	looks     int
	waits     int // how often Wait waits before it ends
}

func (f *fake) Observe(context.Context) (mesh.Snapshot, error) {
	n := f.looks
	f.looks++
	if n < len(f.lost) && f.lost[n] != nil {
		return mesh.Snapshot{}, f.lost[n]
	}
	if len(f.snapshots) == 0 {
		return mesh.Snapshot{IstioNamespace: "istio-system"}, nil
	}
	return f.snapshots[min(n, len(f.snapshots)-1)], nil
}

func (f *fake) List(context.Context) ([]run.Run, error)       { return f.runs, f.list }
func (f *fake) Load(context.Context, string) (run.Run, error) { return f.runs[0], nil }
func (*fake) Save(context.Context, run.Run) error             { return nil }
func (*fake) Wish(context.Context, string, int64) (run.Wish, error) {
	return run.Wish{}, nil
}
func (*fake) Acquire(context.Context, string) (func(), error) { return func() {}, nil }
func (f *fake) Ask(_ context.Context, _ string, w run.Wish) (int64, error) {
	f.asked = append(f.asked, w)
	return int64(len(f.asked)), nil
}

func (f *fake) wait(context.Context, time.Duration) error {
	f.waits--
	if f.waits < 0 {
		return context.Canceled
	}
	return nil
}

func (f *fake) Holder(context.Context) (string, error) {
	if len(f.holders) == 0 {
		return "", nil
	}
	h := f.holders[0]
	if len(f.holders) > 1 {
		f.holders = f.holders[1:]
	}
	return h, nil
}

// serin runs one command line in the fake's world.
func (f *fake) serin(t *testing.T, line string) (int, string, string) {
	t.Helper()
	t.Setenv("KUBECONFIG", "/nowhere/kubeconfig")
	streams, _, out, talk := genericiooptions.NewTestIOStreams()
	w := cli.World{
		Reader:  func(cli.Target) (drive.Reader, error) { return f, nil },
		Journal: func(cli.Target) (cli.Journal, error) { return f, nil },
		Proxies: func(context.Context, cli.Target) ([]gate.Proxy, error) { return nil, f.proxies },
		Now:     func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
		Wait:    f.wait, Who: func() string { return "erin@office" }, Version: "v0.1.0",
	}
	code := cli.Main(t.Context(), append([]string{"serin"}, strings.Fields(line)...), streams, w)
	return code, out.String(), talk.String()
}

func TestErrorsSayWhatToMend(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	forbidden := apierrors.NewForbidden(pods, "", errors.New(`User "erin" cannot watch resource "pods" in API group ""`))
	for name, tt := range map[string]struct {
		err  error
		want []string
	}{
		"no permission": {fmt.Errorf("listing pods: %w", forbidden), []string{"no permission", `grant "watch" on "pods"`}},
		"not logged in": {apierrors.NewUnauthorized("token expired"), []string{"does not know you", "/nowhere/kubeconfig", "kubectl auth whoami"}},
		"no route":      {&net.OpError{Op: "dial", Err: errors.New("no route to host")}, []string{"cannot reach the cluster", "/nowhere/kubeconfig"}},
		"a bad URL":     {&url.Error{Op: "Get", URL: "https://x", Err: errors.New("certificate has expired")}, []string{"cannot reach", "certificate has expired"}},
		"too slow":      {context.DeadlineExceeded, []string{"cannot reach", "--context"}},
		"anything else": {errors.New("decoding: unexpected end"), []string{"looking at the mesh: decoding: unexpected end"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{lost: []error{tt.err}}
			code, out, talk := f.serin(t, "snapshot")
			if code != 1 || out != "" {
				t.Errorf("exit code %d, want 1; stdout %q", code, out)
			}
			for _, w := range tt.want {
				if !strings.Contains(talk, w) {
					t.Errorf("%q is missing from %q", w, talk)
				}
			}
		})
	}
}

func TestWatchGoesOnWhenTheClusterGoesAway(t *testing.T) {
	before := meshtest.Bookinfo("1.27.0").Snapshot()
	after := meshtest.Bookinfo("1.27.0").ControlPlane("1-29-1", "1.29.1").Snapshot()
	f := &fake{
		snapshots: []mesh.Snapshot{before, before, before, after},
		lost:      []error{nil, nil, errors.New("connection refused"), nil}, waits: 3,
	}
	code, out, talk := f.serin(t, "status -w")
	want := []string{"12:00:00  default 1.27.0", "12:00:00  unknown: looking at the mesh: connection refused", "1-29-1 1.29.1 2/2"}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || talk != "" || len(lines) != len(want) {
		t.Fatalf("exit code %d, stderr %q, %d lines, want %d:\n%s", code, talk, len(lines), len(want), out)
	}
	for i, w := range want {
		if !strings.Contains(lines[i], w) {
			t.Errorf("line %d: %q is missing from %q", i, w, lines[i])
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("control codes in a pipe")
	}
}

func TestWatchThatNeverSawTheClusterIsAnError(t *testing.T) {
	f := &fake{lost: []error{errors.New("no")}, waits: 3}
	if code, _, _ := f.serin(t, "status -w"); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestStatusShowsWhatItCanSee(t *testing.T) {
	f := &fake{
		snapshots: []mesh.Snapshot{meshtest.Bookinfo("1.27.0").Snapshot()},
		proxies:   errors.New("istiod-0 did not answer"), list: errors.New("no permission"),
	}
	code, out, _ := f.serin(t, "status")
	for _, w := range []string{"proxies unknown: istiod-0 did not answer", "upgrade unknown: reading the runs: no permission", "<unknown>"} {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing from\n%s", w, out)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestVersionOfTheClientIsKnownWithoutACluster(t *testing.T) {
	f := &fake{lost: []error{errors.New("no")}}
	code, out, talk := f.serin(t, "version")
	if code != 1 || out != "client version: v0.1.0\n" || talk == "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, talk)
	}
}

func TestAWishWaitsForADriverThatMayHaveDied(t *testing.T) {
	open := run.Run{ID: "r1", Phase: run.Applying}
	for name, tt := range map[string]struct {
		holders []string
		want    string
	}{
		"it lives": {[]string{"max@laptop"}, "run/r1 asked to pause: max@laptop does it, after its current deed\n"},
		"it died":  {[]string{"max@laptop", "max@laptop", ""}, "run/r1 noted pause: nobody drives it now\n"},
		"none":     {nil, "run/r1 noted pause: nobody drives it now\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{runs: []run.Run{open}, holders: tt.holders, waits: 100}
			code, out, talk := f.serin(t, "pause")
			if code != 0 || out != tt.want {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %q", code, out, talk, tt.want)
			}
			if len(f.asked) != 1 || f.asked[0].Kind != run.WishPause || f.asked[0].By != "erin@office" {
				t.Errorf("asked %v", f.asked)
			}
		})
	}
}
