// Package sample puts on a cluster what an upgrade is tried on: Istio by Helm as
// the default revision through serin's own Helm path, an ingress gateway, six
// Deployments in the shape of bookinfo, and the load's pod beside the mesh.
//
// It knows nothing of how the cluster was made. It refuses a cluster that has an
// Istio which is not its own, and removes what it has put there.
//
// Start reading at Install.
package sample
