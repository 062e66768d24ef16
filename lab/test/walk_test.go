package test_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/test/walk"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// The walk-throughs of Istio's documentation, command by command, with serin alone
// and by a user with exactly the roles that serin prints; and the same by hand, with
// istioctl and Helm, in a second lab. Where a script says "same", both meshes are
// compared, object by object and field by field.
func TestWalkthrough(t *testing.T) {
	nightly(t)
	scripts, err := walk.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		t.Run(s.Name, func(t *testing.T) {
			ours, theirs := map[string][]string{}, map[string][]string{}
			t.Run("serin", func(t *testing.T) { walkOf(t, s).serin(s, ours) })
			if len(s.ByHand) == 0 {
				return
			}
			t.Run("by hand", func(t *testing.T) { walkOf(t, s).byHand(s, theirs) })
			if !t.Failed() {
				alike(t, s, theirs, ours)
			}
		})
	}
}

// alike compares both ways at each mark.
func alike(t *testing.T, s walk.Script, theirs, ours map[string][]string) {
	t.Helper()
	if !slices.Equal(slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(ours))) || len(ours) == 0 {
		t.Fatalf("compared are %v by hand and %v with serin", slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(ours)))
	}
	allowed, met := differences()[s.Name], map[string]bool{}
	for mark, is := range ours {
		keep(t, s.Name+"-"+mark+"-by-hand", theirs[mark])
		keep(t, s.Name+"-"+mark+"-serin", is)
		for _, line := range apart(mark, theirs[mark], is) {
			i := slices.IndexFunc(allowed, func(d difference) bool { return d.line.MatchString(line) })
			if i < 0 {
				t.Errorf("%.400s", line)
				continue
			}
			met[allowed[i].why] = true
		}
	}
	for _, d := range allowed {
		if !met[d.why] {
			t.Errorf("this difference is gone: %s", d.why)
		}
	}
}

// apart are the lines that only one of the two has.
func apart(mark string, theirs, ours []string) []string {
	var out []string
	for _, l := range theirs {
		if _, both := slices.BinarySearch(ours, l); !both {
			out = append(out, "- "+mark+": "+l)
		}
	}
	for _, l := range ours {
		if _, both := slices.BinarySearch(theirs, l); !both {
			out = append(out, "+ "+mark+": "+l)
		}
	}
	return out
}

// walker is a lab in which a walk-through is gone.
type walker struct {
	*world

	dir string // with the script's files
}

func walkOf(t *testing.T, s walk.Script) walker {
	t.Helper()
	w := walker{bareWorld(t, "1.27.0", "1.29.1"), t.TempDir()}
	if err := s.Write(w.dir, w.needs()); err != nil {
		t.Fatal(err)
	}
	for _, line := range s.Before {
		w.types(line)
	}
	return w
}

// needs is what the lab's meshes need.
func (w walker) needs() walk.World {
	return walk.World{
		Istiod: bookinfo.IstiodValues(), Gateway: bookinfo.GatewayValues(), Serin: w.world.serin, Charts: w.lab.ChartRepo(), Mesh: w.meshName(),
		Apply:   func(text string) error { return walk.Apply(w.t.Context(), w.cfg, text) },
		Types:   func(line string) error { w.types(line); return nil },
		Drained: func() error { return walk.Drained(w.t.Context(), w.kube) },
		Sample:  func(args ...string) error { return walk.Sample(w.t.Context(), w.kube, args...) },
	}
}

// serin goes the script's way.
func (w walker) serin(s walk.Script, marks map[string][]string) {
	t, ok := w.t.(*testing.T)
	if !ok {
		w.t.Fatalf("a walk-through is no %T", w.t)
	}
	needs := w.needs()
	var err error
	if needs.As, err = walk.Users(t.Context(), w.kube, w.world.serin, w.lab.Kubeconfig(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	needs.Same = func(mark string) { marks[mark] = w.mesh() }
	s.Run(t, needs)
	keep(t, s.Name+"-writes", w.wrote(walk.Upgrader))
	if did := w.wrote(walk.Viewer); len(did) > 0 {
		t.Errorf("who may only look has written: %v", did)
	}
}

// wrote are the kinds of what a user has changed, each with the verb.
func (w walker) wrote(user string) []string {
	w.t.Helper()
	f, err := os.Open(w.lab.AuditLog())
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []string
	for d := json.NewDecoder(f); ; {
		var e struct {
			Verb             string
			ImpersonatedUser struct{ Username string }
			RequestURI       string
			ObjectRef        struct{ APIGroup, Resource, Subresource string }
		}
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			slices.Sort(out)
			return slices.Compact(out)
		} else if err != nil {
			w.t.Fatal(err)
		}
		if e.ImpersonatedUser.Username != user || e.ObjectRef.APIGroup == "authorization.k8s.io" || e.ObjectRef.Subresource == "portforward" {
			continue // a question, and a way to look
		}
		if dry := strings.Contains(e.RequestURI, "dryRun="); !dry || user == walk.Viewer {
			out = append(out, e.Verb+" "+strings.Trim(e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")+"."+e.ObjectRef.APIGroup)
		}
	}
}

// byHand types what is typed without serin.
func (w walker) byHand(s walk.Script, marks map[string][]string) {
	w.t.Helper()
	for _, line := range s.ByHand {
		if mark, ok := strings.CutPrefix(line, "same "); ok {
			marks[mark] = w.mesh()
			continue
		}
		w.types(line)
	}
}

// keep writes what is compared where SERIN_WALK_OUT says, to be looked at.
func keep(t *testing.T, name string, lines []string) {
	t.Helper()
	if dir := os.Getenv("SERIN_WALK_OUT"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Error(err)
		}
	}
}
