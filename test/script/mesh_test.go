package script_test

import (
	"fmt"
	"os"

	"github.com/serin-mesh/serin/internal/mesh/meshtest"
)

// makeMesh is the scripts' command `mesh`: it makes the mesh of a script.
//
//	mesh bookinfo 1.27.0          Istio as the default revision and the six workloads
//	mesh bookinfo 1.27.0 extra    and one workload more
//	mesh none                     no Istio at all
func makeMesh(args []string) int {
	w := here()
	switch {
	case len(args) == 1 && args[0] == "none":
		w.save("snapshot.yaml", meshtest.New().Snapshot())
	case len(args) == 2 && args[0] == "bookinfo":
		w.save("snapshot.yaml", meshtest.Bookinfo(args[1]).Snapshot())
	case len(args) == 3 && args[0] == "bookinfo" && args[2] == "extra":
		w.save("snapshot.yaml", meshtest.Bookinfo(args[1]).Deployment("default", "reviews-v4", meshtest.Service("reviews")).Snapshot())
	default:
		fmt.Fprintf(os.Stderr, "mesh: unknown mesh %q\n", args)
		return 1
	}
	return 0
}
