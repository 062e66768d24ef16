package cluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/serin-mesh/serin/internal/accesslog"
	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/cluster"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
)

func telemetryKind() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "telemetry.istio.io", Version: "v1", Resource: "telemetries"}
}

func telemetry(ns, name string, age time.Duration, spec map[string]any) *unstructured.Unstructured {
	o := in(ns, custom("telemetry.istio.io/v1", "Telemetry", name, nil, spec))
	o.SetCreationTimestamp(metav1.NewTime(clock.Now().Add(-age)))
	return o
}

func logger(t *testing.T, objects ...runtime.Object) (cluster.Logger, *dynamicfake.FakeDynamicClient) {
	t.Helper()
	w := newWorld(t, append(objects, crd("telemetries", "telemetry.istio.io", "Telemetry"))...)
	dyn, ok := w.Dynamic.(*dynamicfake.FakeDynamicClient)
	if !ok {
		t.Fatal("the world's dynamic client is not the fake")
	}
	return cluster.Logger{Reader: w.reader()}, dyn
}

// What decides who writes access logs, as the API has it.
func TestLogging(t *testing.T) {
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: istioSystem, Name: "istio-1-29-1"}, Data: map[string]string{"mesh": `
accessLogFile: /dev/stdout
rootNamespace: roots
enableEnvoyAccessLogService: true
defaultProviders: {accessLogging: [otel]}
extensionProviders:
- {name: OTEL, envoyOtelAls: {service: otel.example.com, port: 4317}}
- {name: file, envoyFileAccessLog: {path: /var/log/a}}
- {name: jaeger, opentelemetry: {service: jaeger, port: 4317}}
`}}
	provider := []any{map[string]any{"name": "envoy"}}
	l, _ := logger(
		t, config,
		telemetry("roots", "root", time.Hour, map[string]any{"accessLogging": []any{map[string]any{"disabled": true, "match": map[string]any{"mode": "CLIENT"}}}}),
		telemetry("edge", "younger", time.Minute, map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "gw"}}}),
		telemetry("edge", "older", time.Hour, map[string]any{"targetRefs": []any{map[string]any{"kind": "Gateway", "name": "gw"}, map[string]any{"kind": "Service", "name": "x"}}, "accessLogging": []any{
			map[string]any{"providers": provider, "filter": map[string]any{"expression": "true"}},
		}}),
		telemetry("shop", "elsewhere", time.Hour, nil),
	)
	f, err := l.Logging(t.Context(), []mesh.ControlPlane{{Revision: "1-29-1", Namespace: istioSystem}, {Revision: "default", Namespace: istioSystem}}, "edge")
	if err != nil {
		t.Fatal(err)
	}
	want := accesslog.Facts{
		Meshes: map[string]accesslog.Mesh{"1-29-1": {
			Root: "roots", File: "/dev/stdout", Service: true, Defaults: []string{"otel"},
			Providers: map[string]accesslog.Provider{"otel": {Logs: true}, "file": {Logs: true, Path: "/var/log/a"}, "jaeger": {}},
		}},
		Telemetries: []accesslog.Telemetry{
			{Namespace: "edge", Name: "older", Targets: []string{"gw", ""}, Logging: []accesslog.Logging{{Providers: []string{"envoy"}, Filter: "true"}}},
			{Namespace: "roots", Name: "root", Logging: []accesslog.Logging{{Mode: "CLIENT", Disabled: true}}},
			{Namespace: "edge", Name: "younger", Selector: map[string]string{"app": "gw"}},
		},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
}

func wantedLogs() accesslog.Telemetry {
	return accesslog.Telemetry{
		Namespace: "edge", Name: "serin-logs-gw", Selector: map[string]string{"app": "gw"},
		Logging: []accesslog.Logging{{Providers: []string{"envoy"}}, {Providers: []string{"otel"}, Filter: "response.code >= 400"}},
	}
}

func logMarks(until time.Time) accesslog.Marks {
	return accesslog.Marks{By: "erin@office", Command: "serin gateway logs gw --telemetry", Until: until}
}

