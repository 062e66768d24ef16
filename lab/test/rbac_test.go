package test_test

import (
	"path/filepath"
	"strings"

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
