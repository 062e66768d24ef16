// Package explain answers why: who would inject a pod, term by term of each
// webhook's selectors; what it runs; what it waits for; what would move with it.
//
// It is part of the pure core: it reads a Snapshot and what the istiods said, and
// guesses nothing from labels that the live selectors do not say. Start reading
// at Explain.
package explain
