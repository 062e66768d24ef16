package test_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/mesh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/serin-mesh/serin/lab/bookinfo"
)

// tagRow is what `tag list` says of a tag: its revision and its namespaces.
func tagRow(list, tag string) []string {
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == tag {
			return append(f[1:], "", "")[:2]
		}
	}
	return nil
}

// sameTags wants serin and both releases' istioctl to say the same of each tag.
// Intended difference: istioctl lists a revision that has no tag as a row without
// a name; serin lists tags only.
func (w *world) sameTags(tags ...string) {
	w.t.Helper()
	ours := w.run(0, "tag", "list")
	for _, release := range []string{"1.27.0", "1.29.1"} {
		theirs := w.istioctl(release, "tag", "list")
		for _, tag := range tags {
			a, b := tagRow(ours, tag), tagRow(theirs, tag)
			if a == nil || b == nil || a[0] != b[0] {
				w.t.Errorf("tag %s: serin says %v, istioctl %s says %v", tag, a, release, b)
				continue
			}
			// Intended difference: the namespaces of the default tag are those that follow
			// it; istioctl lists only those that are labelled istio.io/rev=default.
			if tag != mesh.DefaultTag && strings.ReplaceAll(a[1], "<none>", "") != b[1] {
				w.t.Errorf("tag %s: serin says %v, istioctl %s says %v", tag, a, release, b)
			}
		}
	}
}

