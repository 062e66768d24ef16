// Package archtest holds serin's arrows: a test reads the tree and compares each
// package's imports with the table that docs/ARCHITECTURE.md prints. There is
// nothing here to import. Start reading at the table in archtest_test.go.
package archtest
