// Package fabric is the lab's network. Pod and Service addresses are fictional,
// because Kubernetes refuses loopback endpoints; one table says which simulated
// pod answers at each, and everything dials through it: proxies, apps, the API
// server's webhook calls and its kubelet connections.
//
// It balances per connection over ready endpoints, which propagate with a delay
// as kube-proxy's do. Start reading at Fabric.
package fabric
