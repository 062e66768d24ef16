package evidence //nolint:testpackage // what it remembers is nobody else's

import (
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

// A proxy is stale since it was first seen so, and anew once it was in sync between.
func TestStale_sinceItWasSeenSo(t *testing.T) {
	var s stale
	at := time.Unix(1e9, 0)
	look := func(after time.Duration, types ...string) time.Duration {
		at = at.Add(after)
		list := []gate.Proxy{{Namespace: "shop", Name: "cart-1", Revision: "new", Stale: types}, {Namespace: "shop", Name: "cart-2", Stale: []string{"CDS"}}}
		s.since(list, at)
		return list[0].StaleFor
	}
	for i, tt := range []struct {
		after time.Duration
		types []string
		want  time.Duration
	}{
		{0, []string{"CDS"}, 0},
		{5 * time.Second, []string{"EDS"}, 5 * time.Second},
		{time.Second, nil, 0},
		{time.Second, []string{"EDS"}, 0},
		{3 * time.Second, []string{"EDS"}, 3 * time.Second},
	} {
		if got := look(tt.after, tt.types...); got != tt.want {
			t.Errorf("look %d: %s, want %s", i, got, tt.want)
		}
	}
}
