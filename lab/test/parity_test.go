package test_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/serin-mesh/serin/internal/mesh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// What serin shows is compared, cell by cell, with what the istioctl of each
// release shows of the same mesh. Where they are meant to differ the difference is
// in this list with its reason, and fails when it is not there any more: then
// either istioctl has learned it, or serin has lost it.
const (
	diffNone       = "an empty cell is <none>: kubectl's habit, so that cut and awk count right"
	diffRevisions  = "from 1.28 istioctl proxy-status asks the default revision only: serin asks all"
	diffColumns    = "REVISION, DESIRED, SYNC and NOTE follow istioctl's columns"
	diffUpstream   = "where xds-grpc is shown, so is where that pipe leads"
	diffOrder      = "istioctl's order of routes that are not numbers, and of filter chains with one destination, is by chance"
	diffSerial     = "istioctl 1.27 drops the zeros that a serial number begins with: serin writes it as 1.29"
	diffDefaultTag = "the namespaces of the default tag are those that follow it: istioctl lists only those labelled istio.io/rev=default"
	diffBuild      = "of an istiod's build serin says the version: its commit, Go's version and the image's hub are the image's"
	diffNamed      = "serin says of each revision's version whose it is: istioctl version says the component of each pod, or one line"
	diffEmptyTag   = "istioctl tag list shows the unrevisioned control plane as a tag without a revision: serin shows only tags"
)

// parityVersions are the oracles.
func parityVersions() []string { return []string{"1.27.0", "1.29.1"} }

// The views of proxies, tags and versions beside istioctl of both releases: with one
// revision, with two, and past an istiod that does not answer.
func TestParity(t *testing.T) { //nolint:tparallel // its parts look at one mesh, in order
	t.Parallel()
	w := newWorld(t, "1.27.0", "1.29.1")
	w.stop()
	p := parity{w: w, seen: &sync.Map{}}
	for _, v := range parityVersions() {
		t.Run("one revision/"+v, func(t *testing.T) {
			p.compare(t, v, map[string][]string{"deployment/productpage-v1.default": filtered(), "deployment/istio-ingress." + bookinfo.Gateway: nil})
		})
	}
	w.canary(t)
	for _, v := range parityVersions() {
		t.Run("two revisions/"+v, func(t *testing.T) {
			p.compare(t, v, map[string][]string{"deployment/ratings-v1.default": {"endpoints --cluster xds-grpc"}})
		})
	}
	t.Run("explain", func(t *testing.T) { p.explained(t) })
	t.Run("an istiod that does not answer", func(t *testing.T) { p.silent(t) })
	for _, d := range []string{diffNone, diffRevisions, diffColumns, diffUpstream, diffEmptyTag, diffDefaultTag, diffBuild, diffNamed} {
		if _, met := p.seen.Load(d); !met {
			t.Errorf("this difference is gone: %s", d)
		}
	}
}

// followsDefault is a namespace with nothing in it that is labelled istio-injection=enabled.
const followsDefault = "idle"

type parity struct {
	w    *world
	seen *sync.Map // the differences that were met
}

