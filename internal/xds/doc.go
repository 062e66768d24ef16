// Package xds is which proxy is connected to which istiod, what that istiod has
// sent to it, and how this agrees with the pods: who should have injected each,
// who did, and who programs it now.
//
// It must not know where the answers come from, nor judge whether a step may go
// on: that is gate's. An istiod that did not answer is kept as such, for a proxy
// that nobody lists may be connected to it.
//
// Start reading at Join.
package xds
