package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// moveManaged brings one Gateway that istiod deploys to another revision. Order
// (S-21): frozen first, or two deployment controllers would fight over the
// Deployment; claimed by both before its label moves, or the old istiod would take
// the configuration of the pods that serve; compared once both program it, before
// any pod is replaced (S-22); let go by the old one only when the last of its pods
// has ended. Each part finds what an earlier life has done.
func (w *Writer) moveManaged(ctx context.Context, st plan.Step, p plan.Plan) error {
	if err := w.proven(ctx, st, p); err != nil {
		return fmt.Errorf("moving gateway %s to %s: %w", st.Target, st.To, err)
	}
	return nil
}

// proof is what has to be shown on the way: before its pods are replaced, and before
// one of the two revisions lets go. The way back shows nothing: it is never kept from.
type proof struct {
	kept map[string]string // annotations of the old revision's claim, for a later life
	roll func(ctx context.Context, m *model) error
	let  func(ctx context.Context) error
}

func unproven() proof {
	return proof{roll: func(context.Context, *model) error { return nil }, let: func(context.Context) error { return nil }}
}

func (w *Writer) shift(ctx context.Context, st plan.Step, from, to string, p proof) error {
	if err := w.markGateway(ctx, st, mesh.VersionAnnotation, st.After); err != nil {
		return err
	}
	w.tell(ctx, st, "Frozen", "serin moves it from "+from+" to "+to+": its listeners stay as they are until it is returned; serin status shows it, serin repair undoes it")
	model, err := w.claimed(ctx, st, from, to, p.kept)
	if err != nil {
		return err
	}
	if err := w.markGateway(ctx, st, mesh.RevLabel, st.After); err != nil {
		return err
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	if err := p.roll(ctx, model); err != nil {
		return err
	}
	if err := w.rollManaged(ctx, st, model, to); err != nil {
		return err
	}
	if err := p.let(ctx); err != nil {
		return err
	}
	return w.unclaim(ctx, st, from)
}

// claimed lets both revisions claim the Gateway's private tag, sees that both
// took it, and returns what the one to go to makes of the Gateway.
func (w *Writer) claimed(ctx context.Context, st plan.Step, from, to string, kept map[string]string) (*model, error) {
	tag := mesh.PrivateTag(st.Namespace, st.Gateway)
	if err := w.claim(ctx, mesh.ClaimOf(tag, from), kept); err != nil {
		return nil, err
	}
	if err := w.claim(ctx, mesh.ClaimOf(tag, to), nil); err != nil {
		return nil, err
	}
	if _, err := w.render(ctx, st, from); err != nil {
		return nil, err
	}
	m, err := w.render(ctx, st, to)
	if err != nil {
		return nil, err
	}
	return m, w.settle(ctx)
}

// moveManagedBack is the mirror (S-25): the label goes back only once the pods are
// the old revision's again, and no istiod lets go of any that serves.
func (w *Writer) moveManagedBack(ctx context.Context, st plan.Step) error {
	g, err := w.gatewayObject(ctx, st)
	switch {
	case apierrors.IsNotFound(err):
		if err := w.dropCopies(ctx, st); err != nil {
			return err
		}
		return w.unclaim(ctx, st, st.From, st.To)
	case err != nil:
		return fmt.Errorf("moving gateway %s back: %w", st.Target, asking("get", gatewayCRD+" "+st.Gateway, err))
	case g.GetLabels()[mesh.RevLabel] == *st.After[mesh.RevLabel]:
		rolled, err := w.begun(ctx, st)
		if err == nil && rolled {
			err = w.shift(ctx, st, st.To, st.From, unproven())
		}
		if err != nil {
			return fmt.Errorf("moving gateway %s back to %s: %w", st.Target, st.From, err)
		}
	}
	if err := w.release(ctx, st, st.Before); err != nil {
		return fmt.Errorf("moving gateway %s back to %s: %w", st.Target, st.From, err)
	}
	return nil
}

// returnManaged gives the Gateway back to what it follows, which leads to the
// revision of its pods by now.
func (w *Writer) returnManaged(ctx context.Context, st plan.Step) error {
	if err := w.release(ctx, st, st.After); err != nil {
		return fmt.Errorf("returning gateway %s: %w", st.Target, err)
	}
	return nil
}

// release takes all that is serin's off a Gateway. Order: its label first, while
// the claim still holds the configuration; then the claims; then the freeze.
func (w *Writer) release(ctx context.Context, st plan.Step, to map[string]*string) error {
	if err := w.markGateway(ctx, st, mesh.RevLabel, to); err != nil {
		return err
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	if err := w.dropCopies(ctx, st); err != nil {
		return err
	}
	if err := w.unclaim(ctx, st, st.From, st.To); err != nil {
		return err
	}
	if err := w.markGateway(ctx, st, mesh.VersionAnnotation, to); err != nil {
		return err
	}
	w.tell(ctx, st, "Thawed", "serin has returned it to its own label: its istiod deploys it again")
	if err := w.handBack(ctx, gatewayResource(), st.Namespace, st.Gateway); err != nil {
		return err
	}
	_, err := w.rolledOut(ctx, st.Workloads[0]) // istiod applies it again: the same pods, or a rollout that is let end
	return err
}

// takeManaged takes a returned Gateway under its private tag again; its pods stay.
func (w *Writer) takeManaged(ctx context.Context, st plan.Step) error {
	err := w.markGateway(ctx, st, mesh.VersionAnnotation, st.Before)
	if err == nil {
		_, err = w.claimed(ctx, st, st.To, st.To, nil)
	}
	if err == nil {
		err = w.markGateway(ctx, st, mesh.RevLabel, st.Before)
	}
	if err == nil {
		err = w.settle(ctx)
	}
	if err != nil {
		return fmt.Errorf("taking gateway %s again: %w", st.Target, err)
	}
	return nil
}

// markGateway sets the Gateway's label or its controller's version; nil takes it off.
func (w *Writer) markGateway(ctx context.Context, st plan.Step, key string, to map[string]*string) error {
	field := "annotations"
	if key == mesh.RevLabel {
		field = "labels"
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{field: map[string]*string{key: to[key]}}})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	_, err = w.Dynamic.Resource(gatewayResource()).Namespace(st.Namespace).Patch(ctx, st.Gateway, types.MergePatchType, patch, patching())
	switch {
	case apierrors.IsNotFound(err):
		return refused("there is no Gateway %s any more", st.Target)
	case err != nil:
		return asking("patch", gatewayCRD+" "+st.Gateway, err)
	}
	return nil
}

// tell writes an event at the Gateway, for who wonders why it takes no listener
// (S-27). One that cannot be written stops nothing.
func (w *Writer) tell(ctx context.Context, st plan.Step, reason, message string) {
	w.event(ctx, st.Namespace, st.Gateway, corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: st.Gateway + "-serin-"}, Reason: reason, Message: message, Type: corev1.EventTypeNormal,
	})
}

