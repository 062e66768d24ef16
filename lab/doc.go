// Package lab starts a Kubernetes with real Istio in seconds, without root or a
// container runtime: a real control plane (cluster), simulated nodes (node) on a
// network of their own (fabric), Istio's charts as a Helm repository, and faults
// on demand.
//
// It knows nothing of upgrades. Start reading at Start.
package lab
