package mesh

import (
	"fmt"
	"hash/fnv"
	"regexp"
)

// Claim is a webhook configuration that carries a tag's labels and no webhook: it
// injects nothing, and lets the istiods of a revision take what names the tag for
// their own. Two of them give one Gateway to two revisions at once (S-21).
type Claim struct {
	Name     string `json:"name"`
	Tag      string `json:"tag"`
	Revision string `json:"revision"`
}

// PrivateTag is the tag that a managed Gateway follows alone while it moves. It
// is a label's value and the beginning of object names, whatever the Gateway's own
// name is.
func PrivateTag(namespace, gateway string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(namespace + "/" + gateway)) // a hash never fails
	return fmt.Sprintf("serin-%08x", h.Sum32())
}

// private is what PrivateTag makes.
var private = regexp.MustCompile(`^serin-[0-9a-f]{8}$`)

// Serins says whether the claim is of a tag that serin has made up.
func (c Claim) Serins() bool {
	return private.MatchString(c.Tag) && c.Name == ClaimOf(c.Tag, c.Revision).Name
}

// DeploymentOf is the Deployment that istiod has made of a managed Gateway.
func (s Snapshot) DeploymentOf(g GatewayObject) (Ref, bool) {
	for _, w := range s.Workloads {
		if w.Kind == KindDeployment && w.Managed() && w.Namespace == g.Namespace && w.TemplateLabels[GatewayNameLabel] == g.Name {
			return w.Ref, true
		}
	}
	return Ref{}, false
}

// ClaimOf is a revision's claim to a tag.
func ClaimOf(tag, revision string) Claim {
	return Claim{Name: tag + "-" + revision, Tag: tag, Revision: revision}
}

// claimants are the revisions that claim a tag.
func (s Snapshot) claimants(tag string) []string {
	var out []string
	for _, c := range s.Claims {
		if c.Tag == tag {
			out = append(out, c.Revision)
		}
	}
	return unique(out)
}

// GatewayObject returns the Gateway of the Gateway API of that name.
func (s Snapshot) GatewayObject(namespace, name string) (GatewayObject, bool) {
	for _, g := range s.Edge.Gateways {
		if g.OfGatewayAPI() && g.Namespace == namespace && g.Name == name {
			return g, true
		}
	}
	return GatewayObject{}, false
}
