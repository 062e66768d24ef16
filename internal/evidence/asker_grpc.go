package evidence

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/serin-mesh/serin/internal/plan"
)

// health asks a server of gRPC how a service of it is. It speaks HTTP/2 by itself:
// gRPC's own client sends again what it holds for unseen, and waits longer and
// longer before it connects again, so that a short outage would count as a long one.
type health struct {
	client *http.Client
	url    string
	host   string
	body   []byte
}

const (
	healthLimit = 1 << 16
	frameHeader = 5 // a byte that says whether it is compressed, four of length
)

func newHealth(p plan.Probe, u *url.URL, secure *tls.Config, dial dialer) *health {
	scheme := "http"
	if secure != nil {
		scheme = "https"
	}
	// A message of one string cannot fail to be encoded.
	message, _ := proto.Marshal(&grpc_health_v1.HealthCheckRequest{Service: strings.Trim(u.Path, "/")})
	return &health{
		client: httpClient(p, true, secure, dial),
		url:    scheme + "://" + u.Host + grpc_health_v1.Health_Check_FullMethodName, host: p.Host,
		body: append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...), //nolint:gosec // as long as a URL's path
	}
}

func (h *health) close() { h.client.CloseIdleConnections() }

func (h *health) ask(ctx context.Context) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, struct{ io.Reader }{bytes.NewReader(h.body)}) // which cannot be read again
	if err != nil {
		return 0, err
	}
	req.Host = h.host
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := h.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, healthLimit))
	if err != nil {
		return 0, fmt.Errorf("status %s, reading the body: %w", resp.Status, err)
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %s", resp.Status)
	}
	// Trailers come alone, as headers, where there is no answer.
	code := cmp.Or(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status"), "missing")
	if code != "0" {
		return 0, fmt.Errorf("grpc-status %s %s", code, cmp.Or(resp.Trailer.Get("Grpc-Message"), resp.Header.Get("Grpc-Message")))
	}
	return 0, serving(answer)
}

// serving reads the answer: a frame with one message.
func serving(answer []byte) error {
	if len(answer) < frameHeader || answer[0] != 0 || int(binary.BigEndian.Uint32(answer[1:])) != len(answer)-frameHeader {
		return errors.New("the answer is no message of gRPC")
	}
	var is grpc_health_v1.HealthCheckResponse
	if err := proto.Unmarshal(answer[frameHeader:], &is); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if is.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("it is %s", is.GetStatus())
	}
	return nil
}
