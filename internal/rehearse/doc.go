// Package rehearse knows what of a namespace can be copied into another one, on
// another revision, where no client comes by: what is copied and how it is
// changed, what is not and why, what is asked of the copy, and what that proves.
//
// It is part of the pure core: objects are what JSON makes of them, an adapter
// reads and makes them. Start reading at Build.
package rehearse
