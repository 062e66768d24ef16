package cli

import (
	"fmt"
	"strings"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
)

// Target is the cluster and the mesh that a command line names.
type Target struct {
	Config         *genericclioptions.ConfigFlags
	IstioNamespace string
}

// String says which server of which kubeconfig, for errors.
func (t Target) String() string {
	server := "no server"
	if c, err := t.Config.ToRESTConfig(); err == nil {
		server = c.Host
	}
	return fmt.Sprintf("server %s, context %q of %s", server, t.context(), t.kubeconfig())
}

// The API server guards itself by priority and fairness; client-go's own limits
// of 5 and 10 would make a look at a thousand pods' dry runs take minutes.
const (
	qps   = 100
	burst = 200
)

// REST is how to reach the cluster, or why there is none to reach.
func (t Target) REST() (*rest.Config, error) {
	c, err := t.Config.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("choosing a cluster (context %q of %s): %w\n  remedy: kubectl config get-contexts lists them; choose one with --context or --kubeconfig",
			t.context(), t.kubeconfig(), err)
	}
	// cli-runtime falls back to a server that nobody named.
	raw, err := t.Config.ToRawKubeConfigLoader().RawConfig()
	if err == nil && len(raw.Clusters) == 0 && strings.HasSuffix(c.Host, "localhost:8080") && !t.named() {
		return nil, fmt.Errorf("no cluster: there is none in %s, and serin does not run in one\n  remedy: name a kubeconfig with --kubeconfig or KUBECONFIG", t.kubeconfig())
	}
	c.QPS, c.Burst = qps, burst
	return c, nil
}

// named says whether --server names the cluster.
func (t Target) named() bool { return t.Config.APIServer != nil && *t.Config.APIServer != "" }

func (t Target) context() string {
	if c := t.Config.Context; c != nil && *c != "" {
		return *c
	}
	raw, err := t.Config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return ""
	}
	return raw.CurrentContext
}

func (t Target) kubeconfig() string {
	if k := t.Config.KubeConfig; k != nil && *k != "" {
		return *k
	}
	return strings.Join(t.Config.ToRawKubeConfigLoader().ConfigAccess().GetLoadingPrecedence(), ":")
}

// namespace is what -n named, empty for all.
func (t Target) namespace() string {
	if n := t.Config.Namespace; n != nil {
		return *n
	}
	return ""
}
