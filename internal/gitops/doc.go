// Package gitops writes a plan as folders to commit: one for each step, in order,
// with files for the tools that people have and a page that says what they are,
// whose they are and how to see that they took (S-45).
//
// It is handed what the steps are made of and returns files; it knows no cluster
// and no disk. The same plan gives the same bytes. Start reading at Files.
package gitops
