// Package cluster is the adapter to Kubernetes: a Reader that turns what is
// there into a mesh.Snapshot, and a Writer that carries out the steps of a plan
// and takes them back, a deed a file.
//
// It must not decide: what to do is in the step, whether it worked is a gate's.
// Start reading at Reader.Observe and Writer.Apply.
package cluster
