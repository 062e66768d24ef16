package istiod

import (
	"context"
	"fmt"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

// An istiod takes 20 new connections a second on one core (R§7.4). Shadows leave
// half of it to proxies that connect.
const (
	perSecond = 10
	atOnce    = 4
	tries     = 5
)

// shadows is one round of questions.
type shadows struct {
	*Asker
	q     shadow.Question
	new   *server
	old   []held
	limit *rate.Limiter
	seen  *seen

	mu   sync.Mutex
	ways map[string]*grpc.ClientConn // by service account, empty for the plain port
}

// held is an istiod of the revision that is left and the proxies it holds.
type held struct {
	server  *server
	clients map[string]client
}

// Configs is, of each workload, what its proxy is given now and what the new
// revision would give it. What could not be asked says so in its Subject; the
// error means that nothing could be.
func (a *Asker) Configs(ctx context.Context, q shadow.Question) (shadow.Report, error) {
	return a.configs(ctx, q, nil)
}

func (a *Asker) configs(ctx context.Context, q shadow.Question, seen *seen) (shadow.Report, error) {
	s, err := a.begin(ctx, q)
	if err != nil {
		return shadow.Report{}, err
	}
	defer s.end()
	s.seen = seen
	return compared(ctx, q, q.Hosts(), func(ref mesh.Ref) shadow.Subject { return s.subject(ctx, ref) })
}

func (a *Asker) begin(ctx context.Context, q shadow.Question) (*shadows, error) {
	s := &shadows{Asker: a, q: q, limit: rate.NewLimiter(perSecond, perSecond), ways: map[string]*grpc.ClientConn{}}
	if q.Old.Revision == q.New.Revision {
		return nil, fmt.Errorf("revision %s serves these proxies already: a shadow would take their updates", q.New.Revision)
	}
	next, err := a.servers(ctx, q.New.Revision)
	if err != nil {
		return nil, err
	}
	s.new = next[0]
	now, err := a.servers(ctx, q.Old.Revision)
	if err != nil {
		return nil, err
	}
	for _, server := range now {
		clients, err := server.clients(ctx)
		if err != nil {
			return nil, fmt.Errorf("asking istiod %s for its proxies: %w", server.pod.Name, err)
		}
		s.old = append(s.old, held{server, clients})
	}
	return s, nil
}

func (s *shadows) end() {
	s.hangUp()
	s.new.close()
	for _, h := range s.old {
		h.server.close()
	}
}

func (s *shadows) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.ways {
		_ = c.Close() // the questions are over
	}
}

// subject asks about one workload.
func (s *shadows) subject(ctx context.Context, ref mesh.Ref) shadow.Subject {
	out := shadow.Subject{Workload: ref.String()}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	older, newer, err := s.sides(ctx, ref)
	if err != nil {
		out.Failed = err.Error()
		return out
	}
	if s.notYetIts(ref, older, newer.config) {
		out.Failed = "revision " + s.q.New.Revision + " gives nothing to a Gateway that is another revision's until it moves (Istio's issue 59959): it is compared when it does"
		out.Later = true
		return out
	}
	out.Old, out.New, out.Rejects = older, newer.config, newer.rejects
	return out
}

// notYetIts says whether the proxy is that of a Gateway which the new revision leaves
// alone as long as its label names another: releases before 1.29.5 and 1.30.2 then
// answer with nothing (R§9.3), which says nothing of what they will.
func (s *shadows) notYetIts(ref mesh.Ref, older, newer shadow.Config) bool {
	w, _ := s.q.Snapshot.Workload(ref)
	return w.TemplateLabels[mesh.GatewayNameLabel] != "" && len(older[shadow.Listeners]) > 0 && len(newer[shadow.Listeners]) == 0
}

func (s *shadows) sides(ctx context.Context, ref mesh.Ref) (shadow.Config, given, error) {
	return s.between(ctx, ref, func(now corev1.Pod) (corev1.Pod, error) {
		pod, err := s.template(ctx, ref, now)
		if err != nil {
			return corev1.Pod{}, err
		}
		return s.new.inject(ctx, pod)
	})
}

// between asks both revisions about a workload; then is the pod that there would be
// in the place of one that is.
func (s *shadows) between(ctx context.Context, ref mesh.Ref, then func(now corev1.Pod) (corev1.Pod, error)) (shadow.Config, given, error) {
	at, id, now, err := s.serving(ctx, ref)
	if err != nil {
		return nil, given{}, err
	}
	known, err := at.clientOf(ctx, id)
	if err != nil {
		return nil, given{}, err
	}
	injected, err := then(now)
	if err != nil {
		return nil, given{}, err
	}
	node := nodeOf(injected, now, known, s.q.New.Version)
	if node == nil {
		return nil, given{}, fmt.Errorf("revision %s would give its pods no proxy", s.q.New.Revision)
	}
	newer, err := s.shadow(ctx, node, now)
	if err != nil {
		return nil, given{}, err
	}
	// Order: today's last, so that what changed meanwhile shows on both sides.
	began := clock.Now()
	older, err := at.config(ctx, id, kinds)
	s.seen.note(func(s *seen) { s.Answers.Old = append(s.Answers.Old, took(began)) })
	return older, newer, err
}

