package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/serin-mesh/serin/lab/node"
)

func TestLog_keepsTheLastLines(t *testing.T) {
	l := node.NewLog()
	for i := range 20000 {
		fmt.Fprintf(l, "line %d\n", i)
	}
	for name, q := range map[string]struct {
		query node.Query
		want  string
	}{
		"the tail":      {node.Query{Tail: 2}, "line 19998\nline 19999\n"},
		"none":          {node.Query{Tail: 0}, ""},
		"bytes limited": {node.Query{Tail: 3, Limit: 5}, "line 19997\n"},
		"a later time":  {node.Query{Tail: -1, Since: time.Now().Add(time.Hour)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := l.Copy(t.Context(), &b, q.query, func() {}); err != nil || b.String() != q.want {
				t.Errorf("got %q, %v, want %q", b.String(), err, q.want)
			}
		})
	}
}

func TestLog_followsUntilToldToStop(t *testing.T) {
	l := node.NewLog()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- l.Copy(ctx, w, node.Query{Tail: -1, Follow: true}, func() {}) }()
	for _, part := range []string{"a", "b\n", "c\n"} {
		if _, err := io.WriteString(l, part); err != nil {
			t.Fatal(err)
		}
		if part == "a" {
			continue
		}
		b := make([]byte, 16)
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
