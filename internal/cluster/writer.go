package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// Releases changes what Helm owns, through Helm. Each may be repeated after a crash.
type Releases interface {
	// Get returns a release with the user's values, which may hold secrets.
	Get(ctx context.Context, namespace, name string) (mesh.Release, bool, error)
	// Install makes a release; like names one of the namespace whose way of applying it takes.
	Install(ctx context.Context, want mesh.Release, like string) error
	// InstallHeld makes a gateway's release with the values of the one named like, want's over
	// them, its pods held out of their Service by the readiness gate.
	InstallHeld(ctx context.Context, want mesh.Release, like string) error
	// Upgrade brings a release to a chart version and exactly these values; earlier
	// are attempts of ours that may have been left unfinished.
	Upgrade(ctx context.Context, want mesh.Release, earlier ...mesh.Release) error
	// UpgradeResting is Upgrade of a gateway whose Deployment has been scaled: the number of
	// its pods stays what it is.
	UpgradeResting(ctx context.Context, want mesh.Release, earlier ...mesh.Release) error
	// Forget sets aside what an unfinished upgrade to want left in Helm's storage.
	Forget(ctx context.Context, want mesh.Release) error
	// Uninstall removes a release, or what is left of one.
	Uninstall(ctx context.Context, namespace, name string) error
	// Keep sets a release's record aside, and Restore installs it again from that,
	// the injector named off switched off.
	Keep(ctx context.Context, namespace, name string) error
	Restore(ctx context.Context, namespace, name, off string) error
	// Kept returns what Keep has set aside, without its values, and what it would hold.
	Kept(ctx context.Context, namespace, name, off string) (mesh.Release, []unstructured.Unstructured, error)
	// Objects lists what a release holds; Note is the object's tag, if it is one's.
	Objects(ctx context.Context, namespace, name string) ([]mesh.Object, error)
	// CRDs names the definitions that a release would bring.
	CRDs(ctx context.Context, want mesh.Release) ([]string, error)
	// Manifest is what a release would hold; server has the API server accept it too.
	Manifest(ctx context.Context, want mesh.Release, server bool) ([]byte, error)
	// Operator renders a component of an IstioOperator, Base or Pilot, with istioctl's owner labels.
	Operator(ctx context.Context, document map[string]any, version, component string) ([]unstructured.Unstructured, error)
	// RevisionValues are the old revision's values, cleaned, with over on top (S-15, S-16).
	RevisionValues(old, over map[string]any, revision string, replicas int) map[string]any
}

// Writer carries out steps. It writes as field manager serin, or through Releases.
type Writer struct {
	Clients
	releases  Releases
	observer  drive.Reader // removal looks again at what a gate has seen
	namespace string       // Istio's
	comparer  Comparer     // nil: no managed Gateway moves forth
	paces     Paces
	notes     notes
}

// Comparer sets what two revisions that both claim a Gateway give its proxies side by
// side, once both answer fully: the one that serves them, and the step's for a pod of
// the template. What may be is accepted by its pattern.
type Comparer interface {
	Compare(ctx context.Context, st plan.Step, t corev1.PodTemplateSpec, accepted []string) (gate.Foresight, error)
}

// Compares has the Writer ask before it replaces a managed Gateway's pods.
func (w *Writer) Compares(c Comparer) *Writer {
	w.comparer = c
	return w
}

// NewWriter returns a Writer of the mesh whose control planes live in istioNamespace.
func NewWriter(cfg *rest.Config, istioNamespace string, r Releases, o drive.Reader) (*Writer, error) {
	c, err := NewClients(cfg)
	if err != nil {
		return nil, err
	}
	return WriterOf(c, istioNamespace, r, o), nil
}

// WriterOf returns a Writer that uses these clients.
func WriterOf(c Clients, istioNamespace string, r Releases, o drive.Reader) *Writer {
	return &Writer{Clients: c, releases: r, observer: o, namespace: istioNamespace, paces: DefaultPaces()}
}

