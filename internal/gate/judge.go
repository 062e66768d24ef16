package gate

import (
	"fmt"
	"strings"
)

// Judge asks one gate. Evidence that is missing makes it Unknown, never Open (S-47).
func Judge(n Name, q Question, ev Evidence) Verdict { //nolint:cyclop,funlen // a case a gate
	if why := ev.Missing[n]; why != "" {
		return Verdict{Gate: n, State: Unknown, Reason: why}
	}
	if readsMesh(n) && len(ev.Snapshot.Namespaces) == 0 { // no cluster is without: an empty Snapshot is one that nobody took
		return Verdict{Gate: n, State: Unknown, Reason: "the mesh was not observed"}
	}
	state, reason := Unknown, "no gate has this name"
	switch n {
	case ControlPlane:
		state, reason = controlPlane(q, ev)
	case Injection:
		state, reason = injection(q, ev)
	case Tags:
		state, reason = tags(q, ev.Snapshot)
	case CRDs:
		state, reason = crds(ev.Snapshot)
	case RolledOut:
		state, reason = rolledOut(q, ev.Snapshot)
	case Proxies:
		state, reason = proxies(q, ev)
	case Served:
		state, reason = served(q, ev)
	case Requests:
		state, reason = requests(ev.Requests)
	case Metrics:
		state, reason = metrics(ev.Readings, ev.Traffic)
	case NothingRefers:
		state, reason = nothingRefers(q, ev)
	case NothingLeft:
		state, reason = nothingLeft(ev.Snapshot)
	case Approval:
		state, reason = approval(q, ev)
	case Within:
		state, reason = within(q, ev)
	case ConfirmStart, ConfirmWave, Wave:
		state, reason = hooked(Hooked(n), ev.Hooks)
	case Steady:
		state, reason = steady(q, ev.Snapshot)
	case SameServing:
		state, reason = parity(ev.Parity)
	case SameAnswers:
		state, reason = answers(ev.Answers, ev.Parity)
	case Prove:
		state, reason = foreseen(q, ev)
	case OldRevision, Git: // no step asks for them: Well answers the one, the run the other
	}
	return Verdict{Gate: n, State: state, Reason: reason, Asks: state != Open && asks(n, q, ev), Waits: state != Open && waits(n, q, ev)}
}

// readsMesh says whether a gate reads the Snapshot: all but those that ask a person, the clock, hooks, a Prometheus and the probers.
func readsMesh(n Name) bool {
	return n != Approval && n != Within && n != Requests && n != Metrics && Hooked(n) == ""
}

// some names up to three of several.
func some(words []string) string {
	if len(words) > 3 {
		return strings.Join(words[:3], ", ") + fmt.Sprintf(" and %d more", len(words)-3)
	}
	return strings.Join(words, ", ")
}
