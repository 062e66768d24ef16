// Package journal keeps runs in the cluster they are about: in ConfigMaps of
// Istio's namespace, as many as it takes, and a Lease that says which process
// holds the mesh. All that a resume or an undo needs is there.
//
// Start reading at Journal.Save.
package journal

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/run"
)

// Names of what the journal writes.
const (
	runLabel       = "serin.dev/run"
	indexLabel     = "serin.dev/index"
	wishAnnotation = "serin.dev/wish"
	chunksKey      = "chunks"     // how many ConfigMaps hold the run, "0" when the index does
	generationKey  = "generation" // of the chunks
	dataKey        = "run"
	manager        = "serin"
)

// chunkSize is how much of a run one ConfigMap holds, in bytes; the API server
// takes a mebibyte, and base64 adds a third.
const chunkSize = 700 << 10

// Journal keeps runs. Make one with New.
type Journal struct {
	kube      kubernetes.Interface
	namespace string
	now       func() time.Time
	size      int
	backoff   wait.Backoff
	me        string        // the Lease's holder once Acquire has taken it: every save asks whether it still is
	lost      chan struct{} // closed when another has it
}

// New returns the journal in a namespace.
func New(kube kubernetes.Interface, namespace string, now func() time.Time) *Journal {
	return &Journal{
		kube: kube, namespace: namespace, now: now, size: chunkSize,
		backoff: wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Steps: 9, Cap: 10 * time.Second},
	}
}

// WithChunkSize sets how many bytes one ConfigMap holds.
func (j *Journal) WithChunkSize(n int) *Journal {
	j.size = n
	return j
}

func indexName(id string) string { return "serin-run-" + id }

// Save stores a run. Order: the parts of the new generation, then the index that
// points at them, then the old parts go: a crash between any two leaves a run
// that can be read. A process that has lost the mesh to another is refused: it may
// have slept through it. An API server that is away is waited for, some 40 seconds.
func (j *Journal) Save(ctx context.Context, r run.Run) error {
	data, err := pack(r)
	if err != nil {
		return err
	}
	last := error(nil)
	err = wait.ExponentialBackoffWithContext(ctx, j.backoff, func(ctx context.Context) (bool, error) {
		last = j.save(ctx, r, data)
		if last == nil {
			return true, nil
		}
		if errors.Is(last, drive.ErrRefused) || apierrors.IsForbidden(last) || apierrors.IsInvalid(last) || apierrors.IsNotFound(last) {
			return false, last
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("storing run %s in namespace %s: %w", r.ID, j.namespace, cmp.Or(last, err))
	}
	return nil
}

func (j *Journal) save(ctx context.Context, r run.Run, data []byte) error {
	if err := j.stillMine(ctx); err != nil {
		return err
	}
	maps := j.kube.CoreV1().ConfigMaps(j.namespace)
	index, err := maps.Get(ctx, indexName(r.ID), metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return fmt.Errorf("reading the index: %w", err)
	}
	if missing {
		index = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: indexName(r.ID), Namespace: j.namespace}}
	}
	hadChunks, gen := index.Data[chunksKey] != "0", next(index.Data[generationKey])
	n := 0
	index.BinaryData = nil
	if len(data) > j.size {
		for part := range slices.Chunk(data, j.size) {
			if err := j.putChunk(ctx, r.ID, gen, n, part); err != nil {
				return err
			}
			n++
		}
	} else {
		index.BinaryData = map[string][]byte{dataKey: data}
	}
	index.Data = map[string]string{generationKey: gen, chunksKey: strconv.Itoa(n)}
	describe(index, r)
	if missing {
		_, err = maps.Create(ctx, index, metav1.CreateOptions{FieldManager: manager})
	} else {
		_, err = maps.Update(ctx, index, metav1.UpdateOptions{FieldManager: manager})
	}
	if err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	if n == 0 && !hadChunks {
		return nil
	}
	return j.dropChunks(ctx, r.ID, gen)
}

// describe writes for people what the index is about.
func describe(c *corev1.ConfigMap, r run.Run) {
	c.Labels = map[string]string{runLabel: r.ID, "app.kubernetes.io/managed-by": manager, indexLabel: "true"}
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	c.Annotations["serin.dev/phase"] = string(r.Phase)
	c.Annotations["serin.dev/step"] = fmt.Sprintf("%d/%d", r.At+1, len(r.Plan.Steps))
	c.Annotations["serin.dev/to"] = r.Plan.Version
}

func next(gen string) string {
	n, err := strconv.Atoi(gen)
	if err != nil {
		n = 0
	}
	return strconv.Itoa(n + 1)
}

func chunkName(id, gen string, n int) string {
	return fmt.Sprintf("%s-%s-%d", indexName(id), gen, n)
}

func (j *Journal) putChunk(ctx context.Context, id, gen string, n int, part []byte) error {
	c := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: chunkName(id, gen, n), Namespace: j.namespace, Labels: map[string]string{runLabel: id, "app.kubernetes.io/managed-by": manager},
		},
		BinaryData: map[string][]byte{dataKey: part},
	}
	maps := j.kube.CoreV1().ConfigMaps(j.namespace)
	_, err := maps.Create(ctx, c, metav1.CreateOptions{FieldManager: manager})
	if apierrors.IsAlreadyExists(err) { // of a process that died before it wrote the index
		_, err = maps.Update(ctx, c, metav1.UpdateOptions{FieldManager: manager})
	}
	if err != nil {
		return fmt.Errorf("writing part %d: %w", n, err)
	}
	return nil
}

