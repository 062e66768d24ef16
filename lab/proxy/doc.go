// Package proxy is the lab's sidecar and gateway: a small proxy that connects
// to the istiod it was injected for, subscribes as Envoy does, acknowledges, and
// forwards HTTP and TCP by the listeners, routes, clusters and endpoints it was
// sent. So a mistake in the order of an upgrade loses requests here too.
//
// It does not do mutual TLS: the identity of a peer travels in a header that
// never reaches the application. Start reading at Proxy and xds.go.
package proxy
