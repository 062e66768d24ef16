// Package istio is the adapter to Istio's releases: their charts, the values that
// go from one release to the next, and Helm, which installs them.
//
// It knows Helm and no rules of an upgrade. Nothing outside may import Helm.
// Start reading at Helm.
package istio
