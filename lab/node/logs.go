package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// logLines is how much of a container's log is kept.
const logLines = 5000

// Log is a container's log: the last lines, to read and to follow.
type Log struct {
	mu    sync.Mutex
	lines []logLine
	first int // number of lines[0]
	part  []byte
	more  chan struct{}
}

type logLine struct {
	at   time.Time
	text []byte
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{more: make(chan struct{})} }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	grew := false
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			break
		}
		l.lines = append(l.lines, logLine{time.Now(), bytes.Clone(l.part[:i+1])})
		l.part = l.part[i+1:]
		grew = true
	}
	if over := len(l.lines) - logLines; over > logLines/4 { // seldom, so that a full log does not move with each line
		l.lines = append([]logLine(nil), l.lines[over:]...)
		l.first += over
	}
	if grew {
		close(l.more)
		l.more = make(chan struct{})
	}
	return len(p), nil
}

// Query says which lines are wanted.
type Query struct {
	Follow     bool
	Tail       int // -1: all
	Since      time.Time
	Timestamps bool
	Limit      int64 // bytes; 0: none
}

// write writes a line if it is wanted.
func (q Query) write(w io.Writer, line logLine) (int, error) {
	if line.at.Before(q.Since) {
		return 0, nil
	}
	if q.Timestamps {
		return fmt.Fprintf(w, "%s %s", line.at.UTC().Format(time.RFC3339Nano), line.text)
	}
	return w.Write(line.text)
}

// Copy writes what q wants to w; following ends with ctx.
func (l *Log) Copy(ctx context.Context, w io.Writer, q Query, flush func()) error {
	l.mu.Lock()
	next := l.first
	if q.Tail >= 0 && len(l.lines) > q.Tail {
		next = l.first + len(l.lines) - q.Tail
	}
	l.mu.Unlock()
	var written int64
	for {
		l.mu.Lock()
		next = max(next, l.first)
		lines, more := l.lines[min(next-l.first, len(l.lines)):], l.more
		next += len(lines)
		l.mu.Unlock()
		for _, line := range lines {
			n, err := q.write(w, line)
			if err != nil {
				return fmt.Errorf("writing a log: %w", err)
			}
			if written += int64(n); q.Limit > 0 && written >= q.Limit {
				return nil
			}
		}
		flush()
		if !q.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		}
	}
}
