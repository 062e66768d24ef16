package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/lab/app"
)

// street is where apps dial each other by name.
type street map[string]*app.App

func (s street) dial(_ context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	a, ok := s[host]
	if !ok || !a.Accept(n, far) {
		return nil, &net.OpError{Op: "dial", Err: io.ErrClosedPipe}
	}
	return near, nil
}

// move lets an app live at its name until the test ends.
func (s street) move(t *testing.T, name string, env map[string]string) *app.App {
	t.Helper()
	env["NAME"] = name
	a := app.New(app.Config{
		Pod:       &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name + "-0"}},
		Container: corev1.Container{Ports: []corev1.ContainerPort{{ContainerPort: 9080}}},
		Env:       env, Dial: s.dial, Log: io.Discard,
	})
	s[name] = a
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
	})
	return a
}

// get asks http://name:9080/ on a new connection.
func (s street) get(t *testing.T, name string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: s.dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+name+":9080/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestEveryHopIsInTheAnswer(t *testing.T) {
	s := street{}
	s.move(t, "ratings", map[string]string{})
	s.move(t, "details", map[string]string{})
	s.move(t, "reviews", map[string]string{"UPSTREAMS": "http://ratings:9080"})
	s.move(t, "page", map[string]string{"UPSTREAMS": "http://details:9080,http://reviews:9080"})
	code, body := s.get(t, "page")
	var got app.Hop
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	want := app.Hop{Name: "page", Pod: "page-0", Up: []app.Hop{
		{Name: "details", Pod: "details-0"},
		{Name: "reviews", Pod: "reviews-0", Up: []app.Hop{{Name: "ratings", Pod: "ratings-0"}}},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAFailureIsPassedOnWithItsCause(t *testing.T) {
	s := street{}
	ratings := s.move(t, "ratings", map[string]string{})
	s.move(t, "reviews", map[string]string{"UPSTREAMS": "http://ratings:9080"})
	ratings.Spoil(app.Flaw{Share: 1})
	if code, body := s.get(t, "reviews"); code != http.StatusInternalServerError || !strings.Contains(body, "a fault of the lab") {
		t.Errorf("%d %s", code, body)
	}
	ratings.Spoil(app.Flaw{})
	if code, body := s.get(t, "reviews"); code != http.StatusOK {
		t.Errorf("mended, %d %s", code, body)
	}
}

func TestAPortThatIsNotItsOwnRefuses(t *testing.T) {
	s := street{}
	a := s.move(t, "page", map[string]string{})
	near, far := net.Pipe()
	defer func() { _ = near.Close() }()
	if a.Listening(80) || a.Accept(80, far) {
		t.Error("something answers on port 80")
	}
}

// At SIGTERM it is not ready at once, answers for the drain, and then refuses.
func TestStop(t *testing.T) {
	for _, tt := range []struct {
		drain string
		while int // what a request gets right after SIGTERM
	}{{"3s", http.StatusOK}, {"0s", 0}} {
		t.Run("drain "+tt.drain, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := street{}
				a := s.move(t, "page", map[string]string{"DRAIN": tt.drain})
				if code, body := s.get(t, "page"); code != http.StatusOK || !a.Ready() {
					t.Fatalf("before: %d %s", code, body)
				}
				a.Stop()
				synctest.Wait()
				if code, body := s.get(t, "page"); code != tt.while || a.Ready() {
					t.Errorf("while it drains: %d %s, ready %v", code, body, a.Ready())
				}
				time.Sleep(3 * time.Second) // of the bubble's clock
				synctest.Wait()
				if code, _ := s.get(t, "page"); code != 0 || a.Listening(9080) {
					t.Errorf("afterwards it answers %d", code)
				}
			})
		})
	}
}
