package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

// A commit is noticed when it comes, another namespace's is not, and a person who
// waits for nothing is told so after a while. S-45.
func TestS45_theWatcherTellsOfTheStepsOwnObjects(t *testing.T) {
	w := newWorld(t, namespace("shop"), namespace("other"))
	watcher := cluster.WatcherOf(w.Clients, istioSystem)
	t.Cleanup(watcher.Close)
	st := plan.Step{Number: 4, Kind: plan.MoveNamespace, Namespace: "shop"}
	changed := func(d time.Duration) bool {
		t.Helper()
		yes, err := watcher.Changed(t.Context(), st, d)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if !changed(0) {
		t.Error("the first look must not wait")
	}
	if !changed(10 * time.Second) { // the list with which a watch begins
		t.Error("the watch has not begun")
	}
	for changed(200 * time.Millisecond) { // the fake tells of every namespace at the beginning, whatever is selected
	}
	patch := []byte(`{"metadata":{"labels":{"istio.io/rev":"1-29-1"}}}`)
	namespaces := w.Metadata.Resource(cluster.NamespaceResource())
	if _, err := namespaces.Patch(t.Context(), "shop", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if !changed(10 * time.Second) {
		t.Error("the commit was not noticed")
	}
	if changed(50 * time.Millisecond) {
		t.Error("one change was told twice")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := watcher.Changed(ended, st, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	st.Number = 5
	if !changed(0) {
		t.Error("the first look of the next step must not wait")
	}
}

func TestS45_theWriterRefusesWhatIsGits(t *testing.T) {
	w := newWorld(t, namespace("shop"))
	writer := cluster.WriterOf(w.Clients, istioSystem, nil, nil)
	s, err := w.reader().Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	label := "1-29-1"
	for _, k := range plan.Kinds() {
		st := plan.Step{Number: 1, Kind: k, Namespace: "shop", After: map[string]*string{"istio.io/rev": &label}, Git: mesh.Owner{Kind: mesh.OwnerArgoCD}}
		if err := writer.Apply(t.Context(), st, plan.Plan{}, s); !errors.Is(err, drive.ErrRefused) {
			t.Errorf("%s was applied: %v", k, err)
		}
		if err := writer.Revert(t.Context(), st, plan.Plan{}, s); !errors.Is(err, drive.ErrRefused) {
			t.Errorf("%s was reverted: %v", k, err)
		}
	}
}
