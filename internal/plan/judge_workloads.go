package plan

import (
	"fmt"

	"github.com/serin-mesh/serin/internal/mesh"
)

func (b *builder) judgeWorkloads() {
	for _, u := range b.scope.all() {
		b.judgeRestart(u.w)
	}
	for _, u := range b.scope.stay {
		b.judgeStaying(u)
	}
	for _, w := range b.s.Workloads {
		b.judgePods(w)
	}
}

// judgeRestart is about a workload that will be restarted: what that costs.
func (b *builder) judgeRestart(w mesh.Workload) {
	object := "workload " + w.String()
	switch {
	case w.Strategy == "Recreate":
		b.find(codeOutage, Overridable, object, "its strategy is Recreate: a restart takes all its pods away first", "use RollingUpdate, or accept the outage")
	case w.Kind == mesh.KindDaemonSet && w.MaxSurge == 0:
		b.find(codeOutage, Warning, object, "it does not surge: each node is without its pod while that is restarted", "")
	case risky(w):
		b.find(codeOutage, Overridable, object, "it has one replica and no surge: a restart takes it away before the new pod is ready", "let it surge, or run two replicas, or accept the outage")
	}
	if !w.Settled {
		b.find(codeUnsettled, Overridable, object, "a rollout of it is under way", "wait until it has ended: kubectl -n "+w.Namespace+" rollout status")
	}
	if w.Budget != nil && w.Budget.DisruptionsAllowed == 0 {
		sev, more := Overridable, ""
		if w.MaxUnavailable == 0 && w.MaxSurge > 0 {
			sev, more = Warning, "; its restart surges and takes no pod away before its successor is ready"
		}
		b.find(codeBudget, sev, object, "its PodDisruptionBudget "+w.Budget.Name+" allows no disruption now"+more, "run one replica more, or lower the budget")
	}
	b.judgeMethod(w)
	if w.Owner.Git() && !b.detaches(w) { // nobody declares the annotation, so that nobody should take it away (S-45)
		b.find(codeGitOpsLoad, Warning, object, ownedBy(w.Owner)+": if it takes away annotations that it does not declare, there is one more restart", "let it ignore the annotation serin.dev/restarted of pod templates")
	}
}

// risky says whether a restart may leave no pod of the workload serving.
func risky(w mesh.Workload) bool {
	return w.Strategy == "Recreate" || w.MaxSurge == 0 && w.Replicas <= 1 && w.Kind != mesh.KindDaemonSet
}

// judgeStaying says why serin does not move a workload that is on what is left.
func (b *builder) judgeStaying(u unit) {
	object := "workload " + u.w.String()
	if u.w.HasOwnProxy() {
		return // judgeGateways says it
	}
	if restartable(u.w) {
		if rev := u.w.TemplateLabels[mesh.RevLabel]; b.leaves(rev) {
			b.find(codePinnedPods, Overridable, object, "its pods' label "+mesh.RevLabel+" names the revision "+rev+", which only its owner can change",
				"name a tag there instead; ignored, it stays on "+u.from+", which is then not removed")
		}
		return // or judgePods says it
	}
	reason := notRestartable(u.w)
	b.find(codeCannotRestart, Overridable, object, reason, "restart it yourself after its namespace has moved; ignored, it stays on "+u.from+", which is then not removed")
}

// notRestartable says why a rolling restart does not reach the workload.
func notRestartable(w mesh.Workload) string {
	reason := fmt.Sprintf("a %s is not restarted by serin", w.What())
	switch {
	case w.Strategy == "OnDelete":
		reason = "its strategy is OnDelete: a rollout replaces no pod"
	case w.Paused:
		reason = "it is paused: a rollout would not go on"
	case w.Partition > 0:
		reason = fmt.Sprintf("its partition of %d holds pods back from a rollout", w.Partition)
	case w.Kind == mesh.KindPod:
		reason = "it is a bare pod: nothing would make it again"
	case w.Kind == mesh.KindJob:
		reason = "it is a Job: its pods end by themselves"
	}
	return reason
}

// judgePods compares where pods are with where their labels lead.
func (b *builder) judgePods(w mesh.Workload) {
	if w.Rendered() {
		return // nobody injects them: their Gateway's or their owner's affair
	}
	i := b.s.InjectionOf(w)
	object := "workload " + w.String()
	if i.Conflict {
		b.find(codeDouble, Mandatory, object, fmt.Sprintf("injectors of different revisions take its pods: %v", i.Injectors), "one of them must go")
		return
	}
	for _, p := range b.pods[w.Ref] {
		if !p.Leaving && p.Revision != i.Revision && (b.concerned(p.Revision) || b.concerned(i.Revision)) { // or a bystander's affair
			b.judgePod(object, p, i)
		}
	}
}

// judgePod is about a pod that is not where its labels lead.
func (b *builder) judgePod(object string, p mesh.Pod, i mesh.Injection) {
	switch {
	case p.Revision == "":
		b.find(codeUnexpected, Overridable, object, "it has pods without a proxy, and its next pods would get one, of "+i.String(), "restart it before the upgrade")
	case !b.s.Serves(p.Revision):
		b.find(codeUnexpected, Overridable, object, "it has pods on revision "+p.Revision+", which has no ready control plane", "restart it before the upgrade")
	case i.Revision == b.to && b.leaves(p.Revision):
		// what is left of an upgrade begun by hand: it is restarted
	default:
		b.find(codeUnexpected, Overridable, object, "it has pods on revision "+p.Revision+", and its next pods would be on "+i.String(), "mend its labels, or restart it before the upgrade")
	}
}

func (b *builder) concerned(rev string) bool { return rev == b.to || b.leaves(rev) }
