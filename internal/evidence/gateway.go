package evidence

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/envoy"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

const (
	adminPort = 15000
	// looks is how often gateways that differ are looked at before it is believed:
	// a pod that is new has its listeners a moment before its routes.
	looks     = 4
	lookAgain = 500 * time.Millisecond
)

// pair are a pod of the old gateway and the pods to compare with it.
type pair struct {
	old mesh.Pod
	new []mesh.Pod
}

// gatewayPart compares the step's new gateway pods with one of the old ones: by
// their config dumps, and by what they answer to requests sent straight to them.
func (g *Gatherer) gatewayPart(ctx context.Context, q gate.Question, s mesh.Snapshot, gates []gate.Name) part {
	wanted := slices.DeleteFunc(slices.Clone(gates), func(n gate.Name) bool { return n != gate.SameServing && n != gate.SameAnswers })
	if len(wanted) == 0 {
		return part{}
	}
	p := part{missing: map[gate.Name]string{}}
	two, err := pairOf(q, s)
	if err == nil {
		p.parity, p.answers, err = g.compared(ctx, two)
	}
	if err != nil {
		for _, n := range wanted {
			if n != gate.SameServing || p.parity == nil {
				p.missing[n] = err.Error()
			}
		}
	}
	return p
}

// compares says whether the pod is one of those in question, and there.
func compares(q gate.Question, p mesh.Pod) bool {
	return slices.Contains(q.Workloads, p.Workload) && (p.Ready || p.Held) && (q.Pod == "" || p.Name == q.Pod)
}

func pairOf(q gate.Question, s mesh.Snapshot) (pair, error) {
	var two pair
	if q.Beside == nil {
		return two, errors.New("there is no gateway to compare with")
	}
	for _, p := range s.Pods {
		switch {
		case p.Leaving:
		case p.Workload == *q.Beside && p.Ready && p.Name != q.Pod: // one pod may be compared with another of its own
			two.old = p
		case compares(q, p):
			two.new = append(two.new, p)
		}
	}
	if two.old.Name == "" {
		return two, fmt.Errorf("%s has no ready pod to compare with", q.Beside)
	}
	if len(two.new) == 0 {
		return two, errors.New("no new pod is there yet")
	}
	return two, nil
}

// compared looks again for a while where the pods differ.
func (g *Gatherer) compared(ctx context.Context, two pair) (*gate.Parity, *gate.Answers, error) {
	for n := 1; ; n++ {
		parity, was, err := g.serving(ctx, two)
		if err != nil {
			return nil, nil, err
		}
		answers, err := g.asked(ctx, two, was)
		if err != nil {
			return parity, nil, err
		}
		if len(parity.Missing)+len(parity.Extra)+len(answers.Differ) == 0 || n == looks {
			return parity, answers, nil
		}
		if err := clock.Wait(ctx, lookAgain); err != nil {
			return nil, nil, fmt.Errorf("comparing gateways: %w", err)
		}
	}
}

// serving compares the pods' dumps, and says what the old one serves.
func (g *Gatherer) serving(ctx context.Context, two pair) (*gate.Parity, envoy.Serving, error) {
	was, err := g.dump(ctx, two.old)
	if err != nil {
		return nil, was, err
	}
	out := &gate.Parity{Old: two.old.Name, Facts: len(was.Facts)}
	for _, p := range two.new {
		is, err := g.dump(ctx, p)
		if err != nil {
			return nil, was, err
		}
		out.New++
		out.Missing = append(out.Missing, less(was.Facts, is.Facts)...)
		out.Extra = append(out.Extra, less(is.Facts, was.Facts)...)
	}
	slices.Sort(out.Missing)
	slices.Sort(out.Extra)
	out.Missing, out.Extra = slices.Compact(out.Missing), slices.Compact(out.Extra)
	return out, was, nil
}

// less are the lines that the others do not have.
func less(lines, others []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return slices.Contains(others, l) })
}

func (g *Gatherer) dump(ctx context.Context, p mesh.Pod) (envoy.Serving, error) {
	b, err := g.Get(ctx, p.Namespace, p.Name, adminPort, "/config_dump")
	if err != nil {
		return envoy.Serving{}, fmt.Errorf("reading what pod %s serves: %w", p.Name, err)
	}
	d, err := envoy.Parse(b)
	if err != nil {
		return envoy.Serving{}, fmt.Errorf("reading what pod %s serves: %w", p.Name, err)
	}
	s, err := d.Serving()
	if err != nil {
		return s, fmt.Errorf("reading what pod %s serves: %w", p.Name, err)
	}
	return s, nil
}

// asked sends each request to the old pod and to each new one. One that the old pod
// does not answer says nothing of the new ones.
func (g *Gatherer) asked(ctx context.Context, two pair, was envoy.Serving) (*gate.Answers, error) {
	out := &gate.Answers{Old: two.old.Name, Mute: was.Mute}
	differ, unanswered := make([]string, len(was.Asks)), make([]string, len(was.Asks))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, a := range was.Asks {
		group.Go(func() error {
			want, err := g.answer(within, two.old, a)
			if err != nil {
				unanswered[i] = fmt.Sprintf("%s: %v", a, err)
				return within.Err()
			}
			for _, p := range two.new {
				got, err := g.answer(within, p, a)
				if err != nil {
					got = "no answer"
				}
				if got != want && differ[i] == "" {
					differ[i] = fmt.Sprintf("%s: %s by %s, %s by %s", a, got, p.Name, want, two.old.Name)
				}
			}
			return within.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("asking gateways: %w", err)
	}
	none := func(line string) bool { return line == "" }
	out.Differ, out.Unanswered = slices.DeleteFunc(differ, none), slices.DeleteFunc(unanswered, none)
	out.Asked = len(was.Asks) - len(out.Unanswered)
	return out, nil
}

// answer is the status that a pod gives to a request, and over TLS the
// certificate that it shows: it is compared, not trusted.
func (g *Gatherer) answer(ctx context.Context, p mesh.Pod, a envoy.Ask) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return g.forwarder.Dial(ctx, p.Namespace, p.Name, a.Port)
			},
			TLSClientConfig: &tls.Config{ServerName: a.SNI, InsecureSkipVerify: true}, //nolint:gosec // the two certificates are compared with each other
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	scheme := "http"
	if a.SNI != "" {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s://%s:%d%s", scheme, p.Name, a.Port, a.Path), onlyOnce{})
	if err != nil {
		return "", fmt.Errorf("making a request to pod %s: %w", p.Name, err)
	}
	req.Host = a.Host
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking pod %s: %w", p.Name, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // what counts is the status
	out := resp.Status
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		out += fmt.Sprintf(" with certificate %.6x", sha256.Sum256(resp.TLS.PeerCertificates[0].Raw))
	}
	return out, nil
}
