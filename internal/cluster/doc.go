// Package cluster is the adapter to Kubernetes: a Reader that observes a mesh and
// a Writer that carries out the steps of a plan, a deed a file.
//
// It decides nothing: what to do comes in steps, whether it went well is for
// gates. Helm it reaches through Releases, so that it need not know it.
// Start reading at Reader.Observe and at Writer.Apply.
package cluster