// serving is a ready pod of the workload, the istiod it is connected to and by
// which connection.
func (s *shadows) serving(ctx context.Context, ref mesh.Ref) (*server, string, corev1.Pod, error) { //nolint:revive // what is found is found together
	why := "it has no ready pod"
	for _, p := range s.q.Snapshot.PodsOf(ref) {
		if !p.Ready || p.Leaving || p.Revision != s.q.Old.Revision {
			continue
		}
		for _, h := range s.old {
			c, ok := h.clients[p.Name+"."+p.Namespace]
			if !ok {
				continue
			}
			pod, err := s.Client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
			if err != nil {
				return nil, "", corev1.Pod{}, fmt.Errorf("reading pod %s of %s: %w", p.Name, ref, err)
			}
			return h.server, c.ID, *pod, nil
		}
		why = "no istiod has its proxy"
	}
	return nil, "", corev1.Pod{}, fmt.Errorf("%s on revision %s", why, s.q.Old.Revision)
}

// shadow asks the new istiod. One that has too many connections is asked again.
func (s *shadows) shadow(ctx context.Context, node *core.Node, now corev1.Pod) (given, error) {
	first := []shadow.Kind{shadow.Clusters, shadow.Listeners}
	if node.GetMetadata().GetFields()["DNS_CAPTURE"].GetStringValue() == "true" {
		first = append(first, shadow.Names)
	}
	for try := 1; ; try++ {
		if err := s.limit.Wait(ctx); err != nil {
			return given{}, err
		}
		conn, err := s.way(ctx, now)
		if err != nil {
			return given{}, err
		}
		began := clock.Now()
		c, err := s.new.follow(ctx, conn, node, first)
		s.seen.note(func(s *seen) { s.Answers.New = append(s.Answers.New, took(began)) })
		if err == nil || !busy(err) || try == tries {
			return c, err
		}
	}
}

// way is the connection to the new istiod: the plain port, or where that is shut
// the secure one with a token of the pod's own account, bound to the pod.
func (s *shadows) way(ctx context.Context, now corev1.Pod) (*grpc.ClientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.ways[""]; c != nil {
		return c, nil
	}
	if !s.Secure && len(s.ways) == 0 && s.open(ctx, plainPort) {
		c, err := s.new.connect(plainPort, nil, nil)
		if err == nil {
			s.ways[""] = c
		}
		return c, err
	}
	account := now.Namespace + "/" + now.Spec.ServiceAccountName
	if c := s.ways[account]; c != nil {
		return c, nil
	}
	token, err := s.token(ctx, now)
	if err != nil {
		return nil, err
	}
	roots, err := s.roots(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.new.connect(securePort, s.new.tls(roots), bearer(token))
	if err == nil {
		s.ways[account] = c
	}
	return c, err
}

// open says whether somebody listens at a port of the new istiod. A port-forward
// to a port that is shut opens, and ends at the first byte.
func (s *shadows) open(ctx context.Context, port int) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := s.new.dial(ctx, fmt.Sprintf("%s:%d", s.new.pod.Name, port))
	if err != nil {
		return false
	}
	defer conn.Close()
	answered := make(chan bool, 1)
	go func() {
		_, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // its settings
		}
		answered <- err == nil
	}()
	select {
	case ok := <-answered:
		return ok
	case <-ctx.Done():
		return false
	}
}

// token is one for istiod, of the pod's account and bound to the pod: it is void
// when the pod is gone, and in ten minutes.
func (s *shadows) token(ctx context.Context, p corev1.Pod) (string, error) {
	life := int64(600)
	r, err := s.Client.CoreV1().ServiceAccounts(p.Namespace).CreateToken(ctx, p.Spec.ServiceAccountName, &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		Audiences: []string{"istio-ca"}, ExpirationSeconds: &life,
		BoundObjectRef: &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID},
	}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking for a token of service account %s/%s: %w", p.Namespace, p.Spec.ServiceAccountName, err)
	}
	return r.Status.Token, nil
}

// bearer sends a token with each stream.
type bearer string

// GetRequestMetadata is the header.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity keeps the token off the plain port.
func (bearer) RequireTransportSecurity() bool { return true }
