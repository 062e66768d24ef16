// Package view shows plans, findings, snapshots and runs: as text for people,
// and as JSON and YAML for programs. Same value, same bytes; nothing here reads
// a cluster or the clock.
//
// It must not know Kubernetes clients, cobra or the adapters. Each thing that is
// shown has a file; what they share is in table.go and encode.go. Start reading
// at Plan.
package view
