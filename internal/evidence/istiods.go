package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
)

// monitoring is istiod's port for /version, /metrics and, to callers from
// loopback such as a port-forward, /debug (R§7.1).
const monitoring = 15014

// patience is how long one istiod or pod may take to answer. It covers the
// port-forward and, for syncz at ten thousand proxies, some 15 MB of JSON.
const patience = 15 * time.Second

// Istiod is one istiod pod and the version it says it is.
type Istiod struct {
	Pod      string `json:"pod"`
	Revision string `json:"revision"`
	Version  string `json:"version"`
}

// Proxies lists every proxy that is connected to an istiod of any revision, sorted
// by namespace, name and revision. An istiod that does not answer is named in the
// error; what the others said is returned all the same.
//
// A proxy that two replicas of one revision list has just reconnected: the one
// that sent to it last counts. Listed by two *revisions* it is kept twice, for
// syncz does not say which connection is the living one, and a gate must not be
// told that a proxy has moved while its old istiod still holds it.
func (g *Gatherer) Proxies(ctx context.Context) ([]gate.Proxy, error) {
	answers, err := ask(ctx, g, func(ctx context.Context, pod corev1.Pod) ([]connection, error) {
		return fetch(ctx, g.istiods, address(pod.Namespace, pod.Name, monitoring, "/debug/syncz"),
			func(body io.Reader) ([]connection, error) { return parseSyncz(body, revisionOf(pod), pod.Name) })
	})
	return newest(slices.Concat(answers...)), err
}

// Versions asks every istiod which version it is. As with Proxies, the error names
// those that did not say and the others are returned.
func (g *Gatherer) Versions(ctx context.Context) ([]Istiod, error) {
	return ask(ctx, g, func(ctx context.Context, pod corev1.Pod) (Istiod, error) {
		version, err := fetch(ctx, g.istiods, address(pod.Namespace, pod.Name, monitoring, "/version"), parseVersion)
		return Istiod{Pod: pod.Name, Revision: revisionOf(pod), Version: version}, err
	})
}

// ByPod groups proxies by the namespace/name of their pods.
func ByPod(proxies []gate.Proxy) map[string][]gate.Proxy {
	pods := map[string][]gate.Proxy{}
	for _, p := range proxies {
		key := p.Namespace + "/" + p.Name
		pods[key] = append(pods[key], p)
	}
	return pods
}

// ask puts one question to all running istiods at once. Answers are in the order
// of the pods' names, without those that failed; the error joins the failures.
func ask[T any](ctx context.Context, g *Gatherer, question func(context.Context, corev1.Pod) (T, error)) ([]T, error) {
	pods, err := g.running(ctx)
	if err != nil {
		return nil, err
	}
	answers, failures := make([]T, len(pods)), make([]error, len(pods))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, pod := range pods {
		group.Go(func() error {
			answers[i], failures[i] = question(ctx, pod)
			return nil // one that fails must not stop the others
		})
	}
	_ = group.Wait() // no question returns an error to the group
	var good []T
	for i, answer := range answers {
		if failures[i] != nil {
			failures[i] = fmt.Errorf("asking istiod %s: %w", pods[i].Name, failures[i])
			continue
		}
		good = append(good, answer)
	}
	return good, errors.Join(failures...)
}

// running lists the istiod pods of all revisions. The phase is looked at here and
// not by a field selector, which not every fake and proxy API server knows.
func (g *Gatherer) running(ctx context.Context) ([]corev1.Pod, error) {
	list, err := g.client.CoreV1().Pods(g.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return nil, fmt.Errorf("listing the istiod pods of %s: %w", g.namespace, err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning })
	if len(pods) == 0 {
		// An empty list would read as "no proxy is on the old revision".
		return nil, fmt.Errorf("no istiod pod is running in namespace %s", g.namespace)
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, nil
}

func revisionOf(istiod corev1.Pod) string {
	if rev := istiod.Labels[mesh.RevLabel]; rev != "" {
		return rev
	}
	return mesh.DefaultRevision
}

// fetch gets a URL within patience and hands the body to parse.
func fetch[T any](ctx context.Context, client *http.Client, url string, parse func(io.Reader) (T, error)) (T, error) {
	var none T
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return none, fmt.Errorf("making a request for %s: %w", url, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return none, err // net/http names the method and the URL
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return none, fmt.Errorf("getting %s: status %s", url, resp.Status)
	}
	answer, err := parse(resp.Body)
	if err != nil {
		return none, fmt.Errorf("reading %s: %w", url, err)
	}
	// The connection, and so the port-forward, is kept only if the body was read to its end.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return none, fmt.Errorf("reading %s: %w", url, err)
	}
	return answer, nil
}

// parseVersion reads what istiod's /version says: version-revision-status,
// "1.27.0-7359d8be2504-Clean". The version may have dashes of its own.
func parseVersion(body io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(body, 1024))
	if err != nil {
		return "", err
	}
	parts := strings.Split(strings.TrimSpace(string(b)), "-")
	if len(parts) < 3 || parts[0] == "" {
		return "", fmt.Errorf("want version-revision-status, got %q", b)
	}
	return strings.Join(parts[:len(parts)-2], "-"), nil
}
