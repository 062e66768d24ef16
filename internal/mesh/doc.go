// Package mesh is the vocabulary of an Istio mesh and the questions that can be
// answered from a Snapshot of it alone: who injects a pod, what a tag points at,
// what relies on a revision that is not ready.
//
// It is part of the pure core: it must not know Kubernetes clients, contexts,
// loggers or clocks. Start reading at Snapshot.
package mesh