// canary installs 1.29.1 beside and moves one workload to it.
func (w *world) canary(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), w.lab.Istioctl("1.29.1"), "install", "-y", "--kubeconfig", w.lab.Kubeconfig(),
		"--set", "profile=minimal", "--set", "revision=canary", "--set", "tag=1.29.1", "--set", "hub=docker.io/istio", "--set", "values.global.tag=1.29.1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("istioctl install: %v\n%s", err, out)
	}
	w.istioctl("1.29.1", "tag", "set", "prod", "--revision", "canary")
	idle := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: followsDefault, Labels: map[string]string{mesh.InjectionLabel: "enabled"}}}
	if _, err := w.kube.CoreV1().Namespaces().Create(t.Context(), idle, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"spec":{"template":{"metadata":{"labels":{"istio.io/rev":"canary"}}}}}`)
	ns, err := w.kube.CoreV1().Namespaces().Patch(t.Context(), "default", "application/merge-patch+json",
		[]byte(`{"metadata":{"labels":{"istio-injection":null,"istio.io/rev":"canary"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.kube.AppsV1().Deployments(ns.Name).Patch(t.Context(), "ratings-v1", "application/strategic-merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ratings-v1 to be on the canary alone", func() bool {
		pods := w.selected(t, "app=ratings")
		return len(pods) == 1 && pods[0].Annotations["istio.io/rev"] == "canary" && podReady(pods[0])
	})
}

func (w *world) selected(t *testing.T, selector string) []corev1.Pod {
	t.Helper()
	list, err := w.kube.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func podReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
}

// eventually looks ten times a second, for at most a minute.
func eventually(t *testing.T, what string, seen func() bool) {
	t.Helper()
	late, tick := time.After(time.Minute), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for !seen() {
		select {
		case <-late:
			t.Fatalf("waiting for %s: a minute has passed", what)
		case <-tick.C:
		}
	}
}

// filtered are lines of proxy-config with the flags that istioctl has.
func filtered() []string {
	return []string{
		"clusters --fqdn details --port 9080 --direction outbound", "clusters --subset v1",
		"endpoints --cluster xds-grpc", "endpoints --port 9080", "endpoints --status healthy",
		"listeners --verbose=false", "listeners --port 80", "listeners --type HTTP --verbose=false", "listeners --address 0.0.0.0",
		"routes --verbose=false", "routes --name 9080",
	}
}

// compare holds all commands against the istioctl of a release: of each pod every
// kind of configuration, and the lines with filters that are given for it. What is
// asked waits for answers more than it computes, so that a few go at once.
func (p parity) compare(t *testing.T, version string, pods map[string][]string) {
	t.Helper()
	jobs := []func(){func() { // one after the other: two istioctls that ask istiod see each other as proxies
		p.proxyStatus(t, version)
		p.version(t, version)
		p.tags(t, version)
	}}
	for pod, lines := range pods {
		for _, kind := range []string{"clusters", "endpoints", "listeners", "routes", "secret"} {
			args := []string{"proxy-config", kind, pod}
			jobs = append(jobs, func() { p.table(t, version, args) }, func() { p.document(t, version, args) })
		}
		jobs = append(jobs, func() { p.bootstrap(t, version, pod) })
		for _, line := range lines {
			kind, flags, _ := strings.Cut(line, " ")
			jobs = append(jobs, func() { p.table(t, version, append([]string{"proxy-config", kind, pod}, strings.Fields(flags)...)) })
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, 6)
	for _, job := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			job()
		})
	}
}

// serin is what serin writes to standard output; empty, and a failure, if it fails.
func (p parity) serin(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, p.w.command(args...))
}

// istioctl is what an istioctl writes to standard output.
func (p parity) istioctl(t *testing.T, version string, args ...string) string {
	t.Helper()
	return output(t, exec.CommandContext(t.Context(), p.w.lab.Istioctl(version), append(args, "--kubeconfig", p.w.lab.Kubeconfig())...))
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var talk bytes.Buffer
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v: %v\n%s", cmd.Args, err, talk.String())
	}
	return string(out)
}

func (p parity) differs(d string) { p.seen.Store(d, true) }

func (p parity) proxyStatus(t *testing.T, version string) {
	t.Helper()
	theirs := p.istioctl(t, version, "proxy-status")
	ours := p.serin(t, "proxy-status")
	want, got := cells(theirs, 5), cells(ours, 9)
	if strings.Contains(ours, "REVISION") && !strings.Contains(theirs, "REVISION") {
		p.differs(diffColumns)
	}
	rows := map[string][]string{}
	for _, r := range got {
		rows[r[0]] = r[:5]
	}
	for _, r := range want {
		if diff := gocmp.Diff(r, rows[r[0]]); diff != "" {
			t.Errorf("proxy-status %s:\n%s", r[0], diff)
		}
	}
	if len(want) < len(got) { // serin has more: it must be what is on another revision
		p.differs(diffRevisions)
		listed := map[string]bool{}
		for _, r := range want {
			listed[r[0]] = true
		}
		byDefault := tagRow(p.serin(t, "tag", "list"), mesh.DefaultTag)[0]
		for _, r := range got {
			if !listed[r[0]] && (version == "1.27.0" || r[5] == byDefault) {
				t.Errorf("istioctl %s does not list %s, which is on revision %s", version, r[0], r[5])
			}
		}
	}
}

