// Package evidence gathers what the gates judge: which proxies are connected and
// in sync, who injects a dry-run pod, what the moved pods have answered, and how
// serin's own requests fared.
//
// It hides where that comes from: istiod's debug endpoints and the pods' metrics
// over port-forwards, the API server's dry run, and the Prober. It must not judge:
// what it could not see it says in Evidence.Missing, so that the gate is Unknown.
//
// Start reading at Gatherer.Gather.
package evidence
