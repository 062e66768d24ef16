package plan

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/serin-mesh/serin/internal/check"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/skew"
)

const maxLabel = 63

// dnsLabel is what Kubernetes takes for a name without dots.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// judge gathers every reason why not, all at once. Each group has a file.
func (b *builder) judge() {
	b.judgeVersions()
	b.judgeControlPlanes()
	b.judgeReleases()
	b.judgeValues()
	b.judgeTags()
	b.judgeNamespaces()
	b.judgeShapes()
	b.judgeGateways()
	b.judgeMoves()
	b.judgeWorkloads()
	b.judgeObjects()
	b.judgeRequest()
	b.judgeChecks()
}

// judgeChecks takes from the checks what stands in the way. What is only to be
// known is precheck's: it may change from one look to the next, and a plan may not.
func (b *builder) judgeChecks() {
	for _, f := range check.LookAtMesh(b.s, check.Question{To: b.req.To, From: b.from}) {
		if f.Code == codeInstaller && b.req.Owners == OwnersGit {
			continue // nothing is written that it would undo
		}
		if f.Blocking() || f.Code == codeFrozen { // one that nobody has thawed for hours is said wherever somebody looks (S-27)
			b.findings = append(b.findings, f)
		}
	}
}

// judgeTarget is about the new revision alone, whatever is left.
func (b *builder) judgeTarget() {
	if _, err := skew.Parse(b.req.To); err != nil {
		b.find(codeVersion, Mandatory, "request", err.Error(), "give a version: --to 1.29.1")
	}
	if !dnsLabel.MatchString(b.to) || len(mesh.IstiodName(b.to)) > maxLabel {
		b.find(codeRevisionName, Mandatory, "revision "+b.to, "it is no DNS label: lower-case letters, digits and dashes, no dots",
			"name it "+RevisionName(b.req.To))
	}
	if t, ok := b.s.Tag(b.to); ok {
		b.find(codeRevisionIsTag, Mandatory, "revision "+b.to, "a tag has this name, of revision "+t.Revision+": two injectors would answer to it",
			"choose another name: --revision")
	} else if b.to == mesh.DefaultTag {
		b.find(codeRevisionIsTag, Mandatory, "revision "+b.to, "it is the name of the default tag", "choose another name: --revision")
	}
	if c, ok := b.s.ControlPlane(b.to); ok && !sameVersion(c.Version, b.req.To) {
		b.find(codeRevisionTaken, Mandatory, "revision "+b.to, "it exists, at "+c.Version, "choose another name: --revision")
	}
}

func (b *builder) judgeVersions() {
	for _, rev := range b.from {
		c, _ := b.s.ControlPlane(rev)
		for _, r := range skew.Judge(c.Version, b.req.To, b.s) {
			code, sev := skewFinding(r)
			b.find(code, sev, r.Object, r.Reason, r.Remedy)
		}
	}
}

func skewFinding(r skew.Result) (string, Severity) {
	sev := Mandatory
	switch r.Verdict {
	case skew.Unknown:
		sev = Overridable
	case skew.Note:
		sev = Info
	case skew.Refused:
	}
	switch r.Rule {
	case skew.Readable:
		return codeVersion, sev
	case skew.Newer:
		return codeDowngrade, sev
	case skew.Known:
		return codeUnknownVersion, sev
	case skew.TwoMinors:
		return codeTooFar, sev
	case skew.Kubernetes:
		return codeKubernetes, sev
	case skew.Changed:
		return codeChanges, sev
	case skew.Singletons:
		if sev == Info {
			return codeSingletonStays, sev
		}
		return codeSingleton, sev
	}
	return codeVersion, Mandatory
}

