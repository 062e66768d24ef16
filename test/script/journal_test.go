package script_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/run"
)

// Save keeps a run in a file.
func (w world) Save(_ context.Context, r run.Run) error {
	if err := os.MkdirAll(filepath.Join(w.dir, "runs"), 0o750); err != nil {
		return err
	}
	w.save("runs/"+r.ID+".yaml", r)
	return nil
}

// Load reads a run.
func (w world) Load(_ context.Context, id string) (run.Run, error) {
	var r run.Run
	err := yaml.Unmarshal([]byte(w.read("runs/"+id+".yaml")), &r)
	return r, err
}

// List reads all runs, the newest first.
func (w world) List(ctx context.Context) ([]run.Run, error) {
	files, err := filepath.Glob(filepath.Join(w.dir, "runs", "*.yaml"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	slices.Reverse(files)
	var out []run.Run
	for _, f := range files {
		r, err := w.Load(ctx, strings.TrimSuffix(filepath.Base(f), ".yaml"))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Ask leaves a wish for the run.
func (w world) Ask(ctx context.Context, id string, wish run.Wish) (int64, error) {
	last, err := w.Wish(ctx, id, 0)
	if err != nil {
		return 0, err
	}
	wish.Seq = last.Seq + 1
	w.save("runs/"+id+".wish", wish)
	return wish.Seq, nil
}

// Wish is the last wish.
func (w world) Wish(_ context.Context, id string, _ int64) (run.Wish, error) {
	var wish run.Wish
	err := yaml.Unmarshal([]byte(w.read("runs/"+id+".wish")), &wish)
	return wish, err
}

// Holder is who the file lease names.
func (w world) Holder(context.Context) (string, error) { return w.read("lease"), nil }

// forbidden is the API server's refusal, as the client gives it to serin.
func forbidden(text string) error {
	gr := schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"}
	err := apierrors.NewForbidden(gr, "", fmt.Errorf("%s", text))
	err.ErrStatus.Message = gr.String() + " is forbidden: " + text
	err.ErrStatus.Status = metav1.StatusFailure
	return fmt.Errorf("observing injectors: %w", err)
}

// Acquire takes the file lease.
func (w world) Acquire(_ context.Context, holder string) (func(), error) {
	if other := w.read("lease"); other != "" {
		return nil, fmt.Errorf("%w: %s drives a run on this mesh", drive.ErrRefused, other)
	}
	w.write("lease", holder)
	return func() { _ = os.Remove(filepath.Join(w.dir, "lease")) }, nil
}
