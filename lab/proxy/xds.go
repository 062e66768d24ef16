package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	secret "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	xds "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// The types a proxy subscribes to.
const (
	typePrefix = "type.googleapis.com/envoy.config."
	typeCDS    = typePrefix + "cluster.v3.Cluster"
	typeEDS    = typePrefix + "endpoint.v3.ClusterLoadAssignment"
	typeLDS    = typePrefix + "listener.v3.Listener"
	typeRDS    = typePrefix + "route.v3.RouteConfiguration"
	typeSDS    = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	typeECDS   = typePrefix + "core.v3.TypedExtensionConfig" // it is acknowledged, and serves nothing here
)

// subscription is what was last said and heard of one type on a stream.
type subscription struct {
	names   []string
	version string
	nonce   string
	asked   bool
}

// stream is one life of the ADS connection.
func (p *Proxy) stream(ctx context.Context) error {
	conn, err := p.connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	s, err := xds.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return fmt.Errorf("opening the stream: %w", err)
	}
	subs := map[string]*subscription{typeCDS: {}, typeEDS: {}, typeLDS: {}, typeRDS: {}, typeSDS: {}, typeECDS: {}}
	if err := p.ask(s, subs, typeCDS, nil); err != nil {
		return err
	}
	for {
		r, err := s.Recv()
		if err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		p.connected.Store(true)
		if err := p.receive(s, subs, r); err != nil {
			return err
		}
	}
}

// receive takes one response: it is put to use, acknowledged, and what follows from it is asked for.
func (p *Proxy) receive(s xds.AggregatedDiscoveryService_StreamAggregatedResourcesClient, subs map[string]*subscription, r *xds.DiscoveryResponse) error {
	sub := subs[r.GetTypeUrl()]
	if sub == nil {
		return nil
	}
	sub.nonce = r.GetNonce()
	err := p.use(r.GetTypeUrl(), r.GetResources())
	if err != nil {
		fmt.Fprintf(p.cfg.Log, "rejected %s: %v\n", r.GetTypeUrl(), err)
		return p.send(s, sub, r.GetTypeUrl(), err)
	}
	sub.version = r.GetVersionInfo()
	if err := p.send(s, sub, r.GetTypeUrl(), nil); err != nil {
		return err
	}
	return p.follow(s, subs, r.GetTypeUrl())
}

