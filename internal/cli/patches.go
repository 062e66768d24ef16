package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/serin-mesh/serin/internal/gitops"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/view"
)

// asPatches is the -o that writes folders to commit.
const asPatches = "patches"

// makePatches plans, shows the plan, and writes a folder a step. Nothing is
// written before everything that is to be written is known.
func (a *app) makePatches(ctx context.Context, req planRequest, dir string) error {
	pl, s, err := a.planned(ctx, req.request)
	if err != nil {
		return err
	}
	if err := a.tryOperator(ctx, pl, s); err != nil {
		return err
	}
	if err := view.Plan(a.io.Out, pl, "commit what is in "+dir+", step by step, beside serin apply "+filepath.Join(dir, gitops.PlanFile)); err != nil {
		return err
	}
	if blocked, _ := view.Blocking(pl.Findings); blocked > 0 {
		return a.say(exitRefused, "%s was not written", dir)
	}
	former, err := formerFiles(dir)
	if err != nil {
		return err
	}
	contents := map[int]plan.Content{}
	for _, st := range pl.Steps {
		if contents[st.Number], err = a.world.Content(ctx, a.target, Rendering{Plan: pl, Step: st, Before: s}); err != nil {
			return err
		}
	}
	kept, err := planBytes(pl)
	if err != nil {
		return err
	}
	files, err := gitops.Files(pl, contents, kept)
	if err != nil {
		return err
	}
	if err := writeFolder(dir, former, files); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	return a.say(exitOK, "%d files in %s; the order and what to do with them: %s", len(files), dir, filepath.Join(dir, "README.md"))
}

// planBytes is the plan as a file, nil where its request holds a secret.
func planBytes(pl plan.Plan) ([]byte, error) {
	for _, values := range []map[string]any{pl.Request.Values, pl.Request.Operator} {
		if len(values) > 0 && !reflect.DeepEqual(mesh.Masked(values), values) {
			return nil, nil
		}
	}
	var b bytes.Buffer
	err := view.Encode(&b, view.YAML, pl)
	return b.Bytes(), err
}

// formerFiles are those that serin wrote into the folder before. One that holds
// anything and is not serin's own is refused.
func formerFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking into %s: %w", dir, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, gitops.IndexFile)) //nolint:gosec // the user names the folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refused("%s is not empty, and serin has not written it: it has no %s\n  remedy: name an empty folder, or one that is not there yet", dir, gitops.IndexFile)
	}
	if err != nil {
		return nil, fmt.Errorf("looking into %s: %w", dir, err)
	}
	index, err := gitops.ReadIndex(b)
	if err != nil {
		return nil, refused("%s is not empty, and serin has not written it: %w\n  remedy: name an empty folder, or one that is not there yet", dir, err)
	}
	return append(index.Files, gitops.IndexFile), nil
}

// writeFolder takes away what serin wrote before, and nothing else, and writes anew.
func writeFolder(dir string, former []string, files []gitops.File) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // no name in an index leads out of it
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, name := range former {
		if err := root.Remove(filepath.FromSlash(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = root.Remove(filepath.Dir(filepath.FromSlash(name))) // a step's folder, once it is empty
	}
	for _, f := range files {
		name := filepath.FromSlash(f.Path)
		if err := root.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return err
		}
		if err := root.WriteFile(name, f.Data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