// S-34: it is tried by a dry run of the server, is marked as serin's, is seen by who
// looks at the mesh, lives as long as its command says so, and goes.
func TestS34_aTelemetryComesAndGoes(t *testing.T) {
	l, dyn := logger(t)
	dry := 0
	dyn.PrependReactor("create", "telemetries", func(a clienttesting.Action) (bool, runtime.Object, error) {
		c, ok := a.(clienttesting.CreateActionImpl)
		if ok && len(c.CreateOptions.DryRun) > 0 {
			dry++
			return true, c.Object, nil
		}
		if o, is := c.Object.(*unstructured.Unstructured); ok && is {
			o.SetUID("made")
		}
		return false, nil, nil
	})
	text, err := l.Try(t.Context(), wantedLogs(), logMarks(clock.Now()))
	if err != nil || dry != 1 || !strings.Contains(string(text), "serin.dev/command: serin gateway logs gw --telemetry") {
		t.Fatalf("%v, %d dry runs:\n%s", err, dry, text)
	}
	if list, err := dyn.Resource(telemetryKind()).List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) > 0 {
		t.Fatalf("trying it made it: %v %v", list, err)
	}
	made, err := l.Add(t.Context(), wantedLogs(), logMarks(clock.Now().Add(time.Minute)))
	if err != nil || made.UID != "made" || made.Left {
		t.Fatalf("%+v %v", made, err)
	}
	o, err := dyn.Resource(telemetryKind()).Namespace("edge").Get(t.Context(), "serin-logs-gw", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"selector": map[string]any{"matchLabels": map[string]any{"app": "gw"}},
		"accessLogging": []any{
			map[string]any{"providers": []any{map[string]any{"name": "envoy"}}},
			map[string]any{"providers": []any{map[string]any{"name": "otel"}}, "filter": map[string]any{"expression": "response.code >= 400"}},
		},
	}
	if d := cmp.Diff(want, o.Object["spec"]); d != "" {
		t.Error(d)
	}
	if o.GetLabels()["app.kubernetes.io/managed-by"] != "serin" || o.GetLabels()[mesh.LogsLabel] != "gw" {
		t.Errorf("its labels are %v", o.GetLabels())
	}
	if _, err := l.Add(t.Context(), wantedLogs(), logMarks(clock.Now())); !apierrors.IsAlreadyExists(err) {
		t.Errorf("added twice: %v", err)
	}
	if err := l.Renew(t.Context(), made, clock.Now().Add(-time.Second)); err != nil {
		t.Error(err)
	}
	f, err := l.Logging(t.Context(), nil, "edge")
	if err != nil || len(f.Telemetries) != 1 || f.Telemetries[0].Own == nil || !f.Telemetries[0].Own.Left || f.Telemetries[0].Own.Typed() != "erin@office (serin gateway logs gw --telemetry)" {
		t.Errorf("its time is over: %+v %v", f.Telemetries, err)
	}
	if err := l.Remove(t.Context(), made); err != nil {
		t.Error(err)
	}
	if err := l.Remove(t.Context(), made); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	if err := l.Renew(t.Context(), made, clock.Now()); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("renewed when it was gone: %v", err)
	}
}

// S-34: no selector is no Telemetry, whoever asks; and one of which it is not known
// whether it was made is not left.
func TestS34_whatCouldBeLeftIsNot(t *testing.T) {
	l, dyn := logger(t)
	wide := wantedLogs()
	wide.Selector = nil
	if _, err := l.Add(t.Context(), wide, logMarks(clock.Now())); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("of a whole namespace: %v", err)
	}
	if _, err := l.Try(t.Context(), wide, logMarks(clock.Now())); !errors.Is(err, drive.ErrRefused) {
		t.Errorf("of a whole namespace, tried: %v", err)
	}
	dyn.PrependReactor("create", "telemetries", func(a clienttesting.Action) (bool, runtime.Object, error) {
		c, _ := a.(clienttesting.CreateActionImpl)
		if err := dyn.Tracker().Create(telemetryKind(), c.Object, "edge"); err != nil {
			return true, nil, err
		}
		return true, nil, errAway // made, and the answer was lost
	})
	if _, err := l.Add(t.Context(), wantedLogs(), logMarks(clock.Now())); !errors.Is(err, errAway) {
		t.Errorf("%v", err)
	}
	if list, err := dyn.Resource(telemetryKind()).List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) > 0 {
		t.Errorf("it was left: %v %v", list, err)
	}
}

// S-34: what is left is a fact of the mesh, which a repair's step removes, by its UID.
func TestS34_aRepairRemovesWhatWasLeft(t *testing.T) {
	mark := func(name string, until time.Duration) *unstructured.Unstructured {
		o := telemetry("edge", name, time.Hour, nil)
		o.SetUID(types.UID("uid-of-" + name))
		o.SetLabels(map[string]string{mesh.LogsLabel: "gw"})
		o.SetAnnotations(map[string]string{mesh.ByAnnotation: "erin@office", mesh.UntilAnnotation: clock.Now().Add(until).Format(time.RFC3339)})
		return o
	}
	l, dyn := logger(t, mark("left", -time.Minute), mark("runs", time.Minute), telemetry("edge", "theirs", time.Hour, nil))
	s, err := l.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := s.LeftTelemetries()
	if len(s.Telemetries) != 2 || len(left) != 1 || left[0].Name != "left" {
		t.Fatalf("%+v", s.Telemetries)
	}
	w := cluster.WriterOf(l.Clients, istioSystem, nil, l.Reader)
	for range 2 {
		if err := w.Apply(t.Context(), plan.Step{Kind: plan.DropTelemetry, Strays: left}, plan.Plan{}, s); err != nil {
			t.Fatal(err)
		}
	}
	list, err := dyn.Resource(telemetryKind()).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Errorf("%v %v", list, err)
	}
	for _, a := range dyn.Actions() {
		if d, ok := a.(clienttesting.DeleteActionImpl); ok && (d.DeleteOptions.Preconditions == nil || string(*d.DeleteOptions.Preconditions.UID) != left[0].UID) {
			t.Errorf("deleted by its name alone: %+v", d.DeleteOptions)
		}
	}
}
