// Package node is the lab's simulated kubelet. Pods bound to its nodes "run": an
// istiod pod is the real pilot-discovery of its image's version, an injected pod
// has the lab's proxy, every other container is a small HTTP service. Their
// network is the fabric; their lifecycle is a kubelet's.
//
// It knows nothing of upgrades. Start reading at Kubelet, then worker.
package node
