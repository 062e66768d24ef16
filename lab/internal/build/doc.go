// Package build makes the lab's programs and charts from the Go module proxy:
// Kubernetes as one program, Istio's control plane and istioctl of each release,
// and Istio's Helm charts as the release they belong to.
//
// Everything is built once, into the user's cache directory, keyed by version.
// Start reading at Builder.
package build
