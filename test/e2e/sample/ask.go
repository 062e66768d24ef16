package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/serin-mesh/serin/test/e2e/load"
)

// Loader speaks with the load's pod, through the API server's proxy.
type Loader struct{ client kubernetes.Interface }

// NewLoader returns the Loader of a cluster.
func NewLoader(cfg *rest.Config) (Loader, error) {
	cfg = rest.CopyConfig(cfg)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return Loader{}, fmt.Errorf("making a client: %w", err)
	}
	return Loader{client}, nil
}

func (l Loader) request(verb, path string) *rest.Request {
	return l.client.CoreV1().RESTClient().Verb(verb).Namespace(LoadPlace).Resource("services").Name("load:9090").SubResource("proxy").Suffix(path)
}

// Addresses are a load's configuration without its rates: where the gateway and
// productpage are within the cluster.
func (l Loader) Addresses(ctx context.Context) (load.Config, error) {
	cfg := load.Config{Host: Host, Path: Path, Rates: map[load.Kind]int{}}
	for _, a := range []struct {
		into            *string
		namespace, name string
		port            int
	}{{&cfg.Gateway, Gateway, Gateway, 80}, {&cfg.Stream, Gateway, Gateway, 31400}, {&cfg.Direct, Namespace, "productpage", 9080}} {
		svc, err := l.client.CoreV1().Services(a.namespace).Get(ctx, a.name, metav1.GetOptions{})
		if err != nil {
			return cfg, fmt.Errorf("looking for Service %s: %w", a.name, err)
		}
		*a.into = net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(a.port))
	}
	return cfg, nil
}

// Start begins a load.
func (l Loader) Start(ctx context.Context, cfg load.Config) error {
	body, err := json.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("beginning the load: %w", err)
	}
	if answer, err := l.request("POST", "start").Body(body).DoRaw(ctx); err != nil {
		return fmt.Errorf("beginning the load: %w: %s", err, answer)
	}
	return nil
}

// Stop ends the load, and returns what became of all it sent.
func (l Loader) Stop(ctx context.Context) (load.Report, error) {
	return l.decode(l.request("POST", "stop").Timeout(time.Minute).DoRaw(ctx))
}

// Report is what has become of all that was sent so far.
func (l Loader) Report(ctx context.Context) (load.Report, error) {
	return l.decode(l.request("GET", "report").DoRaw(ctx))
}

func (Loader) decode(body []byte, err error) (load.Report, error) {
	var r load.Report
	if err != nil {
		return r, fmt.Errorf("asking the load: %w: %s", err, body)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("reading the load's report: %w", err)
	}
	return r, nil
}

// Settle sends a little of every kind until all of it is answered: routes reach
// proxies a moment after they are stored.
func (l Loader) Settle(ctx context.Context) error {
	cfg, err := l.Addresses(ctx)
	if err != nil {
		return err
	}
	for _, k := range load.Kinds() {
		cfg.Rates[k] = 1
		if !k.Held() {
			cfg.Rates[k] = 10
		}
	}
	return l.SettleOn(ctx, cfg)
}

// SettleOn is Settle of a load that is said, rates and all.
func (l Loader) SettleOn(ctx context.Context, cfg load.Config) error {
	last := errors.New("nothing was sent")
	err := wait.PollUntilContextTimeout(ctx, time.Millisecond, 90*time.Second, true, func(ctx context.Context) (bool, error) {
		last = l.try(ctx, cfg)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the sample to answer: %w (%w)", err, last)
	}
	return nil
}

// try runs a load for two seconds and says what was wrong with it.
func (l Loader) try(ctx context.Context, cfg load.Config) error {
	if err := l.Start(ctx, cfg); err != nil {
		return err
	}
	<-time.After(2 * time.Second)
	r, err := l.Stop(ctx)
	if err != nil {
		return err
	}
	for _, c := range r.Counts {
		if c.OK == 0 || c.Failed+c.Cut > 0 {
			cause := "no answer"
			if all := slices.Concat(c.Failures, c.Cuts); len(all) > 0 {
				cause = all[0].Cause
			}
			return fmt.Errorf("%s: %d of %d answered: %s", c.Kind, c.OK, c.Sent, cause)
		}
	}
	return nil
}
