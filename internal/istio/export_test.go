package istio

import (
	"bytes"
	"context"
	"io"
	"slices"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// Shelf is Helm's storage in memory, which stays when a process dies.
type Shelf struct {
	releases *storage.Storage
	kept     set
	Torn     bool // some of what a live release holds is gone
}

// HelmInMemory returns Helm over a cluster that accepts everything.
func HelmInMemory(charts *Charts) (*Helm, *Shelf) {
	s := &Shelf{releases: storage.Init(driver.NewMemory()), kept: set{}}
	h := &Helm{
		charts: charts,
		configure: func(namespace string) (*action.Configuration, error) {
			c := quiet()
			if m, ok := s.releases.Driver.(*driver.Memory); ok {
				m.SetNamespace(namespace)
			}
			c.Releases = s.releases
			c.KubeClient = &kubefake.PrintingKubeClient{Out: io.Discard, LogOutput: io.Discard}
			c.Capabilities = common.DefaultCapabilities
			return c, nil
		},
		fails: func(context.Context, string) (bool, error) { return false, nil },
		whole: func(*action.Configuration, string) (bool, error) { return !s.Torn, nil },
		shelf: s.kept,
	}
	return h, s
}

// Charts lets it load from another source.
func (h *Helm) Charts(from *Charts) { h.charts = from }

// set is a shelf in memory, packed as Secrets are.
type set map[string][]byte

func (s set) put(_ context.Context, rel *release.Release) error {
	data, err := packed(rel)
	s[rel.Namespace+"/"+rel.Name] = data
	return err
}

func (s set) get(_ context.Context, namespace, name string) (*release.Release, error) {
	if data, ok := s[namespace+"/"+name]; ok {
		return unpacked(data)
	}
	return nil, nil //nolint:nilnil // nothing is kept
}

func (s set) drop(_ context.Context, namespace, name string) error {
	delete(s, namespace+"/"+name)
	return nil
}

// Manifest is what a release's newest record says it holds.
func (s *Shelf) Manifest(name string) string {
	l, err := s.releases.Last(name)
	if rel, ok := l.(*release.Release); err == nil && ok {
		return rel.Manifest
	}
	return ""
}

// First is when a release was first deployed.
func (s *Shelf) First(name string) time.Time {
	l, err := s.releases.Last(name)
	if rel, ok := l.(*release.Release); err == nil && ok {
		return rel.Info.FirstDeployed
	}
	return time.Time{}
}

// History lists a release's records as "1 superseded", oldest first.
func (s *Shelf) History(name string) []string {
	list, err := s.releases.History(name)
	if err != nil {
		return nil
	}
	out := make([]string, len(list))
	for _, r := range list {
		if rel, ok := r.(*release.Release); ok {
			out[rel.Version-1] = rel.Info.Status.String()
		}
	}
	return out
}

// Kill makes the newest record what a process leaves that dies in the middle.
func (s *Shelf) Kill(name, status string) {
	l, err := s.releases.Last(name)
	rel, ok := l.(*release.Release)
	if err != nil || !ok {
		panic("there is no release " + name)
	}
	rel.Info.Status = rcommon.Status(status)
	if err := s.releases.Update(rel); err != nil {
		panic(err)
	}
	if rel.Version == 1 || status != "pending-upgrade" && status != "failed" {
		return
	}
	below, err := s.releases.Get(name, rel.Version-1)
	if prev, ok := below.(*release.Release); err == nil && ok {
		prev.Info.Status = rcommon.StatusDeployed // Helm supersedes it only at the end
		if err := s.releases.Update(prev); err != nil {
			panic(err)
		}
	}
}

// WithoutPolicy is the post-renderer over a set of validators that fail.
func WithoutPolicy(manifest string, failing ...string) (string, error) {
	out, err := withoutPolicy(bytes.NewBufferString(manifest), func(name string) (bool, error) {
		return slices.Contains(failing, name), nil
	})
	if err != nil {
		return "", err
	}
	return out.String(), nil
}

// KeptCRDs is the manifest that is left to uninstall.
func KeptCRDs(manifest string) (string, error) { return keptCRDs(manifest) }

// Applied says how the release's newest record was applied.
func (s *Shelf) Applied(name string, onServer bool) { //nolint:revive // the two ways there are
	l, err := s.releases.Last(name)
	rel, ok := l.(*release.Release)
	if err != nil || !ok {
		return
	}
	rel.ApplyMethod = string(release.ApplyMethodClientSideApply)
	if onServer {
		rel.ApplyMethod = string(release.ApplyMethodServerSideApply)
	}
	_ = s.releases.Update(rel)
}
