package cluster

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-mesh/serin/internal/mesh"
)

// record is one stored revision of a Helm release.
type record struct {
	namespace, name, secret string
	revision                int
	deployed                bool
}

// releaseNames lists Helm's records, without what is in them: those of a big
// cluster are hundreds of megabytes.
func (r *Reader) releaseNames(ctx context.Context, f *facts) error {
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	return r.listed(ctx, gvr, metav1.ListOptions{LabelSelector: "owner=helm"}, func(o metav1.PartialObjectMetadata) {
		n, err := strconv.Atoi(o.Labels["version"])
		if err != nil || o.Labels["status"] == "superseded" {
			return
		}
		f.records = append(f.records, record{o.Namespace, o.Labels["name"], o.Name, n, o.Labels["status"] == "deployed"})
	})
}

// releases reads the releases that can be Istio's: those in Istio's namespace and
// those that own something of the mesh.
func (r *Reader) releases(ctx context.Context, f facts, s mesh.Snapshot) ([]mesh.Release, error) {
	wanted := owners(s)
	latest := map[string]record{}
	for _, rec := range f.records {
		id := rec.namespace + "/" + rec.name
		if rec.namespace != r.namespace && !wanted[id] {
			continue
		}
		if have, ok := latest[id]; !ok || rec.revision > have.revision {
			latest[id] = rec
		}
	}
	found := make([]*mesh.Release, len(latest))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	i := 0
	for _, rec := range latest {
		at := i
		i++
		g.Go(func() error {
			rel, err := r.release(ctx, rec)
			found[at] = rel
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []mesh.Release
	for _, rel := range found {
		if rel != nil {
			out = append(out, *rel)
		}
	}
	slices.SortFunc(out, func(a, b mesh.Release) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
	return out, nil
}

// owners are the Helm releases, namespace/name, that own something of the mesh.
func owners(s mesh.Snapshot) map[string]bool {
	out := map[string]bool{}
	note := func(o mesh.Owner) {
		if o.Kind == mesh.OwnerHelm {
			out[o.Name] = true
		}
	}
	for _, c := range s.ControlPlanes {
		note(c.Owner)
	}
	for _, in := range s.Injectors {
		note(in.Owner)
	}
	for _, v := range s.Validators {
		note(v.Owner)
	}
	for _, c := range s.CRDs {
		note(c.Owner)
	}
	for _, w := range s.Workloads {
		if w.Gateway() {
			note(w.Owner)
		}
	}
	return out
}

// release reads one record, and returns nil for a chart that is not Istio's.
func (r *Reader) release(ctx context.Context, rec record) (*mesh.Release, error) {
	s, err := r.Kube.CoreV1().Secrets(rec.namespace).Get(ctx, rec.secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // it went while we looked
	}
	if err != nil {
		return nil, asking("get", "secrets "+rec.namespace+"/"+rec.secret+" (a Helm release)", err)
	}
	rel, err := decodeRelease(s)
	if err != nil {
		return nil, fmt.Errorf("reading the Helm release in secret %s/%s: %w", rec.namespace, rec.secret, err)
	}
	if !slices.Contains([]string{"base", "istiod", "gateway"}, rel.Chart) {
		return nil, nil //nolint:nilnil // not Istio's
	}
	rel.Namespace = rec.namespace
	rel.Values = mesh.Masked(rel.Values)
	return &rel, nil
}

// decodeRelease reads what Helm stores: JSON, zipped, in base64.
func decodeRelease(s *corev1.Secret) (mesh.Release, error) {
	raw, err := base64.StdEncoding.DecodeString(string(s.Data["release"]))
	if err != nil {
		return mesh.Release{}, fmt.Errorf("decoding: %w", err)
	}
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b, 0x08}) {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return mesh.Release{}, fmt.Errorf("unzipping: %w", err)
		}
		if raw, err = io.ReadAll(io.LimitReader(z, 64<<20)); err != nil {
			return mesh.Release{}, fmt.Errorf("unzipping: %w", err)
		}
	}
	var stored struct {
		Name string `json:"name"`
		Info struct {
			Status string `json:"status"`
		} `json:"info"`
		Chart struct {
			Metadata struct {
				Name    string `json:"name"`
				Version string `json:"version"`
			} `json:"metadata"`
		} `json:"chart"`
		Config map[string]any `json:"config"`
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		return mesh.Release{}, fmt.Errorf("parsing: %w", err)
	}
	return mesh.Release{
		Name: stored.Name, Chart: stored.Chart.Metadata.Name, Version: stored.Chart.Metadata.Version,
		Status: stored.Info.Status, Values: stored.Config,
	}, nil
}
