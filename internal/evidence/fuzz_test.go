package evidence_test

import (
	"os"
	"testing"

	"github.com/serin-mesh/serin/internal/evidence"
)

// FuzzAnswers: whatever an istiod or a proxy answers, it is read or is an error.
func FuzzAnswers(f *testing.F) {
	for _, name := range []string{"syncz-both.json", "syncz-fields.json", "syncz-resources.json"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, s := range []string{`a="b",c="d\\\n"} 3`, `} 1e9 1`, `a="`, "[null]", `[{"cluster_id": 1}]`, `{"version": {}}`, "1.29.1-abc-Clean"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if labels, v, err := evidence.ParseSample(text); err == nil && (labels == nil || v < 0) {
			t.Errorf("%q: %v %v", text, labels, v)
		}
		_, _ = evidence.ParseConnections([]byte(text))
		_, _ = evidence.ParseVersion(text)
	})
}
