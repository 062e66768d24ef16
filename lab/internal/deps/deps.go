package deps
import (
 _ "k8s.io/client-go/kubernetes"
 _ "k8s.io/client-go/dynamic"
 _ "k8s.io/client-go/informers"
 _ "k8s.io/client-go/tools/remotecommand"
 _ "k8s.io/kubelet/pkg/apis"
 _ "k8s.io/streaming/pkg/httpstream/spdy"
 _ "github.com/spf13/cobra"
 _ "sigs.k8s.io/yaml"
 _ "github.com/google/go-cmp/cmp"
 _ "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
 _ "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
 _ "google.golang.org/grpc"
 _ "google.golang.org/protobuf/proto"
 _ "golang.org/x/sync/errgroup"
 _ "github.com/prometheus/client_golang/prometheus"
)
