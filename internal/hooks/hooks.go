package hooks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

const (
	defaultTimeout = 10 * time.Second
	glance         = 2 * time.Second // one look waits so long for an answer, and takes it the next time
	again          = 5 * time.Second // an answer stands so long before its hook is asked anew
	untold         = 256             // entries that wait to be told; more are left out
	farewell       = 10 * time.Second
)

// Hooks asks and tells the hooks of a request.
type Hooks struct {
	hooks    []plan.Hook
	commands bool
	now      func() time.Time
	client   *http.Client

	ctx   context.Context //nolint:containedctx // of what outlives the look that asked
	stop  context.CancelFunc
	tasks sync.WaitGroup
	news  chan drive.Occasion
	told  chan struct{}

	mu    sync.Mutex
	asked map[string]*asking // by hook and occasion
}

// asking is one question to one hook.
type asking struct {
	done   chan struct{} // closed once answered
	over   bool
	ended  time.Time
	answer gate.HookAnswer
}

// New returns the hooks of a request. commands says whether those that are commands
// may be run here: a run that is read from a cluster must not decide that.
func New(hs []plan.Hook, commands bool, now func() time.Time) *Hooks {
	ctx, stop := context.WithCancel(context.Background())
	h := &Hooks{
		hooks: hs, commands: commands, now: now, ctx: ctx, stop: stop, asked: map[string]*asking{},
		news: make(chan drive.Occasion, untold), told: make(chan struct{}),
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	go h.tell()
	return h
}

// Close tells what is still to be told, for a few seconds, and ends what is being asked.
func (h *Hooks) Close() {
	close(h.news)
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	select {
	case <-h.told:
	case <-ctx.Done():
	}
	h.stop()
	h.tasks.Wait()
	<-h.told
	h.client.CloseIdleConnections()
}

// Ask asks all hooks of a kind at once, each again only some seconds after its last
// answer. One that takes its time is said to be still asked.
func (h *Hooks) Ask(ctx context.Context, kind gate.HookKind, about drive.Occasion) []gate.HookAnswer {
	var all []*asking
	about.Type = string(kind)
	mine := h.of(kind)
	for _, hook := range mine {
		all = append(all, h.ask(hook, about))
	}
	look, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	out := make([]gate.HookAnswer, 0, len(all))
	for i, a := range all {
		select {
		case <-a.done:
			out = append(out, a.answer)
		case <-look.Done():
			out = append(out, gate.HookAnswer{Name: mine[i].Name, Kind: kind, Missing: gate.StillAsked})
		}
	}
	return out
}

func (h *Hooks) of(kind gate.HookKind) []plan.Hook {
	return slices.DeleteFunc(slices.Clone(h.hooks), func(k plan.Hook) bool { return k.Type != kind })
}

// ask begins to ask, unless that is under way or its answer still stands.
func (h *Hooks) ask(hook plan.Hook, about drive.Occasion) *asking {
	key := fmt.Sprintf("%s\x00%d\x00%s", hook.Name, about.Step, about.Phase)
	if hook.Type == gate.RollbackHook { // it is about the run, wherever that stands
		key = hook.Name
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.asked[key]; a != nil && (!a.over || h.now().Sub(a.ended) < again) {
		return a
	}
	a := &asking{done: make(chan struct{})}
	h.asked[key] = a
	h.tasks.Go(func() {
		answer := h.put(h.ctx, hook, about)
		h.mu.Lock()
		defer h.mu.Unlock()
		a.answer, a.ended, a.over = answer, h.now(), true
		close(a.done)
	})
	return a
}

// put asks one hook, for as long as it may take.
func (h *Hooks) put(ctx context.Context, hook plan.Hook, about drive.Occasion) gate.HookAnswer {
	timeout := cmp.Or(time.Duration(hook.Timeout), defaultTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := gate.HookAnswer{Name: hook.Name, Kind: hook.Type}
	about.Hook, about.Type = hook.Name, string(hook.Type)
	body, err := json.Marshal(about)
	if err != nil {
		out.Missing = err.Error()
		return out
	}
	switch {
	case hook.URL != "":
		out.Yes, out.Said, err = h.post(ctx, hook.URL, body)
	case !h.commands:
		err = errors.New("it is a command, and those of a run that is read from the cluster are run only with --hook-commands")
	default:
		out.Yes, out.Said, err = execute(ctx, hook.Command, body)
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		out.Yes, out.Said, out.Missing = false, "", fmt.Sprintf("no answer in %s", timeout)
	case err != nil:
		out.Yes, out.Said, out.Missing = false, "", err.Error()
	}
	return out
}

// Tell tells the event hooks, in order, and never waits for them.
func (h *Hooks) Tell(about drive.Occasion) {
	if len(h.of(gate.EventHook)) == 0 {
		return
	}
	select {
	case h.news <- about:
	default: // they are too slow for so much news: the run's own log has it all
	}
}

func (h *Hooks) tell() {
	defer close(h.told)
	hooks := h.of(gate.EventHook)
	for about := range h.news {
		var all sync.WaitGroup
		for _, hook := range hooks {
			all.Go(func() { h.put(h.ctx, hook, about) })
		}
		all.Wait()
	}
}

var _ drive.Hooks = (*Hooks)(nil)