// The commands by themselves, with istioctl as the oracle: what one sets, moves
// or removes the other understands, in both orders. S-1, S-2, S-5, S-53, S-54.
func TestOperations_andIstioctlUnderstandEachOther(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, bookinfo.Options{Drain: 2 * time.Second}, "1.27.0", "1.29.1")
	before := settle(w.snapshot())
	charts := []string{"--charts", w.lab.ChartRepo()}

	// The control plane, with the old one's values.
	shown := w.run(0, append([]string{"install", "istiod", "--revision", "canary", "--version", "1.29.1", "--from-revision", "default"}, charts...)...)
	if !strings.Contains(shown, "+ revision: canary") {
		t.Errorf("S-15: what is carried over is not shown:\n%s", shown)
	}
	for _, rev := range []string{"canary", "default"} {
		if _, ok := w.snapshot().ControlPlane(rev); !ok {
			t.Errorf("there is no control plane %s", rev)
		}
	}

	// serin sets, istioctl lists; istioctl sets, serin lists and moves.
	w.run(0, "tag", "set", "prod-stable", "--revision", "default")
	w.istioctl("1.29.1", "tag", "set", "prod-canary", "--revision", "canary", "-y")
	w.sameTags("prod-stable", "prod-canary")
	w.run(0, "tag", "set", "prod-canary", "--revision", "default", "--overwrite", "--soak", "2s")
	w.sameTags("prod-canary")
	w.istioctl("1.29.1", "tag", "set", "prod-stable", "--revision", "canary", "--overwrite", "-y")
	w.sameTags("prod-stable")
	for _, tag := range w.snapshot().Tags() {
		if tag.Split {
			t.Errorf("S-2: %+v", tag)
		}
	}

	// istioctl 1.27 knows no tag Services: what it moves is split from 1.28 on, and repaired.
	w.istioctl("1.27.0", "tag", "set", "prod-stable", "--revision", "default", "--overwrite", "-y")
	if list := w.run(0, "tag", "list"); !regexp.MustCompile(`(?m)^prod-stable .* split$`).MatchString(list) {
		t.Errorf("istioctl 1.27 splits a tag that has a Service:\n%s", list)
	}
	w.run(3, "tag", "set", "prod-stable", "--revision", "canary", "--overwrite")
	w.run(0, "tag", "repair", "prod-stable")
	w.sameTags("prod-stable")

	// Each removes what the other has set.
	w.istioctl("1.29.1", "tag", "remove", "prod-stable", "-y")
	w.run(0, "tag", "remove", "prod-canary", "-y")
	if list := w.istioctl("1.29.1", "tag", "list"); strings.Contains(list, "prod-") {
		t.Errorf("istioctl still lists them:\n%s", list)
	}
	w.run(0, "tag", "list")

	// A namespace there, and, taken back, as it was.
	w.run(0, "move", "default", "--to", "canary", "--soak", "2s", "--probe-url", "http://"+w.address+"/productpage", "--probe-host", "bookinfo.example.com")
	for _, p := range w.snapshot().Pods {
		if p.Namespace == "default" && !p.Leaving && p.Revision != "canary" {
			t.Errorf("pod %s is on %s", p.Name, p.Revision)
		}
	}
	w.run(3, "uninstall", "--revision", "canary", "-y") // S-54: the namespace relies on it
	w.run(5, "rollback")
	// The canary's pods may still be going: it waits for them.
	w.run(0, "uninstall", "--revision", "canary", "-y")
	if lost := w.tally(); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}
	if d := cmp.Diff(before, settle(w.snapshot())); d != "" {
		t.Errorf("S-51: not as before (-before +after):\n%s", d)
	}

	// What istioctl installed serin removes, also where it has stolen the default (R§2.4).
	theirs := func(rev string) {
		w.istioctl("1.29.1", "install", "-y", "--set", "profile=minimal", "--set", "revision="+rev, "--set", "values.global.hub=docker.io/istio", "--set", "values.global.tag=1.29.1")
	}
	theirs("theirs")
	if tag, ok := w.snapshot().Tag(mesh.DefaultTag); !ok || tag.Revision != "theirs" {
		t.Errorf("istioctl install steals the default no more: %+v", tag)
	}
	w.run(3, "uninstall", "--revision", "theirs", "-y") // S-54: the default relies on it
	w.run(0, "tag", "set", "default", "--revision", "default", "--overwrite", "--soak", "2s")
	w.sameTags("default")
	w.run(0, "uninstall", "--revision", "theirs", "-y")
	if left := w.named("theirs"); len(left) > 0 {
		t.Errorf("S-53: left of revision theirs: %v", left)
	}

	// What istioctl removes serin does not know any more.
	theirs("again")
	w.istioctl("1.29.1", "uninstall", "--revision", "again", "-y")
	if _, said := w.ran("uninstall", "--revision", "again", "-y"); !strings.Contains(said, "no control plane has this name") {
		t.Errorf("after istioctl uninstall:\n%s", said)
	}

	// Intended difference: serin installs Helm releases, which istioctl uninstall does not
	// touch and says nothing of (R§6.6); serin removes both.
	w.run(0, append([]string{"install", "istiod", "--revision", "ours", "--version", "1.29.1"}, charts...)...)
	if said := w.istioctl("1.29.1", "uninstall", "--revision", "ours", "-y"); !strings.Contains(said, "No resources will be pruned") {
		t.Errorf("istioctl has learned to uninstall Helm releases: this difference is gone\n%s", said)
	}
	w.run(0, "uninstall", "--revision", "ours", "-y")
	if left := w.named("ours"); len(left) > 0 {
		t.Errorf("left of revision ours: %v", left)
	}
	if revs := w.snapshot().Revisions(); !slices.Equal(revs, []string{"default"}) {
		t.Errorf("revisions: %v", revs)
	}
	w.lost()
}

// named are the objects of Istio's namespace, and of none, that carry a revision's label.
func (w *world) named(rev string) []string {
	w.t.Helper()
	var left []string
	client := metadata.NewForConfigOrDie(w.cfg)
	for _, gvr := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Version: "v1", Resource: "services"},
		{Version: "v1", Resource: "configmaps"},
		{Version: "v1", Resource: "serviceaccounts"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
		{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
		{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
		{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
	} {
		list, err := client.Resource(gvr).List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range list.Items {
			if o.Labels["operator.istio.io/component"] == "Base" { // shared; istioctl install labels it anew each time
				continue
			}
			if (o.Namespace == "" || o.Namespace == "istio-system") && (o.Labels[mesh.RevLabel] == rev || strings.Contains("-"+o.Name+"-", "-"+rev+"-")) {
				left = append(left, gvr.Resource+"/"+o.Name)
			}
		}
	}
	return left
}
