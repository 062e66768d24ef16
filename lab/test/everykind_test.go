package test_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/shadow"
)

// What two releases give the proxies of a mesh with every kind of object of Istio's
// and of the Gateway API's is compared, and each pattern is explained by a rule that
// names its source. The page of it goes to SERIN_PAGES, where that is set.
func TestDiff_ofAMeshWithEveryKindEachPatternIsExplained(t *testing.T) {
	nightly(t)
	for _, tt := range []struct{ from, to, revision string }{{"1.27.0", "1.29.1", "1-29-1"}, {"1.26.0", "1.27.0", "1-27-0"}} {
		t.Run(tt.from+" to "+tt.to, func(t *testing.T) {
			w := newWorld(t, tt.from, tt.to)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			w.apply(ctx, gatewayDefinitions(t))
			w.plant("prove-mesh.yaml")
			w.plant("prove-kinds.yaml")
			w.run(0, "install", "istiod", "--version", tt.to, "--revision", tt.revision, "--from-revision", "default", "--charts", w.lab.ChartRepo())
			var r shadow.Report
			said := ""
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
				out, _ := w.command("diff", "--all", "-r", tt.revision, "-o", "json").Output() // its exit code is the verdict's
				r, said = shadow.Report{}, string(out)
				if json.Unmarshal(out, &r) == nil && odd(r) == "" {
					break
				}
			}
			code, text := w.ran("diff", "--all", "-r", tt.revision)
			if wrong := odd(r); wrong != "" {
				t.Errorf("%s: exit code %d, %d workloads:\n%s", wrong, code, r.Workloads, said)
			}
			if !strings.Contains(text, "expected") && len(r.Differences) > 0 {
				t.Errorf("it does not say that all is expected:\n%s", text)
			}
			page, _ := w.command("diff", "--all", "-r", tt.revision, "-o", "html").Output()
			if dir := os.Getenv("SERIN_PAGES"); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, "diff-"+tt.from+"-"+tt.to+".html"), page, 0o600); err != nil {
					t.Error(err)
				}
			}
			if !strings.Contains(string(page), "</html>") {
				t.Errorf("the page is cut off:\n%s", page)
			}
		})
	}
}

// odd says what is not as it should be: all compared but the Gateway that is not the
// new revision's yet, and each pattern explained.
func odd(r shadow.Report) string {
	if r.Workloads < 7 {
		return fmt.Sprintf("%d workloads were compared", r.Workloads)
	}
	for _, u := range r.Unasked {
		if u.Workload != "default/edge-istio" || !strings.Contains(u.Why, "59959") {
			return u.Workload + " was not compared: " + u.Why
		}
	}
	for _, d := range r.Differences {
		if d.Class != shadow.Expected || d.Rule == "" || d.Source == "" || d.Link == "" {
			return d.Pattern() + " is not explained"
		}
	}
	return ""
}