// Apply carries out a step. It is idempotent. What stands in Git is never written,
// whoever asks (S-45).
func (w *Writer) Apply(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error { //nolint:cyclop,funlen // a line for each kind
	if st.ByGit() {
		return fmt.Errorf("applying step %d: %w", st.Number, refused("it is %s's to make: commit it there", st.Git))
	}
	switch st.Kind {
	case plan.PinDefault:
		return w.pin(ctx, st, before)
	case plan.UpgradeBase:
		return w.upgradeBase(ctx, st, p, before)
	case plan.InstallRevision:
		return w.install(ctx, st, p, before)
	case plan.MoveNamespace:
		return w.label(ctx, st.Namespace, st.After)
	case plan.RestoreLabels:
		return w.labelBack(ctx, st.Namespace, st.After)
	case plan.FirstPods:
		return w.firstPods(ctx, st, p)
	case plan.Restart:
		return w.restart(ctx, st, p, st.To)
	case plan.MoveTag:
		return w.moveTag(ctx, st, before)
	case plan.RemoveRevision:
		return w.remove(ctx, st, before)
	case plan.SetTag:
		return w.setTag(ctx, st, before)
	case plan.RemoveTag:
		return w.removeTag(ctx, st)
	case plan.InstallChart:
		return w.installChart(ctx, st)
	case plan.RemoveChart:
		return w.removeChart(ctx, st)
	case plan.RestoreRevision:
		return w.restoreRevision(ctx, st)
	case plan.Surge:
		return w.surgePods(ctx, st)
	case plan.RemoveRest:
		return w.removeRest(ctx, before)
	case plan.AddGateway:
		return w.addGateway(ctx, st)
	case plan.OpenGateway:
		return w.openGateway(ctx, st, *st.Pods)
	case plan.ScaleGateway:
		return w.scaleGateway(ctx, st, *st.Pods)
	case plan.RenewGateway:
		return w.renewGateway(ctx, st)
	case plan.MoveGateway:
		return w.moveManaged(ctx, st, p)
	case plan.ReturnGateway:
		return w.returnManaged(ctx, st)
	case plan.RenderGateway:
		return w.renderGateway(ctx, st, p, before)
	case plan.PutBackGateway:
		return w.putBackGateway(ctx, st, st.From, st.To)
	case plan.DropClaims:
		return w.dropClaims(ctx, st)
	case plan.DropTelemetry:
		return w.dropTelemetries(ctx, st)
	}
	return fmt.Errorf("applying step %d: %w: there is no deed for kind %q", st.Number, drive.ErrRefused, st.Kind)
}

// Revert takes a step back. It is idempotent, and right also where the step was
// carried out in part or not at all.
func (w *Writer) Revert(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error { //nolint:cyclop,funlen // a line for each kind
	if st.ByGit() {
		return fmt.Errorf("reverting step %d: %w", st.Number, refused("it is %s's to take back: commit it there", st.Git))
	}
	if err := w.rollsNoGateway(ctx, st, p, before); err != nil {
		return err
	}
	switch st.Kind {
	case plan.PinDefault:
		return w.unpin(ctx, st, before)
	case plan.UpgradeBase:
		return w.leaveBase(ctx, st, before)
	case plan.InstallRevision:
		return w.uninstall(ctx, st, p, before)
	case plan.MoveNamespace:
		return w.labelBack(ctx, st.Namespace, st.Before)
	case plan.RestoreLabels:
		return w.label(ctx, st.Namespace, st.Before)
	case plan.FirstPods, plan.Restart:
		return w.restart(ctx, st, p, st.From)
	case plan.MoveTag:
		return w.moveTagBack(ctx, st, before)
	case plan.RemoveRevision:
		return w.reinstall(ctx, st, before)
	case plan.SetTag:
		return w.unsetTag(ctx, st, before)
	case plan.RemoveTag:
		return w.restoreTag(ctx, st, before)
	case plan.InstallChart:
		return w.uninstallChart(ctx, st, before)
	case plan.RemoveChart:
		return w.restoreChart(ctx, st)
	case plan.RestoreRevision:
		return w.unrestoreRevision(ctx, st, p, before)
	case plan.Surge:
		return w.unsurge(ctx, st)
	case plan.RemoveRest:
		return w.restoreRest(ctx, before)
	case plan.AddGateway:
		return w.dropGateway(ctx, st)
	case plan.OpenGateway:
		return w.openGateway(ctx, st, plan.Pods{From: st.Pods.To, To: st.Pods.From})
	case plan.ScaleGateway:
		return w.scaleGateway(ctx, st, plan.Pods{From: st.Pods.To, To: st.Pods.From})
	case plan.RenewGateway:
		return w.unrenewGateway(ctx, st, before)
	case plan.MoveGateway:
		return w.moveManagedBack(ctx, st)
	case plan.ReturnGateway:
		return w.takeManaged(ctx, st)
	case plan.RenderGateway, plan.PutBackGateway:
		return w.putBackGateway(ctx, st, st.To, st.From)
	case plan.DropClaims, plan.DropTelemetry:
		return nil // nothing follows them
	}
	return fmt.Errorf("reverting step %d: %w: there is no deed for kind %q", st.Number, drive.ErrRefused, st.Kind)
}

// refused is an error that trying again would not mend.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", drive.ErrRefused, fmt.Sprintf(format, args...))
}

func patching() metav1.PatchOptions  { return metav1.PatchOptions{FieldManager: Manager} }
func updating() metav1.UpdateOptions { return metav1.UpdateOptions{FieldManager: Manager} }
func creating() metav1.CreateOptions { return metav1.CreateOptions{FieldManager: Manager} }
func reading() metav1.GetOptions     { return metav1.GetOptions{} }
