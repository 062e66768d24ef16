package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// modelAnnotation marks the Gateways that serin makes for an istiod to deploy:
// what it deploys is the model of another Gateway's Deployment. Readers pass over them.
const modelAnnotation = "serin.dev/model-of"

// model is a Deployment as a revision makes it for a Gateway: only the fields
// that istiod's controller applies, named as the Gateway's own are.
type model struct {
	deployment *appsapply.DeploymentApplyConfiguration
}

// render has a revision's istiod deploy a copy of the Gateway, without pods and
// without an address, under a tag that is that revision's alone, and takes the
// Deployment for a model (S-22): what istiod will apply when the Gateway is
// unfrozen is then there already, and nothing rolls again. The claim of the copy's
// tag was written after the Gateway's own, and istiods hear of both by one watch:
// who deploys the copy has taken the Gateway's, too.
func (w *Writer) render(ctx context.Context, st plan.Step, rev string) (*model, error) {
	g, err := w.gatewayObject(ctx, st)
	if err != nil {
		return nil, asking("get", gatewayCRD+" "+st.Gateway, err)
	}
	claim := copyClaim(st, rev)
	name := claim.Tag
	if err := w.makeCopy(ctx, copyOf(g, name), claim); err != nil {
		return nil, err
	}
	// An istiod that deploys nothing does not take the claim, or has nobody who
	// deploys: then nothing may move (S-21).
	bounded, cancel := context.WithTimeout(ctx, w.paces.Take)
	defer cancel()
	d, err := w.deployed(bounded, st.Namespace, name, rev)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = refused("the istiod of %s does not take a private tag: it has deployed nothing for Gateway %s/%s within %s", rev, st.Namespace, name, w.paces.Take)
	}
	if err := errors.Join(err, w.dropCopy(context.WithoutCancel(ctx), st.Namespace, claim)); err != nil {
		return nil, err
	}
	return w.modelOf(ctx, d, g, st, rev)
}

// copyClaim is a revision's claim to the tag of the Gateway's copy, which has its name.
func copyClaim(st plan.Step, rev string) mesh.Claim {
	return mesh.ClaimOf(mesh.PrivateTag(st.Namespace, st.Gateway+" of "+rev), rev)
}

// dropCopies takes the copies away that a process left that died while it rendered
// them: nobody else would (S-51). Their claim is the first to come and the last to go.
func (w *Writer) dropCopies(ctx context.Context, st plan.Step) error {
	for _, rev := range []string{st.From, st.To} {
		c := copyClaim(st, rev)
		_, err := w.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, c.Name, reading())
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return asking("get", "mutatingwebhookconfigurations "+c.Name, err)
		}
		if err := w.dropCopy(ctx, st.Namespace, c); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) makeCopy(ctx context.Context, g *unstructured.Unstructured, c mesh.Claim) error {
	if err := w.claim(ctx, c, nil); err != nil {
		return err
	}
	_, err := w.Kube.CoreV1().ConfigMaps(g.GetNamespace()).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: c.Tag, Namespace: g.GetNamespace()},
		Data:       map[string]string{"deployment": "spec:\n  replicas: 0\n", "service": "spec:\n  type: ClusterIP\n"},
	}, creating())
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return asking("create", "configmaps "+c.Tag, err)
	}
	_, err = w.Dynamic.Resource(gatewayResource()).Namespace(g.GetNamespace()).Create(ctx, g, creating())
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return asking("create", gatewayCRD+" "+c.Tag, err)
	}
	return nil
}

// dropCopy takes the copy away; what istiod deployed for it is its own and goes too.
func (w *Writer) dropCopy(ctx context.Context, namespace string, c mesh.Claim) error {
	err := w.Dynamic.Resource(gatewayResource()).Namespace(namespace).Delete(ctx, c.Tag, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return asking("delete", gatewayCRD+" "+c.Tag, err)
	}
	err = w.Kube.CoreV1().ConfigMaps(namespace).Delete(ctx, c.Tag, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return asking("delete", "configmaps "+c.Tag, err)
	}
	return w.dropClaim(ctx, c)
}

// copyOf has the Gateway's labels and annotations, which istiod copies into pods,
// but for those that would make it another's, or the same Deployment's; and one
// listener, which no route names and no certificate is made for.
func copyOf(g *unstructured.Unstructured, name string) *unstructured.Unstructured {
	labels, annotations := maps.Clone(g.GetLabels()), maps.Clone(g.GetAnnotations())
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[mesh.RevLabel] = name
	for _, k := range []string{mesh.VersionAnnotation, "gateway.istio.io/name-override", "gateway.istio.io/service-account", "kubectl.kubernetes.io/last-applied-configuration"} {
		delete(annotations, k)
	}
	annotations[modelAnnotation] = g.GetName()
	infrastructure, _, _ := unstructured.NestedMap(g.Object, "spec", "infrastructure")
	if infrastructure == nil {
		infrastructure = map[string]any{}
	}
	infrastructure["parametersRef"] = map[string]any{"group": "", "kind": "ConfigMap", "name": name}
	class, _, _ := unstructured.NestedString(g.Object, "spec", "gatewayClassName")
	out := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": g.GetAPIVersion(), "kind": g.GetKind(),
		"spec": map[string]any{
			"gatewayClassName": class, "infrastructure": infrastructure,
			"listeners": []any{map[string]any{"name": "http", "port": int64(80), "protocol": "HTTP"}},
		},
	}}
	out.SetNamespace(g.GetNamespace())
	out.SetName(name)
	out.SetLabels(labels)
	out.SetAnnotations(annotations)
	return out
}

