// Package envoy reads what a proxy says of itself on its admin port, and makes
// the tables and documents of istioctl proxy-config of it: the same columns,
// filters and order.
//
// It must not know how the answer was fetched. A type of configuration that is
// not linked in, of a newer Envoy or of Istio's own filters, is kept as it is and
// never a reason to fail.
//
// Start reading at Parse.
package envoy