// follow asks for what the resources of a type name.
func (p *Proxy) follow(s xds.AggregatedDiscoveryService_StreamAggregatedResourcesClient, subs map[string]*subscription, typ string) error {
	p.mu.Lock()
	eds, rds, sds, ecds := p.next.edsNames(), p.next.rdsNames(), p.next.sdsNames(), p.next.ecdsNames()
	p.mu.Unlock()
	switch typ {
	case typeCDS:
		if err := p.ask(s, subs, typeEDS, eds); err != nil {
			return err
		}
		if !subs[typeLDS].asked {
			return p.ask(s, subs, typeLDS, nil)
		}
	case typeLDS:
		for _, named := range []struct {
			typ   string
			names []string
		}{{typeRDS, rds}, {typeSDS, sds}, {typeECDS, ecds}} {
			if len(named.names) == 0 && !subs[named.typ].asked {
				continue
			}
			if err := p.ask(s, subs, named.typ, named.names); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask sends a request unless it would say what was said last.
func (p *Proxy) ask(s xds.AggregatedDiscoveryService_StreamAggregatedResourcesClient, subs map[string]*subscription, typ string, names []string) error {
	sub := subs[typ]
	if sub.asked && slices.Equal(sub.names, names) {
		return nil
	}
	sub.names, sub.asked = names, true
	return p.send(s, sub, typ, nil)
}

func (p *Proxy) send(s xds.AggregatedDiscoveryService_StreamAggregatedResourcesClient, sub *subscription, typ string, reject error) error {
	req := &xds.DiscoveryRequest{TypeUrl: typ, ResourceNames: sub.names, VersionInfo: sub.version, ResponseNonce: sub.nonce, Node: p.node()}
	if reject != nil {
		req.ErrorDetail = &status.Status{Code: int32(codes.InvalidArgument), Message: reject.Error()}
	}
	if err := s.Send(req); err != nil {
		return fmt.Errorf("asking for %s: %w", typ, err)
	}
	return nil
}

// seen notes that a response of the type has come.
func (s *state) seen(typ string) {
	if s.got == nil {
		s.got = map[string]bool{}
	}
	s.got[typ] = true
}

// use puts the resources of a response into a new state, and lets that serve when it is complete.
func (p *Proxy) use(typ string, resources []*anypb.Any) error {
	if _, bad := p.rejects.Load(typ); bad {
		return errors.New("rejected: a fault of the lab")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.next.clone()
	n.seen(typ)
	var err error
	switch typ {
	case typeCDS:
		n.clusters, err = decode(resources, func(c *cluster.Cluster) string { return c.GetName() })
	case typeEDS:
		// istiod may send only what changed, so that what was there stays
		var changed map[string]*endpoint.ClusterLoadAssignment
		changed, err = decode(resources, func(c *endpoint.ClusterLoadAssignment) string { return c.GetClusterName() })
		n.endpoints = merge(n.endpoints, changed)
	case typeLDS:
		n.listeners, err = decode(resources, func(l *listener.Listener) string { return l.GetName() })
		n.index()
	case typeRDS:
		var changed map[string]*route.RouteConfiguration
		changed, err = decode(resources, func(r *route.RouteConfiguration) string { return r.GetName() })
		n.routes = merge(n.routes, changed)
	case typeSDS:
		var changed map[string]*secret.Secret
		changed, err = decode(resources, func(s *secret.Secret) string { return s.GetName() })
		n.secrets = merge(n.secrets, changed)
	}
	if err != nil {
		return err
	}
	n.complete = n.got[typeCDS] && n.got[typeLDS] && n.hasAll()
	p.next = *n
	if n.complete || p.state.Load().complete {
		p.state.Store(n)
	}
	return nil
}

// hasAll says whether everything the clusters and listeners refer to has come.
func (s *state) hasAll() bool {
	for _, n := range s.edsNames() {
		if s.endpoints[n] == nil {
			return s.complete // a new cluster warms while the rest serves
		}
	}
	for _, n := range s.rdsNames() {
		if s.routes[n] == nil {
			return s.complete
		}
	}
	return true
}

func merge[T any](old, changed map[string]T) map[string]T {
	out := make(map[string]T, len(old)+len(changed))
	maps.Copy(out, old)
	maps.Copy(out, changed)
	return out
}

func decode[T proto.Message](resources []*anypb.Any, name func(T) string) (map[string]T, error) {
	out := make(map[string]T, len(resources))
	for _, a := range resources {
		m, err := a.UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("decoding %s: %w", a.GetTypeUrl(), err)
		}
		t, ok := m.(T)
		if !ok {
			return nil, fmt.Errorf("decoding %s: unexpected type", a.GetTypeUrl())
		}
		out[name(t)] = t
	}
	return out, nil
}

// connect opens the connection to istiod, verified by the mesh's root, with the pod's token.
func (p *Proxy) connect() (*grpc.ClientConn, error) {
	host, _, err := net.SplitHostPort(p.proxyConf.DiscoveryAddress)
	if err != nil {
		return nil, fmt.Errorf("reading the discovery address: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.cfg.RootCA()) {
		return nil, errors.New("connecting to istiod: ConfigMap istio-ca-root-cert is not there yet")
	}
	creds := credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS12})
	conn, err := grpc.NewClient("passthrough:///"+p.proxyConf.DiscoveryAddress,
		grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(bearer{p.cfg.Token}),
		grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) {
			return p.dialer.DialContext(ctx, "tcp", a)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 5 * time.Second}))
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", p.proxyConf.DiscoveryAddress, err)
	}
	return conn, nil
}

// bearer sends the pod's token with the stream.
type bearer struct {
	token func(ctx context.Context) (string, error)
}

func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	t, err := b.token(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting the pod's token: %w", err)
	}
	return map[string]string{"authorization": "Bearer " + t}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

// tagOf returns the tag of an image reference, "" if it has none.
func tagOf(image string) string {
	i := strings.LastIndexByte(image, ':')
	if i < 0 || strings.Contains(image[i:], "/") {
		return ""
	}
	return image[i+1:]
}
