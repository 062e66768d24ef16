package shadow_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/shadow"
)

func standing() shadow.Facts {
	return shadow.Facts{
		Istiods: []shadow.Certified{
			{Revision: "default", Pod: "istiod-a", Root: "r1"}, {Revision: "1-29-1", Pod: "istiod-1-29-1-a", Root: "r1"}, {Revision: "1-29-1", Pod: "istiod-1-29-1-b", Root: "r1"},
		},
		Trusted:   map[string][]string{"istio-system": {"r1"}, "shop": {"r0", "r1"}},
		Needs:     []shadow.Need{{Object: "shop/cart", Asks: mesh.Room{CPU: 110, Memory: 160}, Nodes: 3, Fit: 1}},
		Reads:     []time.Duration{time.Millisecond, 5 * time.Second, 2 * time.Millisecond},
		Admission: []time.Duration{30 * time.Millisecond},
		Injection: shadow.Pace{New: []time.Duration{20 * time.Millisecond}, Old: []time.Duration{10 * time.Millisecond}},
		Answers:   shadow.Pace{New: []time.Duration{60 * time.Millisecond}, Old: []time.Duration{40 * time.Millisecond}},
	}
}

// What a move stands on is judged before it begins, and one thing at a time is planted.
func TestStands(t *testing.T) {
	const sec = time.Second
	for _, tt := range []struct {
		name  string
		plant func(*shadow.Facts)
		class shadow.Class
		about shadow.About
	}{
		{"nothing is wrong, one slow read among quick ones included", func(*shadow.Facts) {}, "", ""},
		{"the new revision's root is another, that the mesh knows", func(f *shadow.Facts) {
			f.Istiods[1].Root, f.Istiods[2].Root = "r0", "r0"
			f.Trusted["istio-system"] = []string{"r0", "r1"}
		}, shadow.Dangerous, shadow.Certificates},
		{"one of the new revision's istiods has another root", func(f *shadow.Facts) { f.Istiods[2].Root = "" }, shadow.Dangerous, shadow.Certificates},
		{"the old revision's root is no longer the mesh's", func(f *shadow.Facts) { f.Istiods[0].Root = "" }, shadow.Dangerous, shadow.Certificates},
		{"a namespace does not have the root", func(f *shadow.Facts) { f.Trusted["shop"] = []string{"r0"} }, shadow.Dangerous, shadow.Certificates},
		{"a pod fits on no node", func(f *shadow.Facts) { f.Needs[0].Fit = 0 }, shadow.Unexplained, shadow.Space},
		{"an istiod fits on no node", func(f *shadow.Facts) { f.Waiting = []string{"istiod-1-29-1-b"} }, shadow.Unexplained, shadow.Space},
		{"the API server is slow", func(f *shadow.Facts) { f.Reads = []time.Duration{sec, 2 * sec, sec} }, shadow.Unexplained, shadow.Server},
		{"pods are admitted too late", func(f *shadow.Facts) { f.Admission = []time.Duration{6 * sec} }, shadow.Dangerous, shadow.Server},
		{"the new istiod injects slowly", func(f *shadow.Facts) { f.Injection.New = []time.Duration{2 * sec} }, shadow.Unexplained, shadow.Istiods},
		{"the new istiod injects almost too late", func(f *shadow.Facts) { f.Injection.New = []time.Duration{6 * sec} }, shadow.Dangerous, shadow.Istiods},
		{"both inject slowly: the machine is busy", func(f *shadow.Facts) {
			f.Injection = shadow.Pace{New: []time.Duration{2 * sec}, Old: []time.Duration{sec}}
		}, "", ""},
		{"the new istiod answers proxies slowly", func(f *shadow.Facts) { f.Answers.New = []time.Duration{5 * sec} }, shadow.Unexplained, shadow.Istiods},
		{"what could not be looked at is not held to be well", func(f *shadow.Facts) {
			f.Unseen = map[shadow.About]string{shadow.Space: "nodes: forbidden"}
		}, shadow.Unexplained, shadow.Space},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := standing()
			tt.plant(&f)
			got := shadow.Stands(shadow.Question{Sides: sides()}, f)
			if tt.class == "" {
				if len(got) > 0 {
					t.Errorf("got %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Class != tt.class || got[0].About != tt.about || got[0].Said == "" {
				t.Errorf("got %+v", got)
			}
			p := shadow.Prove(shadow.Question{Sides: sides()}, shadow.Checked{Ground: got})
			if d := cmp.Diff(tt.class, p.Verdict); d != "" {
				t.Error(d)
			}
		})
	}
}
