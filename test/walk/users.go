package walk

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// Users makes the users of a script on a cluster and returns their kubeconfigs: each
// may do what the program's own `serin rbac` prints, and no more.
func Users(ctx context.Context, client kubernetes.Interface, serin, kubeconfig, dir string) (map[string]string, error) {
	out := map[string]string{}
	for user, args := range map[string][]string{Upgrader: {"rbac"}, Viewer: {"rbac", "--read-only"}, Rehearser: {"rbac", "--rehearse"}} {
		text, err := exec.CommandContext(ctx, serin, args...).Output() //nolint:gosec // the program to try
		if err != nil {
			return nil, fmt.Errorf("asking for the role of %s: %w", user, err)
		}
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal(text, &role); err != nil {
			return nil, fmt.Errorf("reading the role of %s: %w", user, err)
		}
		if err := bind(ctx, client, user, role); err != nil {
			return nil, err
		}
		if out[user], err = acting(kubeconfig, user, dir); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// bind gives a user a role.
func bind(ctx context.Context, client kubernetes.Interface, user string, role rbacv1.ClusterRole) error {
	role.Name = "walk-" + user
	api := client.RbacV1()
	for _, err := range []error{
		api.ClusterRoleBindings().Delete(ctx, role.Name, metav1.DeleteOptions{}), api.ClusterRoles().Delete(ctx, role.Name, metav1.DeleteOptions{}),
	} {
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing an earlier role %s: %w", role.Name, err)
		}
	}
	if _, err := api.ClusterRoles().Create(ctx, &role, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating role %s: %w", role.Name, err)
	}
	_, err := api.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("binding role %s: %w", role.Name, err)
	}
	return nil
}

// acting writes a kubeconfig that acts as the user.
func acting(kubeconfig, user, dir string) (string, error) {
	c, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	for _, a := range c.AuthInfos {
		a.Impersonate = user
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
	}
	file := filepath.Join(dir, user)
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		return "", fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
	}
	return file, nil
}
