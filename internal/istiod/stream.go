package istiod

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/serin-mesh/serin/internal/shadow"
)

// The types of resources, as xDS names them.
func typeURL(k shadow.Kind) string {
	const prefix = "type.googleapis.com/envoy.config."
	return map[shadow.Kind]string{
		shadow.Clusters: prefix + "cluster.v3.Cluster", shadow.Endpoints: prefix + "endpoint.v3.ClusterLoadAssignment",
		shadow.Listeners: prefix + "listener.v3.Listener", shadow.Routes: prefix + "route.v3.RouteConfiguration",
		shadow.Extensions: prefix + "core.v3.TypedExtensionConfig", shadow.Names: "type.googleapis.com/istio.networking.nds.v1.NameTable",
	}[k]
}

// mark is a type of resource that nobody has. A shadow asks for it first, so that
// istiod lists it among what the connection watches: that is how whoever lists
// proxies tells a shadow from the pod whose id it must use, for istiod finds a
// pod's Services and node by no other name.
const mark = shadow.Mark

// ecdsPatience is how long an answer is waited for that istiod does not give when
// it has nothing to give.
const ecdsPatience = 2 * time.Second

const look = 50 * time.Millisecond

// connect opens the way to an istiod's xDS port.
func (s *server) connect(port int, c *tls.Config, token credentials.PerRPCCredentials) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return s.dial(ctx, addr) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256 << 20)),
	}
	if c != nil {
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	}
	if token != nil {
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	conn, err := grpc.NewClient(fmt.Sprintf("passthrough:///%s:%d", s.pod.Name, port), options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to istiod %s: %w", s.pod.Name, err)
	}
	return conn, nil
}

// stream is one life of a shadow.
type stream struct {
	ads   discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node  *core.Node
	names map[string][]string

	rejects map[shadow.Kind]map[string]string // what Envoy would not accept of what came
}

// begin is the first that is said: by the mark who it is, then what it wants.
func (s *stream) begin(first []shadow.Kind) error {
	if err := s.ads.Send(&discovery.DiscoveryRequest{TypeUrl: mark, Node: s.node}); err != nil {
		return err
	}
	for _, k := range first {
		if err := s.ask(k, nil); err != nil {
			return err
		}
	}
	return nil
}

// ask subscribes to a type. No names are all of them.
func (s *stream) ask(k shadow.Kind, names map[string]bool) error {
	url := typeURL(k)
	s.names[url] = slices.Sorted(maps.Keys(names))
	return s.ads.Send(&discovery.DiscoveryRequest{TypeUrl: url, ResourceNames: s.names[url], Node: s.node})
}

// await waits until each type has been answered, and acknowledges: a shadow that
// did not would be counted as a proxy that is behind.
func (s *stream) await(ctx context.Context, wanted ...shadow.Kind) error {
	missing := map[string]bool{}
	for _, k := range wanted {
		missing[typeURL(k)] = true
	}
	for len(missing) > 0 {
		answer, err := s.ads.Recv()
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("waiting for %v: %w", slices.Sorted(maps.Keys(missing)), context.Cause(ctx))
			}
			return err
		}
		url := answer.GetTypeUrl()
		delete(missing, url)
		if kind, bad := rejects(answer); len(bad) > 0 {
			s.rejects[kind] = bad
		}
		err = s.ads.Send(&discovery.DiscoveryRequest{
			TypeUrl: url, ResourceNames: s.names[url], VersionInfo: answer.GetVersionInfo(), ResponseNonce: answer.GetNonce(), Node: s.node,
		})
		if err != nil {
			return fmt.Errorf("acknowledging %s: %w", url, err)
		}
	}
	return nil
}

// busy says whether istiod refused a stream because it has too many at once, or is not ready yet.
func busy(err error) bool {
	return status.Code(err) == codes.ResourceExhausted
}

// given is what istiod gives a shadow, and what of it Envoy would not accept.
type given struct {
	config  shadow.Config
	rejects map[shadow.Kind]map[string]string
}

// follow is one question: it subscribes as the node's proxy would, to the kinds that
// name no resources first, and returns what istiod then gives it.
func (s *server) follow(ctx context.Context, conn *grpc.ClientConn, node *core.Node, first []shadow.Kind) (given, error) {
	ctx, end := context.WithCancel(ctx) // Order: the stream ends with the question, whatever came of it.
	defer end()
	ads, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return given{}, fmt.Errorf("opening a stream to istiod %s: %w", s.pod.Name, err)
	}
	st := &stream{ads: ads, node: node, names: map[string][]string{}, rejects: map[shadow.Kind]map[string]string{}}
	if err := st.begin(first); err != nil {
		return given{}, s.told(st, err)
	}
	if err := st.await(ctx, first...); err != nil {
		return given{}, fmt.Errorf("asking istiod %s: %w", s.pod.Name, err)
	}
	id := proxyOf(node) + "-"
	base, err := s.config(ctx, id, "cds,lds")
	if err != nil {
		return given{}, err
	}
	if err := st.rest(ctx, references(base)); err != nil {
		return given{}, fmt.Errorf("asking istiod %s: %w", s.pod.Name, err)
	}
	c, err := s.whole(ctx, id, st)
	return given{c, st.rejects}, err
}

// whole is all that the shadow is given. Of filters' configurations istiod sends
// no answer where it has none, so they are looked for until there is no point.
func (s *server) whole(ctx context.Context, id string, st *stream) (shadow.Config, error) {
	wanted := len(st.names[typeURL(shadow.Extensions)])
	tick := time.NewTicker(look)
	defer tick.Stop()
	for tries := int(ecdsPatience / look); ; tries-- {
		c, err := s.config(ctx, id, kinds)
		if err != nil || len(c[shadow.Extensions]) >= wanted || tries == 0 {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// told is what ended a stream that could not be written to: only its reader is told.
func (s *server) told(st *stream, sent error) error {
	if _, err := st.ads.Recv(); err != nil {
		return fmt.Errorf("asking istiod %s: %w", s.pod.Name, err)
	}
	return fmt.Errorf("asking istiod %s: %w", s.pod.Name, sent)
}

func (s *stream) rest(ctx context.Context, r refers) error {
	var wanted []shadow.Kind
	for k, names := range map[shadow.Kind]map[string]bool{shadow.Endpoints: r.endpoints, shadow.Routes: r.routes} {
		if len(names) == 0 {
			continue
		}
		if err := s.ask(k, names); err != nil {
			return err
		}
		wanted = append(wanted, k)
	}
	if err := s.await(ctx, wanted...); err != nil || len(r.extensions) == 0 {
		return err
	}
	return s.ask(shadow.Extensions, r.extensions)
}
