package cli //nolint:testpackage // the parsers are not for others

import (
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/serin-mesh/serin/internal/plan"
)

func TestReadYAML_oneDocument(t *testing.T) {
	for text, want := range map[string]string{
		"to: 1.29.1\n": "", "---\nto: 1.29.1\n---\n": "", "": "",
		"to: 1.29.1\n---\npace: 2\n": "second document", "to: a\nto: b\n": "already", "evil: 1": "unknown field",
	} {
		var r plan.Request
		err := readYAML([]byte(text), &r)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzReadYAML: whatever a file holds, it is a plan, a request and values, or an error.
func FuzzReadYAML(f *testing.F) {
	for _, seed := range []string{"", "to: 1.29.1", "a: &a [*a]", "- a", "a: b: c", "apiVersion: serin.dev/v1alpha1\nkind: Plan\nsteps: [{number: 1}]", "a: 1\n---\nb: 2"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		var (
			p plan.Plan
			r plan.Request
			v map[string]any
		)
		if readYAML([]byte(text), &p) == nil {
			_ = plan.Verify(p) // it must end, too
		}
		_, _ = readYAML([]byte(text), &r), readYAML([]byte(text), &v)
	})
}

// FuzzNames: whatever is typed for a pod or a thing to explain, it has a name or is refused.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"", "a", "a.b", "deployment/a.b", "/", ".", "pod/", "tag/x.y", "a/b/c"} {
		f.Add(seed)
	}
	a := &app{target: Target{Config: genericclioptions.NewConfigFlags(false)}}
	f.Fuzz(func(t *testing.T, arg string) {
		if p, err := a.parsePod(arg); err == nil && (p.name == "" || p.namespace == "") {
			t.Errorf("%q: %+v", arg, p)
		}
		if q, err := a.query(arg); err == nil && q.Name == "" {
			t.Errorf("%q: %+v", arg, q)
		}
	})
}
