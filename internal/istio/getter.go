package istio

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// getter hands Helm the cluster that a rest.Config names: Helm itself starts from
// a kubeconfig, which a controller in the cluster does not have.
type getter struct {
	cfg       *rest.Config
	namespace string
	cache     discovery.CachedDiscoveryInterface
}

// ToRESTConfig returns the configuration.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.cfg), nil }

// ToDiscoveryClient returns a discovery client that remembers.
func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	if g.cache == nil {
		c, err := discovery.NewDiscoveryClientForConfig(g.cfg)
		if err != nil {
			return nil, fmt.Errorf("making a discovery client: %w", err)
		}
		g.cache = memory.NewMemCacheClient(c)
	}
	return g.cache, nil
}

// ToRESTMapper returns a mapper from kinds to resources.
func (g *getter) ToRESTMapper() (meta.RESTMapper, error) {
	c, err := g.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	return restmapper.NewDeferredDiscoveryRESTMapper(c), nil
}

// ToRawKubeConfigLoader returns a loader that knows the namespace; Helm asks it for nothing else.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: g.cfg.Host}
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", Namespace: g.namespace}
	c.CurrentContext = "c"
	return clientcmd.NewDefaultClientConfig(*c, &clientcmd.ConfigOverrides{})
}
