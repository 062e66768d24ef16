package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// proven moves a Gateway forth: watched as long as both revisions claim it (S-23), and
// compared before its pods are replaced (S-22). Where that stops it and all its pods
// are the old revision's still, it gets its own label back at once: it is as before the
// label moved, whatever becomes of the run, and nobody goes on fighting over it. An
// operation is a repair: it brings a Gateway home, and there is nobody to accept anything.
func (w *Writer) proven(ctx context.Context, st plan.Step, p plan.Plan) error {
	if p.Request.Operation != nil {
		return w.shift(ctx, st, st.From, st.To, unproven())
	}
	g, within, err := w.guarded(ctx, st)
	if err != nil {
		return err
	}
	err = g.end(within, w.shift(within, st, st.From, st.To, proof{
		kept: g.kept(),
		roll: func(ctx context.Context, m *model) error {
			if err := w.alike(ctx, st, p, m); err != nil {
				return err
			}
			return g.steady(ctx)
		},
		let: g.steady,
	}))
	if !errors.Is(err, drive.ErrShut) {
		return err
	}
	return errors.Join(err, w.giveLabelBack(ctx, st))
}

// giveLabelBack undoes the relabelling where no pod has been replaced.
func (w *Writer) giveLabelBack(ctx context.Context, st plan.Step) error {
	rolled, err := w.begun(ctx, st)
	if err != nil || rolled {
		return err
	}
	return w.markGateway(ctx, st, mesh.RevLabel, st.Before)
}

// begun says whether anything of the new revision's is there of the Gateway: its
// Deployment's template, or a pod.
func (w *Writer) begun(ctx context.Context, st plan.Step) (bool, error) {
	ref := st.Workloads[0]
	d, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if err != nil {
		return false, asking("get", "deployments.apps "+ref.Name, err)
	}
	if d.Spec.Template.Annotations[mesh.RevLabel] != st.From {
		return true, nil
	}
	pods, err := w.Kube.CoreV1().Pods(ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return false, asking("list", "pods", err)
	}
	for i := range pods.Items {
		if podOf(&pods.Items[i]).Revision != st.From {
			return true, nil
		}
	}
	return false, nil
}

// alike compares what both revisions give the Gateway's proxies, now that both program
// it. Once the new one's template is there an earlier life has done so.
func (w *Writer) alike(ctx context.Context, st plan.Step, p plan.Plan, m *model) error {
	proves := p.Request.Prove
	if proves == nil {
		proves = &plan.Prove{}
	}
	if proves.Off {
		w.notes.add("gateway " + st.Target + ": what " + st.To + " gives it was not compared: the request asks for no proof")
		return nil
	}
	ref := st.Workloads[0]
	own, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if err != nil {
		return asking("get", "deployments.apps "+ref.Name, err)
	}
	if own.Spec.Template.Annotations[mesh.RevLabel] == st.To {
		return nil
	}
	if w.comparer == nil {
		return refused("nothing compares what %s and %s give its proxies", st.From, st.To)
	}
	t, err := m.template()
	if err != nil {
		return err
	}
	found, err := w.comparer.Compare(ctx, st, t, proves.Accept)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		return fmt.Errorf("%w: what %s and %s give its proxies could not be compared: %w\n  remedy: %s", drive.ErrShut, st.From, st.To, err, onwards)
	}
	if stops := found.Stops(proves.Accept); len(stops) > 0 {
		return fmt.Errorf("%w: revision %s would give its proxies something else than %s does: %s; none of them was replaced\n  remedy: %s%s",
			drive.ErrShut, st.To, st.From, told(stops), onwards, acceptable(stops))
	}
	said := fmt.Sprintf("%s that its proxies are given compared, as %s of %s and %s have them", mesh.Count(found.Resources, "resource"), mesh.Count(found.Istiods, "istiod"), st.To, st.From)
	if found.Expected > 0 {
		said += fmt.Sprintf(", %s expected", mesh.Count(found.Expected, "difference"))
	}
	if n := len(found.Found); n > 0 {
		said += fmt.Sprintf(", %d accepted", n)
	}
	w.tell(ctx, st, "Compared", said)
	w.notes.add("gateway " + st.Target + ": " + said)
	return nil
}

// onwards is what becomes of a move that has stopped with nothing lost.
const onwards = "mend it, and serin resume asks again; or serin rollback"

// shown is how many differences an error names.
const shown = 5

func told(ds []gate.Difference) string {
	var words []string
	for i, d := range ds {
		if i == shown {
			words = append(words, fmt.Sprintf("and %d more", len(ds)-shown))
			break
		}
		class := "unexplained"
		if d.Dangerous {
			class = "dangerous"
		}
		words = append(words, class+": "+d.What)
	}
	return strings.Join(words, "; ")
}

// acceptable is how to say that they may be, where that can be said of them all.
func acceptable(ds []gate.Difference) string {
	var flags []string
	for _, d := range ds {
		if d.Pattern == "" {
			return ""
		}
		flags = append(flags, "--accept '"+d.Pattern+"'")
	}
	return " and plan again with " + strings.Join(flags, " ") + ", if that is meant"
}

// template is the pod of the model.
func (m *model) template() (corev1.PodTemplateSpec, error) {
	var t corev1.PodTemplateSpec
	b, err := json.Marshal(m.deployment.Spec.Template)
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return t, fmt.Errorf("reading the template that istiod made: %w", err)
	}
	return t, nil
}
