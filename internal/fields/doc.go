// Package fields knows which values each release of Istio reads: of its Helm
// charts, of an IstioOperator, and of mesh config. Charts take any value, and do
// nothing with one that they do not know: a word that is spelt wrong is lost in
// silence. It is data, out of the releases' own sources (lab/cmd/fields). What
// charts hand on to Kubernetes must be as Kubernetes' types have it; those are data
// too (kubernetes.txt), held by a test to the API that serin is built with.
//
// It is part of the pure core. Start reading at Unknown.
package fields
