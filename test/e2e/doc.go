// Package e2e holds the tests that run whole upgrades on real pods and real
// Envoy and count every request. They take any cluster without an Istio, by its
// kubeconfig, and any source of charts; see README.md.
//
// Start reading at upgrade_test.go.
package e2e
