package check

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
)

// leastIstiods is how many pods the new istiod has: its injector fails closed (S-16).
const leastIstiods = 2

// room sees whether the nodes have place for the new istiod beside the old one.
func room(s mesh.Snapshot, q Question) []Finding {
	if s.Survey == nil || s.Survey.Nodes == nil || q.To == "" {
		return nil
	}
	need, pods := mesh.Room{CPU: 500, Memory: 2048}, leastIstiods // what the chart asks for
	for _, rev := range q.From {
		c, _ := s.ControlPlane(rev)
		pods = max(pods, c.Replicas)
		if i, ok := s.Survey.Istiods[rev]; ok && i.Requests != (mesh.Room{}) {
			need = i.Requests
		}
	}
	if fits(s.Survey.Nodes.Free, need) >= pods {
		return nil
	}
	return []Finding{{
		codeRoom, Overridable, "nodes", fmt.Sprintf("they have no room for %d more istiods of %dm CPU and %d MiB each", pods, need.CPU, need.Memory),
		"add a node, or lower pilot.resources; where nodes are added by themselves, ignore this",
	}}
}

// fits counts the pods that find room.
func fits(free []mesh.Room, need mesh.Room) int {
	n := 0
	for _, r := range free {
		byCPU, byMemory := int64(leastIstiods*100), int64(leastIstiods*100)
		if need.CPU > 0 {
			byCPU = r.CPU / need.CPU
		}
		if need.Memory > 0 {
			byMemory = r.Memory / need.Memory
		}
		n += int(max(0, min(byCPU, byMemory)))
	}
	return n
}