// deployed waits for what a revision's istiod deploys for a Gateway.
func (w *Writer) deployed(ctx context.Context, namespace, name, rev string) (*appsv1.Deployment, error) {
	api := w.Kube.AppsV1().Deployments(namespace)
	src := source[*appsv1.DeploymentList]{
		what: "deployments.apps", of: w.Kube, opts: metav1.ListOptions{LabelSelector: mesh.GatewayNameLabel + "=" + name}, list: api.List, watch: api.Watch,
	}
	var found *appsv1.Deployment
	err := await(ctx, "the istiod of "+rev, src, &appsv1.Deployment{}, func(list []*appsv1.Deployment) (bool, string, error) {
		for _, d := range list {
			if d.Spec.Template.Annotations[mesh.RevLabel] == rev {
				found = d.DeepCopy()
			}
		}
		return found != nil, "it has deployed nothing yet", nil
	})
	return found, err
}

// modelOf is what istiod's controller applied to the copy's Deployment, in the
// names of the Gateway's own.
func (w *Writer) modelOf(ctx context.Context, d *appsv1.Deployment, g *unstructured.Unstructured, st plan.Step, rev string) (*model, error) {
	ref := st.Workloads[0]
	own, err := w.Kube.AppsV1().Deployments(ref.Namespace).Get(ctx, ref.Name, reading())
	if err != nil {
		return nil, asking("get", "deployments.apps "+ref.Name, err)
	}
	applied, err := appsapply.ExtractDeployment(d, mesh.ControllerGateway)
	if err != nil {
		return nil, fmt.Errorf("reading what istiod made of a copy: %w", err)
	}
	out, err := renamed(applied, d, own, g)
	if err != nil {
		return nil, err
	}
	out.Spec.Replicas = nil
	label := st.Before[mesh.RevLabel]
	if rev == st.To {
		label = st.Last
	}
	asLabelled(out, g.GetName(), label)
	keepSelector(out, own)
	return &model{out}, nil
}

// asLabelled takes off what only the copy has, and gives the pods the Gateway's
// label as it is without serin. Where the Gateway's infrastructure names labels of
// its own, istiod copies none.
func asLabelled(out *appsapply.DeploymentApplyConfiguration, copied string, label *string) {
	for _, m := range []map[string]string{out.Annotations, out.Spec.Template.Annotations} {
		delete(m, modelAnnotation)
	}
	for _, m := range []map[string]string{out.Labels, out.Spec.Template.Labels} {
		switch {
		case m[mesh.RevLabel] != copied:
		case label == nil:
			delete(m, mesh.RevLabel)
		default:
			m[mesh.RevLabel] = *label
		}
	}
}

// renamed puts the Gateway's names in the place of the copy's, which occur in
// nothing else.
func renamed(applied *appsapply.DeploymentApplyConfiguration, d, own *appsv1.Deployment, g *unstructured.Unstructured) (*appsapply.DeploymentApplyConfiguration, error) {
	b, err := json.Marshal(applied)
	if err != nil {
		return nil, fmt.Errorf("writing a Deployment: %w", err)
	}
	uid := ""
	for _, o := range d.OwnerReferences {
		uid = string(o.UID)
	}
	was := []string{d.Name, own.Name, d.Labels[mesh.GatewayNameLabel], g.GetName()}
	if uid != "" {
		was = append(was, uid, string(g.GetUID()))
	}
	out := &appsapply.DeploymentApplyConfiguration{}
	if err := json.Unmarshal([]byte(strings.NewReplacer(was...).Replace(string(b))), out); err != nil {
		return nil, fmt.Errorf("reading a Deployment: %w", err)
	}
	if out.Spec == nil || out.Spec.Template == nil || out.Spec.Template.Spec == nil {
		return nil, refused("istiod's Deployment %s has no template of its making", d.Name)
	}
	account := own.Spec.Template.Spec.ServiceAccountName
	out.Spec.Template.Spec.ServiceAccountName = &account
	return out, nil
}

// keepSelector keeps a selector, which cannot change, as istiod itself does: it
// was another before 1.24.
func keepSelector(out *appsapply.DeploymentApplyConfiguration, own *appsv1.Deployment) {
	const old = "istio.io/gateway-name"
	if v := own.Spec.Selector.MatchLabels[old]; v != "" {
		out.Spec.Selector.MatchLabels = maps.Clone(own.Spec.Selector.MatchLabels)
		out.Spec.Template.Labels[old] = v
	}
}

// applyModel applies the model as istiod's own controller would: its fields are
// istiod's, before and after.
func (w *Writer) applyModel(ctx context.Context, st plan.Step, m *model) error {
	ref := st.Workloads[0]
	_, err := w.Kube.AppsV1().Deployments(ref.Namespace).Apply(ctx, m.deployment, metav1.ApplyOptions{FieldManager: mesh.ControllerGateway, Force: true})
	if err != nil {
		return asking("patch", "deployments.apps "+ref.Name, err)
	}
	return nil
}

// dropClaims takes away claims that no Gateway follows, and first the copies that
// were made under their tags.
func (w *Writer) dropClaims(ctx context.Context, st plan.Step) error {
	copies, err := w.Dynamic.Resource(gatewayResource()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("dropping claims: %w", asking("list", gatewayCRD, err))
	}
	for _, c := range st.Claims {
		for _, g := range copies.Items {
			if g.GetName() == c.Tag && g.GetAnnotations()[modelAnnotation] != "" {
				if err := w.dropCopy(ctx, g.GetNamespace(), c); err != nil {
					return fmt.Errorf("dropping claims: %w", err)
				}
			}
		}
		if err := w.dropClaim(ctx, c); err != nil {
			return fmt.Errorf("dropping claims: %w", err)
		}
	}
	return nil
}
