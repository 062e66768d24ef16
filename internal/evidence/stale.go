package evidence

import (
	"sync"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

// stale remembers since when each proxy is seen not to have acknowledged something. By
// serin's own clock: istiod's may be another one, and tells when it sent, not when the
// proxy was last in sync.
type stale struct {
	mu   sync.Mutex
	seen map[string]time.Time // namespace/name of the pod, and the revision it is connected to
}

// since writes into the proxies for how long they have been stale.
func (s *stale) since(proxies []gate.Proxy, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	still := map[string]time.Time{}
	for i, p := range proxies {
		if len(p.Stale) == 0 {
			continue
		}
		key := p.Namespace + "/" + p.Name + " " + p.Revision
		at, known := s.seen[key]
		if !known {
			at = now
		}
		still[key] = at
		proxies[i].StaleFor = now.Sub(at)
	}
	s.seen = still
}
