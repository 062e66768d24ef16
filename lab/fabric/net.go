package fabric

import (
	"context"
	"net"
)

// PodNet is the network of one simulated pod: what answers when somebody
// connects to one of its ports. Accept takes ownership of conn, must not block,
// and returns false if nothing listens on the port, which the dialer sees as
// "connection refused".
type PodNet interface {
	Accept(port int, conn net.Conn) bool
}

// Dialer opens connections inside the mesh. Address is "host:port", where host
// is a pod IP, a Service's cluster IP or external IP, or a cluster DNS name
// (svc, svc.ns, svc.ns.svc, svc.ns.svc.cluster.local; short names resolve in the
// dialer's own namespace).
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}
