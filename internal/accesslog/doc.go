// Package accesslog knows which proxies write access logs to where logs show them,
// by the rules that istiod has: a Telemetry that selects the workload, else its
// namespace's, else the root namespace's, else the mesh's configuration. It also says
// which Telemetry would have the pods behind a Service write them, and why there can
// be none (S-34).
//
// It is part of the pure core. Start reading at Facts.Of.
package accesslog
