package istiod

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// reviewed asks a webhook of istiod as the API server would, of a dry run.
func (s *server) reviewed(ctx context.Context, path string, r *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
	yes := true
	r.UID, r.Operation, r.DryRun = types.UID("serin"), admissionv1.Create, &yes
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: r,
	})
	if err != nil {
		return nil, fmt.Errorf("writing a review: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("https://%s:%d%s", s.pod.Name, webhookPort, path), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.webhooks.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s of istiod %s: %w", path, s.pod.Name, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s of istiod %s: %w", path, s.pod.Name, err)
	}
	var answer admissionv1.AdmissionReview
	if resp.StatusCode != http.StatusOK || json.Unmarshal(b, &answer) != nil || answer.Response == nil {
		return nil, fmt.Errorf("%s of istiod %s answered %s: %.200s", path, s.pod.Name, resp.Status, b)
	}
	return answer.Response, nil
}

// reason is what a refusal says.
func reason(r *admissionv1.AdmissionResponse) string {
	if r.Result == nil || r.Result.Message == "" {
		return "no reason was given"
	}
	return r.Result.Message
}

// inject is the pod that the revision's injector makes of another.
func (s *server) inject(ctx context.Context, pod corev1.Pod) (corev1.Pod, error) {
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	raw, err := json.Marshal(pod)
	if err != nil {
		return pod, fmt.Errorf("writing a pod: %w", err)
	}
	r, err := s.reviewed(ctx, "/inject", &admissionv1.AdmissionRequest{
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Namespace: pod.Namespace,
		Object: runtime.RawExtension{Raw: raw},
	})
	if err != nil {
		return pod, err
	}
	if !r.Allowed {
		return pod, fmt.Errorf("revision %s refuses the pod: %s", s.revision, reason(r))
	}
	if len(r.Patch) == 0 {
		return pod, nil // its policy says that the pod gets no proxy
	}
	patch, err := jsonpatch.DecodePatch(r.Patch)
	if err != nil {
		return pod, fmt.Errorf("reading the patch of revision %s: %w", s.revision, err)
	}
	raw, err = patch.Apply(raw)
	if err != nil {
		return pod, fmt.Errorf("applying the patch of revision %s: %w", s.revision, err)
	}
	var out corev1.Pod
	if err := json.Unmarshal(raw, &out); err != nil {
		return pod, fmt.Errorf("reading the pod that revision %s made: %w", s.revision, err)
	}
	return out, nil
}