func (b *builder) judgeControlPlanes() {
	for _, c := range b.s.ControlPlanes {
		object := "revision " + c.Revision
		if c.Revision == b.to || b.leaves(c.Revision) {
			if c.Ready < max(c.Replicas, 1) {
				b.find(codeNotReady, Mandatory, object, fmt.Sprintf("%d of %d istiods are ready", c.Ready, c.Replicas), "mend it first: kubectl -n "+c.Namespace+" describe deploy "+c.Name)
			}
		}
		if !b.leaves(c.Revision) {
			continue
		}
		switch c.Owner.Kind {
		case mesh.OwnerHelm:
		case mesh.OwnerArgoCD, mesh.OwnerFlux, mesh.OwnerSail, mesh.OwnerTerraform, mesh.OwnerGit:
			b.find(codeGitOpsPlane, Info, object, ownedBy(c.Owner)+": serin waits until "+b.to+" is declared there, and until this one is not", whatToCommit)
		case mesh.OwnerIstioctl:
			b.judgeIstioctl(c)
		case mesh.OwnerNone, "":
			b.find(codeNotHelm, Overridable, object, "no Helm release owns it: its values cannot be carried over, and serin does not remove it",
				"give the new revision's values in the request; remove the old one with the tool that installed it")
		}
	}
}

// judgeIstioctl is about what istioctl installed: its values are in the cluster,
// what its IstioOperator file changed in the rendered objects is not (R§3.1).
func (b *builder) judgeIstioctl(c mesh.ControlPlane) {
	switch {
	case b.req.Operator != nil:
	case olderThan(c.Version, "1.26.0"):
		b.find(codeNotHelm, Mandatory, "revision "+c.Revision, "istioctl installed it, and releases before 1.26 keep no values in the cluster: they cannot be carried over",
			"give the IstioOperator file it was installed from: --operator FILE")
	default:
		b.find(codeIstioctl, Warning, "revision "+c.Revision, "istioctl installed it: its values are carried over from the cluster; settings and overlays below k8s in its IstioOperator file are not there",
			"if the file has any, give it: --operator FILE")
	}
}

func ownedBy(o mesh.Owner) string {
	return strings.TrimSpace("it belongs to " + string(o.Kind) + " " + o.Name)
}

// judgeReleases looks at the Helm releases that serin would change.
func (b *builder) judgeReleases() {
	for _, r := range b.s.Releases {
		if b.changes(r) && r.Status != "deployed" {
			b.find(codeRelease, Mandatory, "release "+r.Namespace+"/"+r.Name, "Helm says it is "+r.Status,
				"finish or roll back what was begun: helm -n "+r.Namespace+" history "+r.Name)
		}
	}
	base, ok := b.s.Base()
	if !ok && (b.newOwner() == mesh.OwnerIstioctl || b.baseOwner().Git()) {
		return
	}
	if !ok {
		b.find(codeNoBase, Overridable, "release istio-base", "no Helm release of the base chart: serin cannot upgrade the CRDs",
			"install it over what is there (it adopts the CRDs), or bring the CRDs to "+b.req.To+" yourself")
		return
	}
	if _, err := skew.Parse(base.Version); err != nil {
		b.find(codeVersion, Mandatory, "release "+base.Namespace+"/"+base.Name, err.Error(), "upgrade it to a released chart")
	}
	if foreign := b.foreignCRDs(); foreign > 0 && olderThan(base.Version, b.req.To) && skew.OwnsCRDs(b.req.To) {
		b.find(codeAdopted, Info, "release "+base.Namespace+"/"+base.Name,
			fmt.Sprintf("%d CRDs are not Helm's: they are adopted into the release, as 1.24 and later need it", foreign), "")
	}
}

// changes says whether the release is one that serin upgrades, installs or removes.
func (b *builder) changes(r mesh.Release) bool {
	if r.Chart == "base" || r.Namespace == b.s.IstioNamespace && r.Name == mesh.IstiodName(b.to) {
		return true
	}
	for _, rev := range b.from {
		if c, ok := b.s.ControlPlane(rev); ok && c.Owner.Kind == mesh.OwnerHelm && c.Owner.Name == r.Namespace+"/"+r.Name {
			return true
		}
	}
	return false
}

func (b *builder) foreignCRDs() int {
	n := 0
	for _, c := range b.s.CRDs {
		if c.Owner.Kind != mesh.OwnerHelm {
			n++
		}
	}
	return n
}

func olderThan(a, b string) bool { return skew.SameOrOlder(a, b) && !sameVersion(a, b) }
