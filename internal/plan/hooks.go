package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/serin-mesh/serin/internal/gate"
)

// Hook is a URL to post to, or a command to run, that is asked or told of a run. It
// has no headers and no password: a request is stored, and shown. A command can
// read its own secrets where it runs.
type Hook struct {
	Name    string        `json:"name"`
	Type    gate.HookKind `json:"type"`
	URL     string        `json:"url,omitempty"`
	Command []string      `json:"command,omitempty"` // and its arguments; there is no shell
	Timeout Duration      `json:"timeout,omitempty"` // default 10s
}

// longest is how long a hook may take.
const longest = Duration(10 * time.Minute)

// judgeHooks refuses hooks that could not be asked.
func (b *builder) judgeHooks() {
	names := map[string]bool{}
	for i, h := range b.req.Hooks {
		object := fmt.Sprintf("hook %d", i+1)
		if h.Name != "" {
			object = "hook " + h.Name
		}
		why := h.wrong()
		if why == "" && names[h.Name] {
			why = "another hook has this name"
		}
		names[h.Name] = true
		if why != "" {
			b.find(codeHook, Mandatory, object, why, "mend the request's hooks")
		}
	}
}

// wrong says what of it cannot be. It shows no URL, in which there may be a secret.
func (h Hook) wrong() string {
	switch {
	case h.Name == "":
		return "it has no name"
	case !slices.Contains(gate.HookKinds(), h.Type):
		return fmt.Sprintf("%q is no type of hook: it is one of %s", h.Type, kinds())
	case (h.URL == "") == (len(h.Command) == 0):
		return "it has to have one of url and command"
	case len(h.Command) > 0 && h.Command[0] == "":
		return "its command has no name"
	case h.Timeout < 0 || h.Timeout > longest:
		return fmt.Sprintf("its timeout is %s: it is to be more than nothing and at most %s", time.Duration(h.Timeout), time.Duration(longest))
	case h.URL != "":
		return wrongURL(h.URL, "http://gate.example.com/open", ": let a command read it where it runs")
	}
	return ""
}

func kinds() string {
	var out []string
	for _, k := range gate.HookKinds() {
		out = append(out, string(k))
	}
	return strings.Join(out, ", ")
}

// hooked says whether the request has a hook of the kind.
func (b *builder) hooked(kind gate.HookKind) bool {
	return slices.ContainsFunc(b.req.Hooks, func(h Hook) bool { return h.Type == kind })
}

// ifHooked adds the gate that asks the hooks of its kind, where there are any.
func (b *builder) ifHooked(n gate.Name, to []gate.Name) []gate.Name {
	if !b.hooked(gate.Hooked(n)) {
		return to
	}
	return append(slices.Clone(to), n)
}

// confirmStart has the first step wait until the hooks say that it may begin.
func (b *builder) confirmStart() {
	if len(b.steps) > 0 {
		b.steps[0].Needs = b.ifHooked(gate.ConfirmStart, b.steps[0].Needs)
	}
}
