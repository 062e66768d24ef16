package test_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/serin-mesh/serin/test/walk"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// as lets serin act as a user who may do what the role says.
func (w *world) as(user string, role rbacv1.ClusterRole) {
	w.t.Helper()
	role.Name = user
	if _, err := w.kube.RbacV1().ClusterRoles().Create(w.t.Context(), &role, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	if _, err := w.kube.RbacV1().ClusterRoleBindings().Create(w.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	c, err := clientcmd.LoadFromFile(w.lab.Kubeconfig())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range c.AuthInfos {
		a.Impersonate = user
	}
	w.kubeconfig = filepath.Join(w.t.TempDir(), user)
	if err := clientcmd.WriteToFile(*c, w.kubeconfig); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) role(args ...string) rbacv1.ClusterRole {
	w.t.Helper()
	var r rbacv1.ClusterRole
	if err := yaml.Unmarshal([]byte(w.run(0, append([]string{"rbac"}, args...)...)), &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// viewing looks as a user with the role that serin prints for looking, who may not
// apply: it says which verbs are missing, and has written nothing.
func (w *world) viewing(role rbacv1.ClusterRole, file string) {
	w.t.Helper()
	w.as("viewer", role)
	defer func() { w.kubeconfig = "" }()
	for _, look := range [][]string{{"status"}, {"snapshot"}, {"precheck", "--to", "1.29.1", "--ignore-check", "SRN1301"}, {"history"}} {
		w.run(0, look...)
	}
	code, said := w.ran("apply", file)
	if code != 3 || !strings.Contains(said, "missing on namespaces: patch\n") || !strings.Contains(said, "missing on secrets: create, delete") {
		w.t.Errorf("exit code %d\n%s", code, said)
	}
	if h := w.run(0, "history"); strings.Contains(h, "1-29-1") {
		w.t.Errorf("something was written:\n%s", h)
	}
}

// asksNobody are the commands that speak with no cluster.
func asksNobody() []string { return []string{"rbac"} }

// onlyLooks are the commands that a user with the role of serin rbac --read-only runs
// in the scripts. diff and prove look too, but ask for pods by dry runs: a verb of
// those who change (S-8).
func onlyLooks() []string {
	return []string{
		"status", "snapshot", "precheck", "plan", "history", "report", "version", "revisions", "explain", "tag list", "gateway list", "proxy-status",
		"proxy-config bootstrap", "proxy-config clusters", "proxy-config endpoints", "proxy-config listeners", "proxy-config routes", "proxy-config secret",
	}
}

// Every command is run by a script of test/walk, by a user with exactly the roles that
// serin prints: TestWalkthrough runs them all. A new command fails here until one does.
func TestRoles_everyCommandIsRunUnderThem(t *testing.T) {
	t.Parallel()
	scripts, err := walk.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	ran := walk.Commands(scripts)
	all := commands(t, binary(t))
	if len(all) < 40 {
		t.Fatalf("only %d commands were found: the test proves nothing", len(all))
	}
	for _, c := range all {
		if slices.Contains(asksNobody(), strings.Fields(c)[0]) {
			continue
		}
		user := walk.Upgrader
		switch {
		case slices.Contains(onlyLooks(), c):
			user = walk.Viewer
		case c == "rehearse":
			user = walk.Rehearser
		}
		words := strings.Fields(c)
		if !slices.ContainsFunc(ran, func(r walk.Ran) bool {
			return r.User == user && len(r.Words) >= len(words) && slices.Equal(r.Words[:len(words)], words)
		}) {
			t.Errorf("serin %s is run by no script of test/walk as %s: add it to one", c, user)
		}
	}
	for _, c := range onlyLooks() {
		if !slices.Contains(all, c) {
			t.Errorf("serin %s is no command any more", c)
		}
	}
}

// commands are all that can be run, as help lists them.
func commands(t *testing.T, serin string, path ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), serin, append(path, "--help")...).Output()
	if err != nil {
		t.Fatalf("serin %v --help: %v", path, err)
	}
	_, usage, _ := strings.Cut(string(out), "\nUsage:\n")
	usage, _, _ = strings.Cut(usage, "\n\n")
	var all []string
	for l := range strings.Lines(usage) {
		if l = strings.TrimSpace(l); len(path) > 0 && !strings.HasSuffix(l, "[command]") {
			all = append(all, strings.Join(path, " "))
			break
		}
	}
	_, list, _ := strings.Cut(string(out), "\nAvailable Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for l := range strings.Lines(list) {
		if f := strings.Fields(l); len(f) > 0 && (len(path) > 0 || f[0] != "help" && f[0] != "completion") {
			all = append(all, commands(t, serin, append(slices.Clone(path), f[0])...)...)
		}
	}
	return all
}
