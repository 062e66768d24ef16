// Package cluster runs the lab's real Kubernetes control plane: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler as child processes
// on loopback ports, without root. They die with the lab.
//
// It knows nothing of nodes, pods or Istio. Start reading at Start.
package cluster
