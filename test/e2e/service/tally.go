package service

import (
	"bytes"
	"context"
	"encoding/json"
	"log"
	"maps"
	"net/http"
	"sync"
	"time"
)

// Count is what one pod has answered since it began, by kind of load. The last
// one of a pod counts.
type Count struct {
	Name     string         `json:"name"`
	Pod      string         `json:"pod"`
	Answered map[string]int `json:"answered"`
}

// tally counts answers.
type tally struct {
	mu       *sync.Mutex
	answered map[string]int
}

func newTally() tally { return tally{mu: &sync.Mutex{}, answered: map[string]int{}} }

func (t tally) add(kind string) {
	if kind == "" {
		return
	}
	t.mu.Lock()
	t.answered[kind]++
	t.mu.Unlock()
}

func (t tally) copy() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.answered)
}

// report sends the counts to the ledger when they have changed.
func (a *app) report(ctx context.Context) {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	sent := map[string]int{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if now := a.tally.copy(); !maps.Equal(now, sent) && a.send(ctx) {
			sent = now
		}
	}
}

// send sends the counts and says whether they arrived.
func (a *app) send(ctx context.Context) bool {
	if a.cfg.Ledger == "" {
		return true
	}
	body, err := json.Marshal(Count{Name: a.cfg.Name, Pod: a.cfg.Pod, Answered: a.tally.copy()})
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := post(ctx, http.DefaultClient, a.cfg.Ledger, bytes.NewReader(body)); err != nil {
		log.Printf("counts are kept for later: %v", err)
		return false
	}
	return true
}
