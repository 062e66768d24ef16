package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// mount writes a container's volumes under dir, each at its mount path: istiod
// reads ./etc/... and ./var/... relative to where it runs.
func (w *worker) mount(ctx context.Context, pod *corev1.Pod, c corev1.Container, dir string) error {
	volumes := map[string]corev1.Volume{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = v
	}
	for _, m := range c.VolumeMounts {
		files, err := w.content(ctx, pod, volumes[m.Name])
		if err != nil {
			return fmt.Errorf("mounting volume %s: %w", m.Name, err)
		}
		if files == nil && volumes[m.Name].EmptyDir == nil { // optional and not there: no empty directory that looks like one
			continue
		}
		at := filepath.Join(dir, m.MountPath)
		if err := os.MkdirAll(at, 0o750); err != nil {
			return fmt.Errorf("mounting volume %s: %w", m.Name, err)
		}
		for name, text := range files {
			path := filepath.Join(at, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				return fmt.Errorf("mounting volume %s: %w", m.Name, err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return fmt.Errorf("mounting volume %s: %w", m.Name, err)
			}
		}
	}
	return nil
}

// content is the files of a volume; nil if it is optional and not there.
func (w *worker) content(ctx context.Context, pod *corev1.Pod, v corev1.Volume) (map[string]string, error) {
	switch {
	case v.ConfigMap != nil:
		return w.files(ctx, pod, ref{"ConfigMap", v.ConfigMap.Name, v.ConfigMap.Items, isTrue(v.ConfigMap.Optional)})
	case v.Secret != nil:
		return w.files(ctx, pod, ref{"Secret", v.Secret.SecretName, v.Secret.Items, isTrue(v.Secret.Optional)})
	case v.DownwardAPI != nil:
		return downward(pod, v.DownwardAPI.Items)
	case v.Projected != nil:
		return w.projected(ctx, pod, v.Projected.Sources)
	}
	return nil, nil //nolint:nilnil // an emptyDir, or a kind the lab has no use for
}

func (w *worker) projected(ctx context.Context, pod *corev1.Pod, sources []corev1.VolumeProjection) (map[string]string, error) {
	all := map[string]string{}
	for _, s := range sources {
		var files map[string]string
		var err error
		switch {
		case s.ConfigMap != nil:
			files, err = w.files(ctx, pod, ref{"ConfigMap", s.ConfigMap.Name, s.ConfigMap.Items, isTrue(s.ConfigMap.Optional)})
		case s.Secret != nil:
			files, err = w.files(ctx, pod, ref{"Secret", s.Secret.Name, s.Secret.Items, isTrue(s.Secret.Optional)})
		case s.DownwardAPI != nil:
			files, err = downward(pod, s.DownwardAPI.Items)
		case s.ServiceAccountToken != nil:
			var token string
			token, err = w.token(ctx, pod, s.ServiceAccountToken.Audience, 24*time.Hour)
			files = map[string]string{s.ServiceAccountToken.Path: token}
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(all, files)
	}
	return all, nil
}

// ref is a ConfigMap or Secret as a source of files.
type ref struct {
	kind, name string
	items      []corev1.KeyToPath
	optional   bool
}

func (w *worker) files(ctx context.Context, pod *corev1.Pod, r ref) (map[string]string, error) {
	all, err := w.data(ctx, pod.Namespace, r.kind, r.name)
	if err != nil {
		return nil, err
	}
	if all == nil {
		if r.optional {
			return nil, nil //nolint:nilnil // documented: optional and not there
		}
		return nil, fmt.Errorf("reading %s %q: %w", r.kind, r.name, errMissing)
	}
	if len(r.items) == 0 {
		return all, nil
	}
	some := map[string]string{}
	for _, i := range r.items {
		v, ok := all[i.Key]
		if !ok && !r.optional {
			return nil, fmt.Errorf("reading key %q of %s %q: %w", i.Key, r.kind, r.name, errMissing)
		}
		some[i.Path] = v
	}
	return some, nil
}

func downward(pod *corev1.Pod, items []corev1.DownwardAPIVolumeFile) (map[string]string, error) {
	files := map[string]string{}
	for _, i := range items {
		if i.FieldRef == nil {
			continue
		}
		v, err := Field(pod, i.FieldRef.FieldPath)
		if err != nil {
			return nil, err
		}
		files[i.Path] = v
	}
	return files, nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