// version compares what is known of each istiod and each proxy, and then the lines.
func (p parity) version(t *testing.T, version string) {
	t.Helper()
	var theirs struct {
		MeshVersion []struct {
			Component, Revision string
			Info                map[string]string
		}
		DataPlaneVersion []struct{ ID, IstioVersion string }
	}
	unmarshal(t, p.istioctl(t, version, "version", "-o", "json"), &theirs)
	var ours struct {
		ControlPlanes []struct{ Revision, Version string }     `json:"controlPlanes"`
		DataPlane     []struct{ ID, Revision, Version string } `json:"dataPlane"`
	}
	unmarshal(t, p.serin(t, "version", "-o", "json"), &ours)
	got := map[string]string{}
	for _, c := range ours.ControlPlanes {
		got[c.Revision] = c.Version
	}
	for _, c := range theirs.MeshVersion {
		rev := cmp.Or(c.Revision, mesh.DefaultRevision)
		if c.Info["version"] == "" || got[rev] != c.Info["version"] {
			t.Errorf("version: istioctl says %v of revision %s, serin %q", c.Info, rev, got[rev])
		}
		if c.Info["revision"] != "" {
			p.differs(diffBuild)
		}
	}
	listed := map[string]string{}
	for _, d := range theirs.DataPlaneVersion {
		listed[d.ID] = d.IstioVersion
	}
	asked := cmp.Or(theirs.MeshVersion[0].Revision, mesh.DefaultRevision)
	for _, d := range ours.DataPlane {
		switch is, there := listed[d.ID]; {
		case there && is != d.Version:
			t.Errorf("version: istioctl says %s of proxy %s, serin %s", is, d.ID, d.Version)
		case !there && (version == "1.27.0" || d.Revision == asked):
			t.Errorf("version: serin says %s of proxy %s of revision %s, istioctl nothing", d.Version, d.ID, d.Revision)
		case !there:
			p.differs(diffRevisions)
		}
		delete(listed, d.ID)
	}
	if len(listed) > 0 {
		t.Errorf("version: serin says nothing of %v", listed)
	}
	p.versionLines(t, version, asked)
}

// versionLines compares what people read, of the revision that istioctl asks.
func (p parity) versionLines(t *testing.T, version, revision string) {
	t.Helper()
	args := []string{"version"}
	if version != "1.27.0" { // which asks all
		args = append(args, "--revision", revision)
	}
	want, got := strings.Split(p.istioctl(t, version, "version"), "\n"), strings.Split(p.serin(t, args...), "\n")
	clean := func(lines []string) map[string]bool {
		out := map[string]bool{}
		for _, l := range lines {
			if strings.HasPrefix(l, "client version: ") || l == "" { // each says its own
				continue
			}
			out[regexp.MustCompile(` \(revision \S+\)`).ReplaceAllString(regexp.MustCompile(`^(pilot|istiod) version: `).ReplaceAllString(l, "control plane version: "), "")] = true
		}
		return out
	}
	if !strings.HasPrefix(want[0], "client version: ") || !strings.HasPrefix(got[0], "client version: ") {
		t.Errorf("version: the first lines are %q and %q", want[0], got[0])
	}
	if !strings.Contains(strings.Join(want, " "), "(revision ") && strings.Contains(strings.Join(got, " "), "(revision ") {
		p.differs(diffNamed)
	}
	if diff := gocmp.Diff(clean(want), clean(got)); diff != "" {
		t.Errorf("version (-istioctl %s +serin %v):\n%s", version, args, diff)
	}
}

