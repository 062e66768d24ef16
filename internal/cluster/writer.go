package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// manager is the field manager of everything serin writes itself (law 5).
const manager = "serin"

// ErrRefused is a deed that must not be done as the cluster is now.
var ErrRefused = errors.New("refused")

// Releases changes what Helm owns, through Helm. All are idempotent.
type Releases interface {
	// Get returns a release with the user's values, which may hold secrets.
	Get(ctx context.Context, namespace, name string) (mesh.Release, bool, error)
	// Install installs a release; like names the one it stands beside.
	Install(ctx context.Context, want mesh.Release, like string) error
	Upgrade(ctx context.Context, want mesh.Release) error
	Uninstall(ctx context.Context, namespace, name string) error
	// RevisionValues are the old revision's values, cleaned, with over on top (S-15, S-16).
	RevisionValues(old, over map[string]any, revision string, replicas int) map[string]any
}

// Observer sees the mesh: removal checks again what a gate has seen.
type Observer interface {
	Observe(ctx context.Context) (mesh.Snapshot, error)
}

// Writer carries out steps. Make one with NewWriter.
type Writer struct {
	kube      kubernetes.Interface
	releases  Releases
	observer  Observer
	namespace string
}

// NewWriter returns a Writer for the cluster whose control planes live in istioNamespace.
func NewWriter(cfg *rest.Config, istioNamespace string, r Releases, o Observer) (*Writer, error) {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return NewWriterFor(kube, istioNamespace, r, o), nil
}

// NewWriterFor returns a Writer over a client that exists.
func NewWriterFor(kube kubernetes.Interface, istioNamespace string, r Releases, o Observer) *Writer {
	return &Writer{kube: kube, releases: r, observer: o, namespace: istioNamespace}
}

// Apply carries out a step. It is idempotent.
func (w *Writer) Apply(ctx context.Context, st plan.Step, p plan.Plan, before mesh.Snapshot) error {
	switch st.Kind {
	case plan.PinDefault:
		return w.pin(ctx, st)
	case plan.UpgradeBase:
		return w.upgradeBase(ctx, st, before)
	case plan.InstallRevision:
		return w.install(ctx, st, p, before)
	case plan.MoveNamespace, plan.RestoreLabels:
		return w.label(ctx, st.Namespace, st.After)
	case plan.Restart:
		return w.restart(ctx, st, st.To)
	case plan.MoveTag:
		return w.moveTag(ctx, st, st.To, before)
	case plan.RemoveRevision:
		return w.remove(ctx, st, before)
	}
	return fmt.Errorf("applying step %d: no deed for kind %q", st.Number, st.Kind)
}

// Revert takes a step back. It is idempotent, and right also where the step was
// applied in part.
func (w *Writer) Revert(ctx context.Context, st plan.Step, _ plan.Plan, before mesh.Snapshot) error {
	switch st.Kind {
	case plan.PinDefault:
		return w.unpin(ctx, before)
	case plan.UpgradeBase:
		return nil // the CRDs stay: they are additive, and a downgrade could strand stored objects (R§13)
	case plan.InstallRevision:
		return w.uninstall(ctx, st.To, st.Target)
	case plan.MoveNamespace, plan.RestoreLabels:
		return w.label(ctx, st.Namespace, st.Before)
	case plan.Restart:
		return w.restart(ctx, st, st.From)
	case plan.MoveTag:
		return w.moveTag(ctx, st, st.From, before)
	case plan.RemoveRevision:
		return fmt.Errorf("taking back the removal of %s: %w: the control plane is gone", st.From, ErrRefused)
	}
	return fmt.Errorf("reverting step %d: no deed for kind %q", st.Number, st.Kind)
}

// poll asks until ok says yes, ctx ends or an error is final. what is for the error.
func poll(ctx context.Context, what string, ok func(ctx context.Context) (bool, string, error)) error {
	seen := ""
	err := wait.PollUntilContextCancel(ctx, 500*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		done, now, err := ok(ctx)
		if now != "" {
			seen = now
		}
		return done, err
	})
	if err != nil {
		return fmt.Errorf("waiting for %s (%s): %w", what, seen, err)
	}
	return nil
}

func options() metav1.PatchOptions { return metav1.PatchOptions{FieldManager: manager} }
