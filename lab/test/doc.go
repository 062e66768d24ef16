// Package test holds the lab's tests of serin: whole upgrades of a real Istio on
// a real API server, with traffic running, through the serin binary.
package test
