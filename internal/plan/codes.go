package plan

import "slices"

// The codes of findings. A code keeps its meaning for ever.
const (
	codeVersion        = "SRN1001" // a version cannot be read
	codeDowngrade      = "SRN1002" // the target is older
	codeUnknownVersion = "SRN1003" // no facts about a release
	codeTooFar         = "SRN1004" // more than two minors
	codeSingleton      = "SRN1005" // istio-cni or ztunnel too far behind (S-18)
	codeKubernetes     = "SRN1006" // Kubernetes too old
	codeChanges        = "SRN1007" // something behaves differently on the way
	codeSingletonStays = "SRN1008" // istio-cni or ztunnel stays for its owner to upgrade

	codeAtTarget       = "SRN1010" // nothing to do
	codeRevisionName   = "SRN1011" // not a DNS label
	codeRevisionIsTag  = "SRN1012" // the new revision's name is a live tag
	codeRevisionTaken  = "SRN1013" // the new revision exists at another version
	codeFromNeeded     = "SRN1014" // several revisions could be left
	codeFromUnknown    = "SRN1015" // --from names nothing
	codeNoControlPlane = "SRN1016" // no istiod at all
	codeNotReady       = "SRN1017" // a control plane is not ready
	codeNotHelm        = "SRN1018" // a control plane that Helm does not own
	codeGitOpsPlane    = "SRN1019" // a control plane that a GitOps tool owns (S-45)
	codeRelease        = "SRN1020" // a Helm release is failed or pending
	codeNoBase         = "SRN1021" // no release of the base chart
	codeAdopted        = "SRN1022" // CRDs that Helm does not own yet
	codeCleaned        = "SRN1023" // values that name a revision (S-15)
	codeHelmTag        = "SRN1024" // a tag that a Helm release renders (S-45)
	codeGitOpsTag      = "SRN1025" // a tag that a GitOps tool owns
	codeUnknownValue   = "SRN1027" // a value that the release does not read
	codeSecretValue    = "SRN1085" // a value that looks like a secret, which the run would keep
	codeIstioctl       = "SRN1026" // a control plane whose IstioOperator file may say more than the cluster does

	codeBothLabels     = "SRN1030" // IST0123
	codeNamesNothing   = "SRN1031" // a label that names nothing
	codeDangling       = "SRN1032" // a tag or validator that leads to nothing
	codeSplit          = "SRN1033" // a tag whose parts disagree (S-2)
	codeDouble         = "SRN1034" // two revisions inject one pod
	codeGitOpsSpace    = "SRN1035" // a namespace whose labels a GitOps tool owns (S-46)
	codeLoneValidator  = "SRN1036" // the default validator follows no tag
	codeBaseDisagrees  = "SRN1037" // the base release names another default than the tag
	codeUnsupported    = "SRN1040" // a shape serin does not run blind (S-19)
	codeManagedGateway = "SRN1041" // a Gateway API gateway (S-6)

	codeOutage        = "SRN1050" // a restart that takes the workload away
	codeCannotRestart = "SRN1051" // a workload that a rolling restart does not reach
	codeUnsettled     = "SRN1052" // a rollout is under way
	codeBudget        = "SRN1053" // its budget allows no disruption
	codePinnedPods    = "SRN1054" // a template that names a revision
	codeUnexpected    = "SRN1055" // pods on another revision than their labels lead to
	codeInstaller     = "SRN1317" // the checks': something else installs Istio
	codeGitOpsLoad    = "SRN1056" // a workload that a GitOps tool owns
	codePinnedObject  = "SRN1057" // configuration that only an old revision reads
	codePinnedToTag   = "SRN1058" // configuration that nobody reads
	codeKept          = "SRN1059" // an old revision that is not removed
	codeNoProbe       = "SRN1060" // nothing sends requests (S-47)
	codeNotProven     = "SRN1064" // the new revision is not asked before anything moves
	codeBudgetBlind   = "SRN1070" // a budget of failed requests, and nothing sends any
	codeWindow        = "SRN1071" // hours that cannot be read
	codeHook          = "SRN1072" // a hook that could not be asked
	codeProbe         = "SRN1077" // a probe that could not be sent
	codePrometheus    = "SRN1078" // a Prometheus, or a query, that could not be asked
	codeWave          = "SRN1061" // a wave that names nothing
	codeEmptyWave     = "SRN1063" // a wave to which nothing belongs
	codeWaveLater     = "SRN1062" // a wave names what follows only a tag (S-9)
	codeRolledOut     = "SRN1066" // a workload whose pods cannot be detached (S-35 to S-43)
	codeRetired       = "SRN1067" // a workload whose pods leave their endpoints one by one (S-39, S-42)

	codeProgrammed        = "SRN1402" // a Gateway that nobody, or two revisions, would program (R§4)
	codeRenderedGateway   = "SRN1403" // a gateway whose image is in its template (S-33)
	codeGatewayShape      = "SRN1405" // a gateway that cannot move in the way that is asked for
	codeRenderedSource    = "SRN1410" // a rendered gateway whose IstioOperator file nobody has given (S-33)
	codeRenderedElsewhere = "SRN1412" // a rendered gateway outside the control plane's namespace
	codeFrozen            = "SRN1413" // a Gateway that is frozen, and why it stays so (S-27)
	codeClasses           = "SRN1414" // defaults of a class that would change at the removal (S-26)
	codeUnprogrammed      = "SRN1415" // a gateway's pods of a revision that does not program its Gateway (R§4)
	codeGatewayHeld       = "SRN1406" // pods made anew are held out of the Service until serin opens them
	codeGatewayDips       = "SRN1404" // a gateway's restart that would leave fewer pods ready than before
)

// CodeOtherSource is what lets a gateway be rendered from a source of which more
// would change than its revision: the step itself finds it, and stops.
const CodeOtherSource = "SRN1411"

func (b *builder) find(code string, sev Severity, object, reason, remedy string) {
	b.findings = append(b.findings, Finding{Code: code, Severity: sev, Object: object, Reason: reason, Remedy: remedy})
}

func (b *builder) ignored(code string) bool { return slices.Contains(b.req.IgnoreChecks, code) }

// ignore makes warnings of the overridable findings that the request overrides.
func (b *builder) ignore() {
	for i, f := range b.findings {
		if f.Severity == Overridable && b.ignored(f.Code) {
			b.findings[i].Severity = Warning
		}
	}
}

func (b *builder) blocked() bool { return blocking(b.findings) }

func blocking(fs []Finding) bool {
	return slices.ContainsFunc(fs, Finding.Blocking)
}
