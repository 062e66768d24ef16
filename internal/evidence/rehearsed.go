package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/serin-mesh/serin/internal/envoy"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/rehearse"
)

// opens is how long a connection that says nothing must last to be taken for one:
// a node says within it that nobody listens.
const opens = time.Second

// Rehearsed asks each port of the copied Services at a pod of the original and at
// one of the copy, over port-forwards: nobody's Service, and no client's route, is
// used for it. A path is asked of what speaks HTTP; of the rest, a connection.
func (g *Gatherer) Rehearsed(ctx context.Context, p rehearse.Plan) ([]rehearse.Answer, error) {
	out := make([]rehearse.Answer, len(p.Asks))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, ask := range p.Asks {
		group.Go(func() error {
			out[i] = rehearse.Answer{Ask: ask}
			was, err := g.portAnswer(within, p.Namespace, ask)
			if err != nil {
				out[i].Unasked = "the original: " + err.Error()
				return nil //nolint:nilerr // what fails is in the Answer
			}
			is, err := g.portAnswer(within, p.Copy, ask)
			switch {
			case errors.Is(err, errNobody):
				out[i].Unasked = "the copy: " + err.Error()
				return nil
			case err != nil:
				is = "no answer (" + err.Error() + ")"
			}
			out[i].Was, out[i].Is = was, is
			return nil
		})
	}
	_ = group.Wait() // no question returns an error to the group
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("asking the copies: %w", err)
	}
	return out, nil
}

// errNobody says that there is no pod to ask.
var errNobody = errors.New("no pod of it is ready")

// portAnswer is what a ready pod of the namespace's Service says.
func (g *Gatherer) portAnswer(ctx context.Context, namespace string, ask rehearse.Ask) (string, error) {
	pod, port, err := g.behind(ctx, namespace, ask)
	if err != nil {
		return "", err
	}
	if ask.Path != "" {
		status, err := g.answer(ctx, mesh.Pod{Namespace: namespace, Name: pod}, envoy.Ask{Port: port, Host: ask.Service, Path: ask.Path})
		if err == nil {
			return status, nil
		}
	}
	return g.connects(ctx, namespace, pod, port)
}

// behind is a ready pod that the Service leads to, and the number of its port.
func (g *Gatherer) behind(ctx context.Context, namespace string, ask rehearse.Ask) (string, int, error) {
	list, err := g.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(ask.Selector).String()})
	if err != nil {
		return "", 0, fmt.Errorf("listing the pods of Service %s: %w", ask.Service, err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range list.Items {
		if p.DeletionTimestamp != nil || !podReady(p) {
			continue
		}
		if port, ok := portOf(p, ask.Target); ok {
			return p.Name, port, nil
		}
	}
	return "", 0, errNobody
}

func podReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// portOf is the number of a port that is named by number or name.
func portOf(p corev1.Pod, target string) (int, bool) {
	if n, err := strconv.Atoi(target); err == nil {
		return n, true
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, port := range c.Ports {
			if port.Name == target {
				return int(port.ContainerPort), true
			}
		}
	}
	return 0, false
}

// connects says that something listens at a port: the forward is open already
// before the node has tried, so a moment passes in which it would say no.
func (g *Gatherer) connects(ctx context.Context, namespace, pod string, port int) (string, error) {
	conn, err := g.forwarder.Dial(ctx, namespace, pod, port)
	if err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	wait, cancel := context.WithTimeout(ctx, opens)
	defer cancel()
	defer conn.Close()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
	case <-wait.Done():
	}
	return "takes connections", nil
}
