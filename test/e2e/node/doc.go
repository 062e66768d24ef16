// Package node makes a one-node Kubernetes with real pods on a Linux machine
// where one is root: kubelet, kube-proxy, containerd and runc, in a network,
// a mount and a process namespace of their own.
//
// One process, the first of the process namespace, holds it all: when it ends,
// for whatever reason, the kernel ends every container, and every mount and every
// network device goes with its namespace. What is left then is a directory and
// empty control groups, which Down removes.
//
// It knows nothing of serin. Start reading at Up.
package node
