// Package walk holds the walk-throughs of Istio's documentation as scripts: what is
// done by hand there is done here command by command, with serin alone and by a user
// who may do what `serin rbac` prints, and no more.
//
// Each script is a txtar file: commands first, then the files that they take. Its
// file before.txt says what is on the cluster when it begins, and by-hand.txt how
// the same is done without serin. It knows nothing of how the cluster was made: the
// lab's tests run the scripts, and compare both ends, and so do those on real pods.
//
// Start reading at Run.
package walk