// Warn writes an event at each Gateway that serin has frozen for too long. It has a
// name of its own, so that while it is there it is not said again, by whoever looks.
func (w *Writer) Warn(ctx context.Context, s mesh.Snapshot) {
	for _, g := range s.Edge.Gateways {
		if !g.Overdue || g.Frozen != mesh.PrivateTag(g.Namespace, g.Name) {
			continue
		}
		w.event(ctx, g.Namespace, g.Name, corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: g.Frozen + "-overdue-" + strings.ToLower(strings.NewReplacer(":", "", "-", "").Replace(g.Since))},
			Reason:     "FrozenTooLong", Type: corev1.EventTypeWarning,
			Message: "serin has frozen it at " + g.Since + " and has not returned it: what has changed of its listeners since waits. serin status says what the run waits for; resume it or take it back, and serin repair where none is open",
		})
	}
}

func (w *Writer) event(ctx context.Context, namespace, gateway string, e corev1.Event) {
	g, err := w.Dynamic.Resource(gatewayResource()).Namespace(namespace).Get(ctx, gateway, reading())
	if err != nil {
		return
	}
	now := metav1.Now()
	e.Namespace, e.FirstTimestamp, e.LastTimestamp, e.Count = namespace, now, now, 1
	e.Source = corev1.EventSource{Component: Manager}
	e.InvolvedObject = corev1.ObjectReference{APIVersion: g.GetAPIVersion(), Kind: g.GetKind(), Namespace: namespace, Name: gateway, UID: g.GetUID()}
	_, _ = w.Kube.CoreV1().Events(namespace).Create(ctx, &e, creating())
}

func (w *Writer) gatewayObject(ctx context.Context, st plan.Step) (*unstructured.Unstructured, error) {
	return w.Dynamic.Resource(gatewayResource()).Namespace(st.Namespace).Get(ctx, st.Gateway, reading())
}

