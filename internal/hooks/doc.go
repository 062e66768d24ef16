// Package hooks is the adapter to what users put beside serin's own gates: URLs that
// are posted to and commands that are run, in the process that drives a run. It
// brings answers and judges none; gate does. Start reading at Hooks.
//
// It must never wait for a hook longer than a look at the gates may take, nor let
// an answer of one step pass for one of another.
package hooks