func (p parity) tags(t *testing.T, version string) {
	t.Helper()
	type tag struct {
		Tag, Revision string
		Namespaces    []string
	}
	var theirs, ours []tag
	args := []string{"tag", "list", "-o", "json"}
	unmarshal(t, p.istioctl(t, version, args...), &theirs)
	unmarshal(t, p.serin(t, args...), &ours)
	theirs = slices.DeleteFunc(theirs, func(r tag) bool {
		if r.Tag == "" {
			p.differs(diffEmptyTag)
		}
		return r.Tag == ""
	})
	for i, r := range ours {
		if r.Tag == mesh.DefaultTag && slices.Contains(r.Namespaces, followsDefault) {
			p.differs(diffDefaultTag)
			ours[i].Namespaces = slices.DeleteFunc(r.Namespaces, func(ns string) bool { return ns == followsDefault })
		}
	}
	order := func(a, b tag) int { return strings.Compare(a.Tag, b.Tag) }
	slices.SortFunc(theirs, order)
	slices.SortFunc(ours, order)
	if diff := gocmp.Diff(theirs, ours, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("tag list (-istioctl %s +serin):\n%s", version, diff)
	}
	p.tagTable(t, version)
}

// tagTable compares the table that people read: the first three columns are istioctl's.
func (p parity) tagTable(t *testing.T, version string) {
	t.Helper()
	theirs, ours := tabular(p.istioctl(t, version, "tag", "list")), tabular(p.serin(t, "tag", "list"))
	rows := map[string][]string{}
	for _, r := range ours {
		if r[0] == "No" { // revision tags found
			break
		}
		if len(r) != 4 {
			t.Errorf("tag list: %q has not the columns of istioctl and one more", r)
			continue
		}
		if r[2] == "<none>" {
			r[2] = ""
		}
		rows[r[0]] = r[:3]
	}
	for _, want := range theirs {
		if want[0] == "" || want[0] == "No" || len(rows) == 0 && want[0] == "TAG" { // the control plane without a revision; none at all
			continue
		}
		got := slices.Clone(rows[want[0]])
		if len(got) == 3 && got[0] == mesh.DefaultTag && got[2] != want[2] {
			p.differs(diffDefaultTag)
			got[2] = strings.Trim(strings.ReplaceAll(","+got[2]+",", ","+followsDefault+",", ","), ",")
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("tag list, %s (-istioctl %s +serin):\n%s", want[0], version, diff)
		}
	}
}

// bootstrap compares the document, and the facts that are shown of it.
func (p parity) bootstrap(t *testing.T, version, pod string) {
	t.Helper()
	p.document(t, version, []string{"proxy-config", "bootstrap", pod})
	args := []string{"proxy-config", "bootstrap", pod, "-o", "short"}
	ours := strings.Fields(p.serin(t, args...))
	for l := range strings.Lines(p.istioctl(t, version, args...)) {
		if f := strings.Fields(l); len(f) > 0 && !slices.Contains(ours, f[len(f)-1]) {
			t.Errorf("%v: serin does not say %q: %q", args, l, ours)
		}
	}
}

func (p parity) table(t *testing.T, version string, args []string) {
	t.Helper()
	theirs, ours := p.istioctl(t, version, args...), p.serin(t, args...)
	if before, after, ok := strings.Cut(ours, "\n\nxds-grpc: "); ok {
		if !regexp.MustCompile(`^discoveryAddress istiod\S*\.istio-system\.svc:15012, connected to istiod-\S+ \(revision \S+\)\n$`).MatchString(after) {
			t.Errorf("%v: xds-grpc leads to %q", args, after)
		}
		p.differs(diffUpstream)
		ours = before + "\n"
	} else if strings.Contains(theirs, "xds-grpc") {
		t.Errorf("%v: serin does not say where xds-grpc leads", args)
	}
	want, got := tabular(theirs), tabular(ours)
	for _, r := range got {
		for i, c := range r {
			if c == "<none>" {
				p.differs(diffNone)
				r[i] = ""
			}
		}
	}
	if args[1] == "secret" && version == "1.27.0" {
		for _, rows := range [][][]string{want[1:], got[1:]} {
			for _, r := range rows {
				if trimmed := strings.TrimLeft(r[4], "0"); trimmed != r[4] {
					p.differs(diffSerial)
					r[4] = trimmed
				}
			}
		}
	}
	slices.SortFunc(want, slices.Compare) // diffOrder
	slices.SortFunc(got, slices.Compare)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%v (-istioctl %s +serin):\n%s", args, version, diff)
	}
}

