package plan_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/plan"
)

// The page of the request names every field that there is, and none that is not.
func TestRequestPage_namesEveryField(t *testing.T) {
	page := requestPage(t)
	fields := map[string]bool{}
	fieldsOf(reflect.TypeFor[plan.Request](), "", fields)
	rows := map[string]bool{}
	for line := range strings.SplitSeq(page, "\n") {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
			rows[name[1]] = true
		}
	}
	for f := range fields {
		same := strings.NewReplacer("probes[].", "probe.", "waves[].windows[].", "windows[].").Replace(f)
		if !rows[same] {
			t.Errorf("docs/guides/request.md has no row for %s", f)
		}
	}
	for r := range rows {
		if !fields[r] {
			t.Errorf("docs/guides/request.md has a row for %s, which does not exist", r)
		}
	}
}

// Its example can be read to the last field, and planned.
func TestRequestPage_hasAnExampleThatIsPlanned(t *testing.T) {
	_, rest, _ := strings.Cut(requestPage(t), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/guides/request.md has no example")
	}
	var r plan.Request
	if err := yaml.UnmarshalStrict([]byte(example), &r); err != nil {
		t.Fatal(err)
	}
	p := plan.Build(meshtest.Bookinfo("1.27.0").Snapshot(), r)
	for _, f := range p.Findings {
		if f.Severity == plan.Mandatory || f.Severity == plan.Overridable {
			t.Errorf("%+v", f)
		}
	}
	if len(p.Steps) == 0 {
		t.Error("it has no steps")
	}
}

func requestPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/guides/request.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fieldsOf adds the JSON names of a struct's fields, and of what is nested in them.
// Of an operation the command line is the reference.
func fieldsOf(of reflect.Type, under string, into map[string]bool) {
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind, sep := f.Type, "."
		if kind == reflect.TypeFor[*plan.Operation]() {
			continue
		}
		into[under+name] = true
		for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
			if kind.Kind() == reflect.Slice {
				sep = "[]."
			}
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.Struct {
			fieldsOf(kind, under+name+sep, into)
		}
	}
}
