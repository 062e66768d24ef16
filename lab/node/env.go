package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// environment resolves a container's environment as a kubelet does.
func (w *worker) environment(ctx context.Context, pod *corev1.Pod, c corev1.Container) (map[string]string, error) {
	data := func(kind, name string) (map[string]string, error) { return w.data(ctx, pod.Namespace, kind, name) }
	return Environment(pod, c, data)
}

// data is the content of a ConfigMap or Secret; nil if there is none.
func (w *worker) data(ctx context.Context, namespace, kind, name string) (map[string]string, error) {
	core := w.k.opts.Client.CoreV1()
	if kind == "ConfigMap" {
		cm, err := core.ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, ignoreNotFound(err)
		}
		return withBinary(cm.Data, cm.BinaryData), nil
	}
	s, err := core.Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	return withBinary(nil, s.Data), nil
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("reading: %w", err)
}

func withBinary(text map[string]string, binary map[string][]byte) map[string]string {
	all := map[string]string{}
	maps.Copy(all, text)
	for k, v := range binary {
		all[k] = string(v)
	}
	return all
}

// Data reads a ConfigMap or Secret of the pod's namespace; nil if it is not there.
type Data func(kind, name string) (map[string]string, error)

// errMissing is a reference to something that is not there and not optional.
var errMissing = errors.New("not found")

// Environment resolves the environment of a container of pod, whose status has its
// addresses.
func Environment(pod *corev1.Pod, c corev1.Container, data Data) (map[string]string, error) {
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		if err := fromAll(env, from, data); err != nil {
			return nil, err
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env[e.Name] = expand(e.Value, env)
			continue
		}
		v, found, err := value(pod, c, *e.ValueFrom, data)
		if err != nil {
			return nil, fmt.Errorf("resolving %s of container %s: %w", e.Name, c.Name, err)
		}
		if found {
			env[e.Name] = v
		}
	}
	return env, nil
}

func fromAll(env map[string]string, from corev1.EnvFromSource, data Data) error {
	kind, name, optional := "", "", false
	switch {
	case from.ConfigMapRef != nil:
		kind, name, optional = "ConfigMap", from.ConfigMapRef.Name, isTrue(from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		kind, name, optional = "Secret", from.SecretRef.Name, isTrue(from.SecretRef.Optional)
	default:
		return nil
	}
	all, err := data(kind, name)
	if err != nil {
		return err
	}
	if all == nil && !optional {
		return fmt.Errorf("reading %s %q: %w", kind, name, errMissing)
	}
	for k, v := range all {
		env[from.Prefix+k] = v
	}
	return nil
}

// value resolves one source; false if it is optional and not there.
func value(pod *corev1.Pod, c corev1.Container, from corev1.EnvVarSource, data Data) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		v, err := Field(pod, from.FieldRef.FieldPath)
		return v, true, err
	case from.ResourceFieldRef != nil:
		v, err := resourceField(pod, c, *from.ResourceFieldRef)
		return v, true, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		return key(data, "ConfigMap", r.Name, r.Key, r.Optional)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		return key(data, "Secret", r.Name, r.Key, r.Optional)
	}
	return "", false, nil
}

func key(data Data, kind, name, key string, optional *bool) (string, bool, error) {
	all, err := data(kind, name)
	if err != nil {
		return "", false, err
	}
	v, ok := all[key]
	if !ok && !isTrue(optional) {
		return "", false, fmt.Errorf("reading key %q of %s %q: %w", key, kind, name, errMissing)
	}
	return v, ok, nil
}

// Field is a field of the downward API.
func Field(pod *corev1.Pod, path string) (string, error) {
	if m, k, ok := subscript(path); ok {
		switch m {
		case "metadata.labels":
			return pod.Labels[k], nil
		case "metadata.annotations":
			return pod.Annotations[k], nil
		}
	}
	v, ok := map[string]string{
		"metadata.name":           pod.Name,
		"metadata.namespace":      pod.Namespace,
		"metadata.uid":            string(pod.UID),
		"metadata.labels":         lines(pod.Labels),
		"metadata.annotations":    lines(pod.Annotations),
		"spec.nodeName":           pod.Spec.NodeName,
		"spec.serviceAccountName": pod.Spec.ServiceAccountName,
		"status.podIP":            pod.Status.PodIP,
		"status.podIPs":           pod.Status.PodIP,
		"status.hostIP":           pod.Status.HostIP,
		"status.hostIPs":          pod.Status.HostIP,
	}[path]
	if !ok {
		return "", fmt.Errorf("reading field %s: unknown", path)
	}
	return v, nil
}

// subscript takes metadata.labels['key'] apart.
func subscript(path string) (string, string, bool) {
	m, k, ok := strings.Cut(path, "['")
	return m, strings.TrimSuffix(k, "']"), ok
}

// lines is how a volume shows a map: key="value", sorted.
func lines(m map[string]string) string {
	var b strings.Builder
	for _, k := range sortedKeys(m) {
		fmt.Fprintf(&b, "%s=%s\n", k, strconv.Quote(m[k]))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// resourceField is a container's limit or request, in divisors, rounded up.
func resourceField(pod *corev1.Pod, c corev1.Container, ref corev1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" {
		for _, o := range pod.Spec.Containers {
			if o.Name == ref.ContainerName {
				c = o
			}
		}
	}
	section, name, ok := strings.Cut(ref.Resource, ".")
	if !ok {
		return "", fmt.Errorf("reading resource %s: unknown", ref.Resource)
	}
	q := quantity(c.Resources, section, name)
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == "cpu" {
		return strconv.FormatInt((q.MilliValue()+divisor.MilliValue()-1)/divisor.MilliValue(), 10), nil
	}
	return strconv.FormatInt((q.Value()+divisor.Value()-1)/divisor.Value(), 10), nil
}

// quantity is a limit or request. Without a limit it is the node's capacity,
// which here is the machine's: a process must not think that it has the CPUs of
// a simulated node.
func quantity(r corev1.ResourceRequirements, section, name string) resource.Quantity {
	if section == "requests" {
		return r.Requests[corev1.ResourceName(name)]
	}
	if q, ok := r.Limits[corev1.ResourceName(name)]; ok {
		return q
	}
	if name == "cpu" {
		return *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI)
	}
	return resource.MustParse("64Gi")
}

// expand replaces $(NAME) by what is already known; $$ is an escape and unknown
// names stay.
func expand(s string, env map[string]string) string {
	return regexp.MustCompile(`\$\$|\$\([^()]*\)`).ReplaceAllStringFunc(s, func(m string) string {
		if m == "$$" {
			return "$"
		}
		if v, ok := env[m[2:len(m)-1]]; ok {
			return v
		}
		return m
	})
}

func isTrue(b *bool) bool { return b != nil && *b }
