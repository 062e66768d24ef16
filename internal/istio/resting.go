package istio

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
)

// resting is a post-renderer for a release whose Deployment rests at zero, where its
// chart renders a number of pods (S-32). Applied on the server, that number would be
// a conflict with who scaled it: it is left out, and stays. Merged on the client, a
// number that is left out would become one, and the chart's own would let all pods
// into the Service at once: it is zero.
type resting struct {
	onServer bool
}

// Run settles the number of each Deployment.
func (r resting) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	nodes, err := kio.FromBytes(in.Bytes())
	if err != nil {
		return nil, fmt.Errorf("reading the rendered objects: %w", err)
	}
	for _, n := range nodes {
		spec, err := n.Pipe(kyaml.Lookup("spec"))
		if err != nil || spec == nil || n.GetKind() != "Deployment" || spec.Field("replicas") == nil {
			continue // without a number it is an HPA's, which rests at zero too
		}
		if r.onServer {
			err = spec.PipeE(kyaml.Clear("replicas"))
		} else {
			err = spec.PipeE(kyaml.SetField("replicas", kyaml.NewScalarRNode("0")))
		}
		if err != nil {
			return nil, fmt.Errorf("leaving %s at rest: %w", n.GetName(), err)
		}
	}
	out, err := kio.StringAll(nodes)
	if err != nil {
		return nil, fmt.Errorf("writing the rendered objects: %w", err)
	}
	return bytes.NewBufferString(out), nil
}
