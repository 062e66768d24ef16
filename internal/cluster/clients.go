package cluster

import (
	"fmt"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Manager is the field manager of everything that serin writes itself.
const Manager = "serin"

// Clients are the ways to the API server. Tests fill them with fakes.
type Clients struct {
	Kube     kubernetes.Interface
	CRDs     apiextensions.Interface
	Metadata metadata.Interface // names, labels and owners only: what is not needed is not sent
	Dynamic  dynamic.Interface  // for kinds of which serin has no type
}

// NewClients connects to a cluster. Requests are not throttled here: the API
// server knows its load better and says so.
func NewClients(cfg *rest.Config) (Clients, error) {
	own := rest.CopyConfig(cfg)
	own.WarningHandler = rest.NoWarnings{}
	own.UserAgent = Manager
	if own.QPS == 0 {
		own.QPS = -1
	}
	plain := rest.CopyConfig(own)
	// Protobuf halves the bytes and a third of the time of a long list.
	own.ContentType = runtime.ContentTypeProtobuf
	own.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	var c Clients
	var err error
	if c.Kube, err = kubernetes.NewForConfig(own); err != nil {
		return Clients{}, fmt.Errorf("making a client: %w", err)
	}
	if c.CRDs, err = apiextensions.NewForConfig(plain); err != nil {
		return Clients{}, fmt.Errorf("making a client for custom resource definitions: %w", err)
	}
	if c.Metadata, err = metadata.NewForConfig(plain); err != nil {
		return Clients{}, fmt.Errorf("making a client for metadata: %w", err)
	}
	if c.Dynamic, err = dynamic.NewForConfig(plain); err != nil {
		return Clients{}, fmt.Errorf("making a client for custom resources: %w", err)
	}
	return c, nil
}
