package evidence

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/rehearse"
)

const (
	askFor      = 5 * time.Second // one query: the other gates wait for it
	answerBytes = 4 << 20
)

// prometheus is one that is asked.
type prometheus struct {
	base   func(context.Context) (string, error) // its address, which may change
	client *http.Client
}

// direct is one at a URL.
func direct(address string) *prometheus {
	return &prometheus{
		base:   func(context.Context) (string, error) { return strings.TrimSuffix(address, "/"), nil },
		client: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}},
	}
}

// behindService is one behind a Service, by a port-forward to a ready pod of it.
func (g *Gatherer) behindService(namespace, name, port string) *prometheus {
	return &prometheus{client: g.pods, base: func(ctx context.Context) (string, error) {
		svc, err := g.client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("getting Service %s/%s: %w", namespace, name, err)
		}
		for _, p := range svc.Spec.Ports {
			if p.Name != port && strconv.Itoa(int(p.Port)) != port {
				continue
			}
			target := cmp.Or(strings.TrimPrefix(p.TargetPort.String(), "0"), strconv.Itoa(int(p.Port)))
			pod, number, err := g.behind(ctx, namespace, rehearse.Ask{Service: name, Selector: svc.Spec.Selector, Target: target})
			if err != nil {
				return "", fmt.Errorf("Service %s/%s: %w", namespace, name, err) //nolint:staticcheck // a kind of Kubernetes
			}
			return strings.TrimSuffix(address(namespace, pod, number, ""), "/"), nil
		}
		return "", fmt.Errorf("Service %s/%s has no port %s", namespace, name, port) //nolint:staticcheck // a kind of Kubernetes
	}}
}

// queryAnswer is Prometheus' answer to a query.
type queryAnswer struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	} `json:"data"`
}

// series is one of them at one time.
type series struct {
	Metric map[string]string `json:"metric"`
	Value  []any             `json:"value"` // seconds, and the value as text
}

// query asks for the value of an expression at a time, of the server's own now where
// it is zero.
func (p *prometheus) query(ctx context.Context, text string, at time.Time) ([]series, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	base, err := p.base(ctx)
	if err != nil {
		return nil, err
	}
	form := url.Values{"query": {text}}
	if !at.IsZero() {
		form.Set("time", strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/query", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, reached(err)
	}
	defer resp.Body.Close()
	var a queryAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, answerBytes)).Decode(&a); err != nil {
		return nil, fmt.Errorf("status %s, reading the answer: %w", resp.Status, err)
	}
	if a.Status != "success" {
		return nil, fmt.Errorf("status %s: %s", resp.Status, cmp.Or(a.Error, a.Status))
	}
	return a.series()
}

// reached takes the URL out of an error: everybody may read it who may see the run.
func reached(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (a queryAnswer) series() ([]series, error) {
	switch a.Data.Type {
	case "vector":
		var out []series
		if err := json.Unmarshal(a.Data.Result, &out); err != nil {
			return nil, fmt.Errorf("reading a vector: %w", err)
		}
		return out, nil
	case "scalar":
		var one series
		if err := json.Unmarshal(a.Data.Result, &one.Value); err != nil {
			return nil, fmt.Errorf("reading a scalar: %w", err)
		}
		return []series{one}, nil
	}
	return nil, fmt.Errorf("the query's answer is a %s: want a vector or a scalar", a.Data.Type)
}

// number is the value of a series.
func (s series) number() (float64, error) {
	if len(s.Value) == 2 {
		if text, ok := s.Value[1].(string); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, errors.New("a series has no value")
}

// labels are those of a series in words, without its name.
func (s series) labels() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s.Metric)) {
		if k != "__name__" {
			out = append(out, k+"="+s.Metric[k])
		}
	}
	return strings.Join(out, ",")
}

// values are the values of each series.
func (p *prometheus) values(ctx context.Context, text string, at time.Time) (map[string]float64, error) {
	all, err := p.query(ctx, text, at)
	if err != nil {
		return nil, err
	}
	out := make(map[string]float64, len(all))
	for _, s := range all {
		if out[s.labels()], err = s.number(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// one is the value of a query that has a single series; zero for none.
func (p *prometheus) one(ctx context.Context, text string, at time.Time) (float64, error) {
	all, err := p.values(ctx, text, at)
	for _, v := range all {
		if math.IsNaN(v) || v < 0 {
			return 0, err
		}
		return v, err
	}
	return 0, err
}

// now is the server's clock: the times it is asked for are its own.
func (p *prometheus) now(ctx context.Context) (time.Time, error) {
	at, err := p.one(ctx, "time()", time.Time{})
	return time.UnixMilli(int64(at * 1000)), err
}