// dropChunks removes the parts of other generations than gen, those too that a
// process left which died between two writes.
func (j *Journal) dropChunks(ctx context.Context, id, gen string) error {
	maps := j.kube.CoreV1().ConfigMaps(j.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: runLabel + "=" + id + ",!" + indexLabel})
	if err != nil {
		return fmt.Errorf("listing old parts: %w", err)
	}
	for _, c := range list.Items {
		if strings.HasPrefix(c.Name, indexName(id)+"-"+gen+"-") {
			continue
		}
		if err := maps.Delete(ctx, c.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing an old part: %w", err)
		}
	}
	return nil
}

// Load reads a run.
func (j *Journal) Load(ctx context.Context, id string) (run.Run, error) {
	index, err := j.kube.CoreV1().ConfigMaps(j.namespace).Get(ctx, indexName(id), metav1.GetOptions{})
	if err != nil {
		return run.Run{}, fmt.Errorf("reading run %s in namespace %s: %w", id, j.namespace, err)
	}
	return j.unpack(ctx, id, index)
}

func (j *Journal) unpack(ctx context.Context, id string, index *corev1.ConfigMap) (run.Run, error) {
	data := slices.Clone(index.BinaryData[dataKey])
	n, err := strconv.Atoi(index.Data[chunksKey])
	if err != nil {
		return run.Run{}, fmt.Errorf("reading run %s: its ConfigMap %s is not as serin wrote it", id, index.Name)
	}
	for i := range n {
		c, err := j.kube.CoreV1().ConfigMaps(j.namespace).Get(ctx, chunkName(id, index.Data[generationKey], i), metav1.GetOptions{})
		if err != nil {
			return run.Run{}, fmt.Errorf("reading part %d of run %s: %w", i, id, err)
		}
		data = append(data, c.BinaryData[dataKey]...)
	}
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return run.Run{}, fmt.Errorf("unpacking run %s: %w", id, err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		return run.Run{}, fmt.Errorf("unpacking run %s: %w", id, err)
	}
	var r run.Run
	if err := json.Unmarshal(text, &r); err != nil {
		return run.Run{}, fmt.Errorf("decoding run %s: %w", id, err)
	}
	return r, nil
}

func pack(r run.Run) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding run %s: %w", r.ID, err)
	}
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	if _, err := zw.Write(text); err != nil {
		return nil, fmt.Errorf("packing run %s: %w", r.ID, err)
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("packing run %s: %w", r.ID, err)
	}
	return b.Bytes(), nil
}

// List returns all runs, the newest first.
func (j *Journal) List(ctx context.Context) ([]run.Run, error) {
	list, err := j.kube.CoreV1().ConfigMaps(j.namespace).List(ctx, metav1.ListOptions{LabelSelector: indexLabel + "=true"})
	if err != nil {
		return nil, fmt.Errorf("listing runs in namespace %s: %w", j.namespace, err)
	}
	var out []run.Run
	var bad []error
	for i := range list.Items {
		r, err := j.unpack(ctx, list.Items[i].Labels[runLabel], &list.Items[i])
		if err != nil {
			bad = append(bad, err)
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b run.Run) int { return b.Started.Compare(a.Started) })
	return out, errors.Join(bad...)
}

// wishes is how many are kept of what was asked of a run, taken or not.
const wishes = 50

// Ask notes what a person wants of a run, for the process that drives it, after what
// others have asked, and returns the wish's place among them.
func (j *Journal) Ask(ctx context.Context, id string, w run.Wish) (int64, error) {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		index, asked, err := j.asked(ctx, id)
		if err != nil {
			return err
		}
		w.Seq = j.now().UnixNano()
		if n := len(asked); n > 0 { // another's clock may be ahead
			w.Seq = max(w.Seq, asked[n-1].Seq+1)
		}
		asked = append(asked, w)
		text, err := json.Marshal(asked[max(0, len(asked)-wishes):])
		if err != nil {
			return fmt.Errorf("encoding a wish: %w", err)
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": index.ResourceVersion, "annotations": map[string]string{wishAnnotation: string(text)},
		}})
		if err != nil {
			return fmt.Errorf("encoding a wish: %w", err)
		}
		_, err = j.kube.CoreV1().ConfigMaps(j.namespace).Patch(ctx, indexName(id), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("asking run %s to %s: %w", id, w.Kind, err)
	}
	return w.Seq, nil
}

// Wish returns what was asked first after a wish that was taken, the zero Wish if
// nothing was.
func (j *Journal) Wish(ctx context.Context, id string, taken int64) (run.Wish, error) {
	_, asked, err := j.asked(ctx, id)
	if err != nil {
		return run.Wish{}, fmt.Errorf("reading what was asked of run %s: %w", id, err)
	}
	if i := slices.IndexFunc(asked, func(w run.Wish) bool { return w.Seq > taken }); i >= 0 {
		return asked[i], nil
	}
	return run.Wish{}, nil
}

// asked reads what was asked of a run, in its order.
func (j *Journal) asked(ctx context.Context, id string) (*corev1.ConfigMap, []run.Wish, error) {
	index, err := j.kube.CoreV1().ConfigMaps(j.namespace).Get(ctx, indexName(id), metav1.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	var list []run.Wish
	if text := index.Annotations[wishAnnotation]; text != "" {
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return nil, nil, err
		}
	}
	return index, list, nil
}