// claim makes a webhook configuration of no webhooks, by whose labels a
// revision's istiods take a tag for their own.
func (w *Writer) claim(ctx context.Context, c mesh.Claim, kept map[string]string) error {
	_, err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &mwc{ObjectMeta: metav1.ObjectMeta{
		Name: c.Name, Labels: map[string]string{mesh.TagLabel: c.Tag, mesh.RevLabel: c.Revision}, Annotations: kept,
	}}, creating())
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return asking("create", "mutatingwebhookconfigurations "+c.Name, err)
	}
	return nil
}

// unclaim takes revisions' claims to the Gateway's private tag away.
func (w *Writer) unclaim(ctx context.Context, st plan.Step, revs ...string) error {
	tag := mesh.PrivateTag(st.Namespace, st.Gateway)
	for _, rev := range revs {
		if err := w.dropClaim(ctx, mesh.ClaimOf(tag, rev)); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) dropClaim(ctx context.Context, c mesh.Claim) error {
	err := ignoreGone(w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, c.Name, metav1.DeleteOptions{}))
	if err != nil {
		return asking("delete", "mutatingwebhookconfigurations "+c.Name, err)
	}
	return nil
}

// settle waits until watches have told what was just written. A claim is also seen
// to have been taken; of a label that changes the owner nothing tells.
func (w *Writer) settle(ctx context.Context) error {
	if err := clock.Wait(ctx, w.paces.Hear); err != nil {
		return fmt.Errorf("waiting for istiods to hear of it: %w", err)
	}
	return nil
}

// rollsNoGateway refuses to take back what Gateways follow that have come since the
// plan was made: they would be rolled at once, losing requests. On the way there
// drift finds them.
func (w *Writer) rollsNoGateway(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	in := st.Namespace
	switch st.Kind { //nolint:exhaustive // only what Gateways follow
	case plan.MoveTag, plan.InstallRevision:
		in = metav1.NamespaceAll
	case plan.MoveNamespace, plan.RestoreLabels:
	default:
		return nil
	}
	if p.Request.Operation != nil || w.observer == nil { // who goes step by step is told of them, and asked (S-5)
		return nil
	}
	some, err := w.Dynamic.Resource(gatewayResource()).Namespace(in).List(ctx, metav1.ListOptions{Limit: 1})
	switch {
	case apierrors.IsNotFound(err) || err == nil && len(some.Items) == 0:
		return nil
	case err != nil:
		return asking("list", gatewayCRD, err)
	}
	now, err := w.observer.Observe(ctx)
	if err != nil {
		return fmt.Errorf("looking for Gateways that follow %s: %w", st.Target, err)
	}
	if rolled := plan.Rolled(now, plan.SimulateUndo(now, st, before)); len(rolled) > 0 {
		return refused("step %d (%s %s) cannot be taken back while Gateways that came after the plan follow it, and would lose requests: %s\n  remedy: delete them, and serin rollback goes on",
			st.Number, st.Kind, st.Target, strings.Join(rolled, ", "))
	}
	return nil
}

// rollManaged gives the Gateway's Deployment the template of a revision and waits
// until the last pod of another has ended: one that drains still needs its istiod.
func (w *Writer) rollManaged(ctx context.Context, st plan.Step, m *model, rev string) error {
	ref := st.Workloads[0]
	if _, err := w.rolledOut(ctx, ref); err != nil { // ours from before a crash, or somebody's
		return err
	}
	if err := w.applyModel(ctx, st, m); err != nil {
		return err
	}
	return w.othersEnd(ctx, ref, rev)
}

// othersEnd waits until a workload has been rolled out, and until its last pod of
// another revision has ended.
func (w *Writer) othersEnd(ctx context.Context, ref mesh.Ref, rev string) error {
	r, err := w.rolledOut(ctx, ref)
	if err != nil || !r.there {
		return err
	}
	api := w.Kube.CoreV1().Pods(ref.Namespace)
	src := source[*corev1.PodList]{
		what: "pods", of: w.Kube, opts: metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(r.selector)}, list: api.List, watch: api.Watch,
	}
	return await(ctx, "the old pods' end", src, &corev1.Pod{}, func(pods []*corev1.Pod) (bool, string, error) {
		for _, p := range pods {
			if on := podOf(p).Revision; on != rev && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
				return false, p.Name + " is on " + on, nil
			}
		}
		return true, "", nil
	})
}

func gatewayResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: mesh.GatewayAPIGroup, Version: "v1", Resource: "gateways"}
}
