package test_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// prechecked is what serin precheck says, as a program reads it.
type prechecked struct {
	Clear    bool `json:"clear"`
	Findings []struct {
		Code, Severity, Object, Reason, Remedy, Istio, Link string
	} `json:"findings"`
	Notes []struct{ Code, Answer, Why, Source string } `json:"notes"`
}

func (w *world) precheck(args ...string) prechecked {
	w.t.Helper()
	var out, talk bytes.Buffer
	cmd := w.command(append([]string{"precheck", "-o", "json"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 3 {
		w.t.Fatalf("serin precheck %v: %v\n%s%s", args, err, out.String(), talk.String())
	}
	var p prechecked
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		w.t.Fatalf("%v\n%s", err, out.String())
	}
	return p
}

// has says whether there is a finding of the code about an object whose name has the words.
func (p prechecked) has(code, object string) bool {
	for _, f := range p.Findings {
		if f.Code == code && strings.Contains(f.Object, object) {
			return true
		}
	}
	return false
}

// theirs is one message of istioctl x precheck.
type theirs struct{ Code, Level, Message, Origin string }

// istioctlPrecheck runs it with everything switched on that it has: each message, and changes since 1.20.
func (w *world) istioctlPrecheck(version string, args ...string) []theirs {
	w.t.Helper()
	args = append([]string{"x", "precheck", "--output-threshold", "Info", "--from-version", "1.20", "-o", "json", "--kubeconfig", w.lab.Kubeconfig()}, args...)
	out, err := exec.CommandContext(w.t.Context(), w.lab.Istioctl(version), args...).Output()
	w.t.Logf("istioctl %s %v: %v\n%s", version, args, err, out)
	var found []theirs
	start := bytes.IndexByte(out, '[')
	if start < 0 {
		return nil // all is well: that is said on the other stream
	}
	if wrong := json.NewDecoder(bytes.NewReader(out[start:])).Decode(&found); wrong != nil {
		w.t.Fatalf("istioctl %s: %v, %v\n%s", version, err, wrong, out)
	}
	return found
}

// quoted is what istioctl puts into quotes: the annotation, the version, the resource.
var quoted = regexp.MustCompile(`"([^"]+)"`)

// coversTheirs wants every message of istioctl to have its counterpart in what
// serin says: the code, and the annotation or definition that it is about.
//
// Intended differences, each with its reason:
//   - proxy.istio.io/overrides on injected pods: the injector writes it, it says
//     nothing about the user (istioctl's own comment calls such messages noise).
//   - one finding for each annotation with the first of its carriers, not one for each pod.
func (w *world) coversTheirs(ours prechecked, version string, found []theirs) {
	w.t.Helper()
	for _, m := range found {
		if strings.Contains(m.Message, "proxy.istio.io/overrides") {
			continue
		}
		about := ""
		switch q := quoted.FindStringSubmatch(m.Message); {
		case m.Code == "IST0136" && q != nil:
			about = q[1]
		case m.Code == "IST0156" || m.Code == "IST0172":
			about = m.Origin[strings.LastIndex(m.Origin, " ")+1:]
		case m.Code == "IST0141":
			about = strings.Fields(strings.TrimPrefix(m.Message, "Missing required permission to create resource "))[0]
		}
		if !slices.ContainsFunc(ours.Findings, func(f struct {
			Code, Severity, Object, Reason, Remedy, Istio, Link string
		},
		) bool {
			return strings.Contains(f.Istio, m.Code) && strings.Contains(f.Object+" "+f.Reason, about)
		}) {
			w.t.Errorf("istioctl %s says %s of %q (%s: %s); serin does not", version, m.Code, about, m.Origin, m.Message)
		}
	}
}

// differsFromTheirs wants the intended differences to be there still: where istioctl
// has come to say no more than serin, they are none.
func (w *world) differsFromTheirs(ours prechecked, version string, found []theirs) {
	w.t.Helper()
	overrides, each, carriers := 0, map[string]map[string]bool{}, 0
	for _, m := range found {
		if strings.Contains(m.Message, "proxy.istio.io/overrides") {
			overrides++
		} else if q := quoted.FindStringSubmatch(m.Message); m.Code == "IST0136" && q != nil {
			if each[q[1]] == nil {
				each[q[1]] = map[string]bool{}
			}
			each[q[1]][m.Origin] = true
			carriers = max(carriers, len(each[q[1]]))
		}
	}
	if overrides == 0 {
		w.t.Errorf("istioctl %s says nothing of what the injector writes: that difference is gone", version)
	}
	if carriers < 2 {
		w.t.Errorf("istioctl %s says each annotation of one carrier alone: that difference is gone (%v)", version, each)
	}
	said := map[string]int{}
	for _, f := range ours.Findings {
		if f.Code == "SRN1304" {
			said[f.Object+" "+f.Reason]++
			if strings.Contains(f.Reason, "proxy.istio.io/overrides") {
				w.t.Errorf("serin says what the injector writes, too: %s: %s", f.Object, f.Reason)
			}
		}
	}
	for what, n := range said {
		if n > 1 {
			w.t.Errorf("serin says %d times: %s", n, what)
		}
	}
}

func codes(found []theirs) []string {
	var out []string
	for _, m := range found {
		out = append(out, m.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// definitions is how to ask for custom resource definitions.
func (w *world) definitions() dynamic.ResourceInterface {
	w.t.Helper()
	client, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
}

// plant makes the objects of a file. A kind that was just defined is asked for
// until it is served.
func (w *world) plant(file string) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		var o unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			w.t.Fatal(err)
		}
		gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		gvr.Resource = strings.Replace(gvr.Resource, "gatewaies", "gateways", 1) // the guess knows only the rule
		w.until("making "+o.GetKind()+" "+o.GetName(), func() string {
			_, err := client.Resource(gvr).Namespace(o.GetNamespace()).Create(w.t.Context(), &o, metav1.CreateOptions{})
			if err == nil || apierrors.IsAlreadyExists(err) {
				return ""
			}
			return err.Error()
		})
	}
}

// Everything that istioctl x precheck of either release says serin says, too, and
// what it never looks at is found where it was planted: all at once.
func TestPrecheck_findsAllThatIstioctlFindsAndWhatWasPlanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "1.27.0", "1.29.1")
	w.stop()

	// A mesh that is well: nothing is in the way, for one who may do everything.
	if p := w.precheck("--to", "1.29.1"); !p.Clear || len(p.Notes) == 0 {
		t.Errorf("a mesh that is well: %+v", p.Findings)
	}
	for _, v := range []string{"1.27.0", "1.29.1"} {
		w.coversTheirs(w.precheck("--from-version", "1.20"), v, w.istioctlPrecheck(v))
	}

	w.run(0, "tag", "set", "prod", "--revision", "default")
	w.plant("precheck-definitions.yaml")
	w.plant("precheck-faults.yaml")
	cordon := []byte(`{"spec":{"unschedulable":true}}`)
	nodes, err := w.kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.until("the pods in place", func() string {
		for _, name := range []string{"lonely", "byhand-0"} {
			p, err := w.kube.CoreV1().Pods("shop").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || p.Spec.NodeName == "" {
				return fmt.Sprintf("%s: %v", name, err)
			}
		}
		return ""
	})
	for _, n := range nodes.Items {
		if _, err := w.kube.CoreV1().Nodes().Patch(t.Context(), n.Name, types.StrategicMergePatchType, cordon, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	disown := []byte(`{"metadata":{"annotations":{"meta.helm.sh/release-name":null,"meta.helm.sh/release-namespace":null},"labels":{"app.kubernetes.io/managed-by":null}}}`)
	if _, err := w.definitions().Patch(t.Context(), "telemetries.telemetry.istio.io", types.MergePatchType, disown, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}

	// istioctl's codes, with what each is about.
	all := w.precheck("--from-version", "1.20", "--to", "1.29.1")
	for _, v := range []string{"1.27.0", "1.29.1"} {
		found := w.istioctlPrecheck(v)
		for _, want := range []string{"IST0136", "IST0156", "IST0169", "IST0172"} {
			if !slices.Contains(codes(found), want) {
				t.Errorf("istioctl %s does not say %s: the comparison proves nothing (%v)", v, want, codes(found))
			}
		}
		w.coversTheirs(all, v, found)
		w.differsFromTheirs(all, v, found)
	}

	p := w.precheck("--to", "1.29.1")
	for _, f := range p.Findings {
		if f.Reason == "" || f.Link == "" || f.Remedy == "" && (f.Severity == "mandatory" || f.Severity == "overridable") {
			t.Errorf("a finding has a reason, a link and a remedy: %+v", f)
		}
	}
	for _, want := range [][2]string{
		{"SRN1022", "istio-base"},
		{"SRN1030", "namespace both"},
		{"SRN1031", "namespace lost"},
		{"SRN1040", "namespace ambient"},
		{"SRN1040", "plain/machines"},
		{"SRN1040", "istio-remote-secret-west"},
		{"SRN1050", "shop/recreated"},
		{"SRN1051", "shop/byhand"},
		{"SRN1051", "shop/lonely"},
		{"SRN1053", "shop/recreated"},
		{"SRN1057", "shop/pinned"},
		{"SRN1058", "shop/tagged"},
		{"SRN1302", "gateways."},
		{"SRN1302", "httproutes."},
		{"SRN1303", "grpcroutes."},
		{"SRN1304", "plain/noted"},
		{"SRN1304", "plain/bare"},
		{"SRN1304", "namespace both"},
		{"SRN1305", "shop/old"},
		{"SRN1306", "shop/old"},
		{"SRN1307", "shop/old"},
		{"SRN1308", "nodes"},
		{"SRN1309", "revision default"},
		{"SRN1310", "shop/recreated"},
		{"SRN1311", "injector istio-sidecar-injector-left"},
		{"SRN1311", "validator istio-validator-left"},
		{"SRN1312", "injector istio-sidecar-injector-left"},
		{"SRN1317", "application plain/mesh"},
		{"SRN1317", "helmrelease plain/mesh"},
		{"SRN1317", "istio mesh"},
		{"SRN1317", "istiooperator istio-system/mesh"},
		{"SRN1319", "plain/nobodys"},
		{"SRN1320", "shop/pinned"},
		{"SRN1321", "1.29.1"},
		{"SRN2808", "1.29.1"},
		{"SRN2901", "1.29.1"},
	} {
		if !p.has(want[0], want[1]) {
			t.Errorf("no %s of %s", want[0], want[1])
		}
	}
	if p.Clear {
		t.Error("nothing stands in the way?")
	}

	// A pair that nothing is known of is Unknown; the rest is looked at all the same.
	if p := w.precheck("--to", "1.99.0"); !p.has("SRN1003", "1.99.0") || !p.has("SRN1311", "left") || !p.has("SRN1030", "both") {
		t.Errorf("%+v", p.Findings)
	}

	// As a user with the role that is printed for looking: the same, nothing is unseen, and what may not be done is said.
	role := w.role("--read-only")
	w.as("viewer", role)
	mine := w.precheck("--to", "1.29.1")
	if mine.has("SRN1322", "") {
		t.Errorf("the role does not show everything: %+v", mine.Findings)
	}
	for _, f := range p.Findings {
		if !mine.has(f.Code, f.Object) {
			t.Errorf("the viewer does not see %s of %s", f.Code, f.Object)
		}
	}
	for _, v := range []string{"1.27.0", "1.29.1"} {
		found := w.istioctlPrecheck(v, "--as", "viewer", "--namespace", "plain")
		if !slices.Contains(codes(found), "IST0141") {
			t.Errorf("istioctl %s does not say IST0141: %v", v, codes(found))
		}
		w.coversTheirs(w.precheck("--from-version", "1.20", "--to", "1.29.1"), v, found)
	}
	// Who may not even look is told what is missing, and no check says that all is well.
	blind := role.DeepCopy()
	blind.Rules = slices.DeleteFunc(blind.Rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Resources, "nodes") || slices.Contains(r.APIGroups, "argoproj.io")
	})
	w.as("blind", *blind)
	if p := w.precheck("--to", "1.29.1"); !p.has("SRN1322", "nodes") || !p.has("SRN1322", "applications.argoproj.io") || p.has("SRN1308", "") {
		t.Errorf("%+v", p.Findings)
	}
}

// Before Istio is there: serin and istioctl both say that it can be installed.
func TestPrecheck_beforeIstio(t *testing.T) {
	t.Parallel()
	w := bareWorld(t, "1.29.1")
	if found := w.istioctlPrecheck("1.29.1"); len(found) > 0 {
		t.Errorf("istioctl: %+v", found)
	}
	w.run(0, "precheck")
	if p := w.precheck("--to", "1.29.1"); !p.Clear || !p.has("SRN1016", "mesh") {
		t.Errorf("%+v", p.Findings)
	}
	if p := w.precheck("--to", "1.99.0"); p.Clear || !p.has("SRN1003", "1.99.0") {
		t.Errorf("%+v", p.Findings)
	}
	w.as("viewer", w.role("--read-only"))
	if p := w.precheck("--to", "1.29.1"); p.Clear || !p.has("SRN1301", "user") || p.has("SRN1322", "") {
		t.Errorf("%+v", p.Findings)
	}
}
