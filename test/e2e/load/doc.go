// Package load sends requests to the sample and accounts for every one, at both
// ends: what it has sent is answered, failed or cut, and the services say what
// they have answered.
//
// It runs in a pod of the cluster, outside the mesh, so that it reaches the
// gateway's and the services' addresses on every cluster. It is begun, ended and
// asked through HTTP, and knows nothing of what happens to the mesh meanwhile.
//
// Open loop: a request is sent when it is due, whatever became of the others, and
// never again. A long-lived connection that ends is counted apart, as cut: what
// it ended in is gone, and no order of an upgrade can keep it. That it cannot be
// opened again at once is a failure.
//
// Start reading at Load.
package load
