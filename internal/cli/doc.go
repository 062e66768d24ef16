// Package cli is the command line: it turns arguments into a request, drives a
// run as drive.Loop says, and shows what view makes of it. It adds no rule.
//
// A command has a file of its own. What lies outside the process is reached
// through World, so that the scripts in test/script run the real root command on
// a mesh in memory. Start reading at Main and at World.
package cli
