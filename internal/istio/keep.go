package istio

import (
	"bytes"
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
)

// keepLive is a post-renderer that leaves to istiod what istiod owns.
//
// Charts before 1.28.10 and 1.29.6 render "failurePolicy: Ignore" into validators
// on each upgrade, while istiod has set it to Fail (R§5). Applied on the server
// that is a conflict with istiod's field, and the upgrade fails half way; merged
// on the client it opens validation until istiod notices. Forcing would take the
// field from istiod. Later charts leave the field out of an upgrade, and so does
// this: only where the live object says Fail.
type keepLive struct {
	fails func(validator string) (bool, error)
}

// Run takes the field out of the validators that are live with Fail.
func (k keepLive) Run(in *bytes.Buffer) (*bytes.Buffer, error) { return withoutPolicy(in, k.fails) }

// keeping binds a request's context: Helm's interface has none.
func (h *Helm) keeping(ctx context.Context) keepLive {
	return keepLive{fails: func(validator string) (bool, error) { return h.fails(ctx, validator) }}
}

// liveFails asks the cluster for a validator.
func liveFails(ctx context.Context, cfg *rest.Config, validator string) (bool, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return false, fmt.Errorf("making a client: %w", err)
	}
	v, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, validator, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading validatingwebhookconfiguration %s: %w", validator, err)
	}
	for _, w := range v.Webhooks {
		if w.FailurePolicy == nil || *w.FailurePolicy != admissionv1.Fail {
			return false, nil
		}
	}
	return len(v.Webhooks) > 0, nil
}

// withoutPolicy drops "failurePolicy: Ignore" from the validators that fails names.
func withoutPolicy(in *bytes.Buffer, fails func(name string) (bool, error)) (*bytes.Buffer, error) {
	raw := in.Bytes()
	nodes, err := kio.FromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the rendered objects: %w", err)
	}
	changed := false
	for _, n := range nodes {
		if n.GetKind() != "ValidatingWebhookConfiguration" {
			continue
		}
		ours, err := fails(n.GetName())
		if err != nil {
			return nil, err
		}
		if !ours {
			continue
		}
		dropped, err := dropIgnore(n)
		if err != nil {
			return nil, fmt.Errorf("leaving out failurePolicy of %s: %w", n.GetName(), err)
		}
		changed = changed || dropped
	}
	if !changed {
		return bytes.NewBuffer(raw), nil
	}
	out, err := kio.StringAll(nodes)
	if err != nil {
		return nil, fmt.Errorf("writing the rendered objects: %w", err)
	}
	return bytes.NewBufferString(out), nil
}

// dropIgnore takes "failurePolicy: Ignore" out of a validator's entries.
func dropIgnore(validator *kyaml.RNode) (bool, error) {
	hooks, err := validator.Pipe(kyaml.Lookup("webhooks"))
	if err != nil || hooks == nil {
		return false, err
	}
	dropped := false
	err = hooks.VisitElements(func(w *kyaml.RNode) error {
		if p, err := w.GetString("failurePolicy"); err == nil && p == string(admissionv1.Ignore) {
			dropped = true
			return w.PipeE(kyaml.Clear("failurePolicy"))
		}
		return nil
	})
	return dropped, err
}
