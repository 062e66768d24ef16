package cluster

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
)

// service is a Service that selects pods.
type service struct {
	namespace, name string
	selector        map[string]string
	exposure        string // how it reaches more than the mesh, if it does
	headless        bool   // and that is all there is to it
	full            mesh.Service
}

func (r *Reader) services(ctx context.Context, f *facts) error {
	f.services, f.annotated = map[string][]service{}, annotations{}
	return each(ctx, "services", metav1.ListOptions{}, r.Kube.CoreV1().Services("").List, func(l *corev1.ServiceList) {
		for i := range l.Items {
			s := &l.Items[i]
			if len(s.Spec.Selector) > 0 {
				f.services[s.Namespace] = append(f.services[s.Namespace], service{s.Namespace, s.Name, s.Spec.Selector, exposureOf(s), onlyHeadless(s), serviceFacts(s)})
			}
			f.annotated.note("service "+s.Namespace+"/"+s.Name, s.Annotations)
			if s.Namespace != r.namespace {
				continue
			}
			f.istioServices = append(f.istioServices, s.Namespace+"/"+s.Name)
			if tag := s.Labels[mesh.TagLabel]; tag != "" {
				f.tagServices = append(f.tagServices, mesh.TagService{Name: s.Name, Tag: tag, Revision: s.Labels[mesh.RevLabel]})
			}
			if strings.HasPrefix(s.Name, "istiod") && strings.HasSuffix(s.Name, "-remote") {
				f.unsupported = append(f.unsupported, mesh.Object{
					Kind: "Service", Namespace: s.Namespace, Name: s.Name, Revision: s.Labels[mesh.RevLabel],
					Note: "the control plane is, or serves, another cluster (istiod-remote): serin does not see the proxies there",
				})
			}
		}
	})
}

func (r *Reader) namespaces(ctx context.Context, f *facts) error {
	f.spaces = annotations{}
	return each(ctx, "namespaces", metav1.ListOptions{}, r.Kube.CoreV1().Namespaces().List, func(l *corev1.NamespaceList) {
		for _, n := range l.Items {
			f.spaces.note("namespace "+n.Name, n.Annotations)
			f.namespaces = append(f.namespaces, mesh.Namespace{Name: n.Name, Labels: n.Labels, Owner: namespaceOwner(&n)})
			if n.Labels["istio.io/dataplane-mode"] == "ambient" {
				f.ambient = append(f.ambient, mesh.Object{
					Kind: "Namespace", Name: n.Name, Note: "its pods are in ambient mode, by ztunnel: they have no sidecar that could move",
				})
			}
		}
	})
}

// remoteSecrets are what makes a mesh span clusters.
func (r *Reader) remoteSecrets(ctx context.Context, f *facts) error {
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	list := func(ctx context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
		return r.Metadata.Resource(gvr).Namespace(r.namespace).List(ctx, o)
	}
	return each(ctx, "secrets in namespace "+r.namespace, metav1.ListOptions{LabelSelector: "istio/multiCluster=true"}, list, func(l *metav1.PartialObjectMetadataList) {
		for _, s := range l.Items {
			f.remotes = append(f.remotes, mesh.Object{
				Kind: "Secret", Namespace: s.Namespace, Name: s.Name, Note: "it gives istiod another cluster, whose proxies serin does not see",
			})
		}
	})
}

// version is the API server's.
func (r *Reader) version(_ context.Context, f *facts) error {
	v, err := r.Kube.Discovery().ServerVersion()
	if err != nil {
		return asking("get", "the API server's version", err)
	}
	f.kubernetes = v.GitVersion
	return nil
}