// document compares what -o json says, but for what serin adds about xds-grpc.
func (p parity) document(t *testing.T, version string, args []string) {
	t.Helper()
	args = append(slices.Clone(args), "-o", "json")
	var want, got any
	unmarshal(t, p.istioctl(t, version, args...), &want)
	unmarshal(t, p.serin(t, args...), &got)
	if list, ok := got.([]any); ok {
		for _, e := range list {
			if m, ok := e.(map[string]any); ok && m["serin"] != nil {
				p.differs(diffUpstream)
				delete(m, "serin")
			}
		}
	}
	for _, v := range []any{want, got} {
		if list, ok := v.([]any); ok {
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(text(a), text(b)) }) // diffOrder
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%v (-istioctl %s +serin):\n%s", args, version, diff)
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// silent is one istiod that hangs: istioctl of either release fails or waits for
// it, serin says it in a row.
func (p parity) silent(t *testing.T) {
	t.Helper()
	pods, err := p.w.kube.CoreV1().Pods("istio-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app=istiod,istio.io/rev=canary"})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("the canary's istiods: %v %v", pods, err)
	}
	// A pod that says it is an istiod and listens on nothing.
	dead := pods.Items[0].DeepCopy()
	dead.ObjectMeta = metav1.ObjectMeta{Name: "istiod-canary-dead", Namespace: "istio-system", Labels: map[string]string{"app": "istiod", "istio.io/rev": "canary", "sidecar.istio.io/inject": "false"}}
	dead.Spec = corev1.PodSpec{Containers: []corev1.Container{{Name: "discovery", Image: "nothing:1"}}}
	dead.Status = corev1.PodStatus{}
	if _, err := p.w.kube.CoreV1().Pods("istio-system").Create(t.Context(), dead, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead istiod to run", func() bool {
		pod, err := p.w.kube.CoreV1().Pods("istio-system").Get(t.Context(), dead.Name, metav1.GetOptions{})
		return err == nil && pod.Status.Phase == corev1.PodRunning
	})
	out := p.serin(t, "proxy-status")
	if !regexp.MustCompile(`istiod-canary-dead .*no answer`).MatchString(out) {
		t.Errorf("the istiod that does not answer is no row:\n%s", out)
	}
	if !regexp.MustCompile(`ratings-v1-\S+\.default .*synced`).MatchString(out) {
		t.Errorf("the proxies of the others are not listed:\n%s", out)
	}
	cmd := exec.CommandContext(t.Context(), p.w.lab.Istioctl("1.29.1"), "proxy-status", "--revision", "canary", "--kubeconfig", p.w.lab.Kubeconfig())
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("istioctl has learned to go on without an istiod: this difference is gone\n%s", out)
	}
}

// cells are the rows of a table whose cells stand at least two blanks apart and are never empty.
func cells(table string, columns int) [][]string {
	var rows [][]string
	for l := range strings.Lines(table) {
		r := regexp.MustCompile(`\s{2,}`).Split(strings.TrimSpace(l), columns)
		if len(r) == columns && r[0] != "NAME" {
			rows = append(rows, r)
		}
	}
	return rows
}

// tabular reads a table by where its headings stand: cells may be empty and, in
// istioctl's listeners, one blank apart.
func tabular(table string) [][]string {
	lines := strings.Split(strings.TrimRight(table, "\n"), "\n")
	heads := regexp.MustCompile(`SERVICE FQDN|DESTINATION RULE|OUTLIER CHECK|VIRTUAL HOSTS|VHOST NAME|VIRTUAL SERVICE|RESOURCE NAME|VALID CERT|SERIAL NUMBER|NOT AFTER|NOT BEFORE|\S+`).FindAllStringIndex(lines[0], -1)
	var rows [][]string
	for _, l := range lines {
		var row []string
		for i, h := range heads {
			end := len(l)
			if i+1 < len(heads) {
				end = min(end, heads[i+1][0])
			}
			row = append(row, strings.TrimSpace(l[min(h[0], len(l)):end]))
		}
		rows = append(rows, row)
	}
	return rows
}

func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Errorf("%v in:\n%s", err, text)
	}
}
