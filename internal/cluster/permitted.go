package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/serin-mesh/serin/internal/access"
)

// askingAtOnce bounds the questions about permissions that are under way.
const askingAtOnce = 16

// Lacks lists what of the rules the user may not do, as "patch deployments.apps".
// It asks the API server itself, which knows every authorizer there is.
func Lacks(ctx context.Context, c Clients, rules []access.Rule) ([]string, error) {
	var mu sync.Mutex
	var out []string
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(askingAtOnce)
	for _, r := range rules {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				g.Go(func() error {
					ok, err := may(ctx, c, r.Group, resource, verb)
					if err != nil {
						return fmt.Errorf("asking whether the user may %s %s: %w", verb, qualified(resource, r.Group), err)
					}
					if !ok {
						mu.Lock()
						defer mu.Unlock()
						out = append(out, verb+" "+qualified(resource, r.Group))
					}
					return nil
				})
			}
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(out)
	return out, nil
}

// qualified is a resource with its group, as kubectl writes it.
func qualified(resource, group string) string { return strings.TrimSuffix(resource+"."+group, ".") }

func may(ctx context.Context, c Clients, group, resource, verb string) (bool, error) {
	name, sub, _ := strings.Cut(resource, "/")
	answer, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: group, Resource: name, Subresource: sub, Verb: verb,
		}},
	}, creating())
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}
