// Package istiod asks an istiod what it would do, without anything being done: the
// pod that its injector would make, whether it accepts an object, and the
// configuration that it would give to a proxy that is not its own yet.
//
// For the last it opens an xDS stream as the shadow of that proxy, under a name
// that is no pod's, and closes it when the answers are there. Only the revision
// that a workload will move to is asked so: on the one that serves the proxy, a
// second connection from its address could take updates that are the first's.
//
// It is an adapter and must not know other adapters. Start reading at Asker.
package istiod
