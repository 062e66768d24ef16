// Package skew says what may go to what: facts about Istio's releases as data
// (versions.json, each with its source) and pure rules over them. What the data
// does not know is Unknown, never allowed.
//
// It is part of the pure core. Start reading at Judge; a new Istio release is a
// change to versions.json.
package skew
