// Package check looks at a mesh and says what stands in the way of an upgrade: a
// check is a function over a Snapshot, one file for one question, in the table of
// All. What a check could not look at is a finding too, never good news.
//
// It is part of the pure core. `serin precheck` shows everything that is found,
// plans refuse what stands in the way. Start reading at All; what a code means is
// in Catalog.
package check
