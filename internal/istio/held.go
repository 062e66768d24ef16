package istio

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/serin-mesh/serin/internal/mesh"
)

// held is a post-renderer that gives the pods of a release's Deployment a
// readiness gate, which the gateway chart has no value for (S-29).
type held struct{}

// Run adds the gate.
func (held) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	nodes, err := kio.FromBytes(in.Bytes())
	if err != nil {
		return nil, fmt.Errorf("reading the rendered objects: %w", err)
	}
	found := 0
	for _, n := range nodes {
		if n.GetKind() != "Deployment" {
			continue
		}
		gates, err := n.Pipe(kyaml.LookupCreate(kyaml.SequenceNode, "spec", "template", "spec", "readinessGates"))
		if err != nil {
			return nil, fmt.Errorf("holding %s out of its Service: %w", n.GetName(), err)
		}
		gate, err := kyaml.Parse("conditionType: " + mesh.ProvenGate)
		if err != nil {
			return nil, fmt.Errorf("holding %s out of its Service: %w", n.GetName(), err)
		}
		if err := gates.PipeE(kyaml.Append(gate.YNode())); err != nil {
			return nil, fmt.Errorf("holding %s out of its Service: %w", n.GetName(), err)
		}
		found++
	}
	if found != 1 {
		return nil, fmt.Errorf("holding a gateway out of its Service: its chart renders %d Deployments, want one", found)
	}
	out, err := kio.StringAll(nodes)
	if err != nil {
		return nil, fmt.Errorf("writing the rendered objects: %w", err)
	}
	return bytes.NewBufferString(out), nil
}
