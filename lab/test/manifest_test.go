package test_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/serin-mesh/serin/internal/istio"
	"github.com/serin-mesh/serin/internal/operator"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/lab/internal/build"
)

// manifestCase is an IstioOperator's spec, or several, and settings.
type manifestCase struct {
	name    string
	files   []string
	sets    []string
	refused string // by serin, whatever istioctl does: it would drop this
}

// oracle renders with a release's istioctl, and with serin from its charts.
type oracle struct {
	version, istioctl string
	helm              *istio.Helm
	answers           string // directory of what istioctl once rendered: the same release renders the same again
}

func newOracle(tb testing.TB, version string) oracle {
	tb.Helper()
	b, err := build.New("", tb.Output())
	if err != nil {
		tb.Fatal(err)
	}
	r, err := b.Istio(tb.Context(), version)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	if err := b.Archive(tb.Context(), version, dir); err != nil {
		tb.Fatal(err)
	}
	answers := filepath.Join(filepath.Dir(r.Istioctl), "answers")
	if err := os.MkdirAll(answers, 0o700); err != nil {
		tb.Fatal(err)
	}
	return oracle{version: version, istioctl: r.Istioctl, helm: istio.NewHelm(&rest.Config{}, istio.NewCharts(dir)), answers: answers}
}

// asked is what istioctl renders.
func (o oracle) asked(t *testing.T, c manifestCase) (map[string]map[string]any, error) {
	t.Helper()
	args := []string{"manifest", "generate"}
	dir := t.TempDir()
	for i, f := range c.files {
		name := filepath.Join(dir, string(rune('a'+i))+".yaml")
		if err := os.WriteFile(name, []byte(f), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", name)
	}
	for _, s := range c.sets {
		args = append(args, "--set", s)
	}
	out, err := o.generated(t, c, args)
	if err != nil {
		return nil, err
	}
	// The source's charts say 1.0.0; the release's own build puts its version there.
	text := regexp.MustCompile(`(app\.kubernetes\.io/version: )1\.0\.0\b`).ReplaceAllString(string(out), "${1}"+o.version)
	text = regexp.MustCompile(`(helm\.sh/chart: [a-z-]+-)1\.0\.0\b`).ReplaceAllString(text, "${1}"+o.version)
	objects := map[string]map[string]any{}
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var m map[string]any
		if err := yaml.Unmarshal([]byte(doc), &m); err != nil {
			t.Fatalf("istioctl's output: %v", err)
		}
		if len(m) > 0 {
			objects[identity(m)] = m
		}
	}
	return objects, nil
}

// generated is istioctl's own output, or what it said it cannot render.
func (o oracle) generated(t *testing.T, c manifestCase, args []string) ([]byte, error) {
	t.Helper()
	h := sha256.New()
	if err := json.NewEncoder(h).Encode([][]string{c.files, c.sets}); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(o.answers, hex.EncodeToString(h.Sum(nil)))
	if b, err := os.ReadFile(kept); err == nil {
		return b, nil
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), o.istioctl, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, &exec.Error{Name: "istioctl", Err: errorText(errs.String())}
	}
	if err := os.WriteFile(kept+".new", out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(kept+".new", kept); err != nil { // whole or not at all
		t.Fatal(err)
	}
	return out.Bytes(), nil
}

type errorText string

func (e errorText) Error() string { return string(e) }

func identity(m map[string]any) string {
	meta, _ := m["metadata"].(map[string]any)
	ns, _ := meta["namespace"].(string)
	name, _ := meta["name"].(string)
	kind, _ := m["kind"].(string)
	return kind + " " + ns + "/" + name
}

// ours is what serin renders, through JSON as istioctl's is: its numbers are of one type then.
func (o oracle) ours(t *testing.T, c manifestCase) (map[string]map[string]any, error) {
	t.Helper()
	var files []operator.File
	for i, f := range c.files {
		files = append(files, operator.File{Name: string(rune('a'+i)) + ".yaml", Data: []byte(f)})
	}
	doc, err := operator.Read(files, c.sets)
	if err != nil {
		return nil, err
	}
	in, err := o.helm.Resolve(t.Context(), doc, o.version)
	if err != nil {
		return nil, err
	}
	objects := map[string]map[string]any{}
	for _, comp := range in.Components {
		objs, err := o.helm.RenderComponent(t.Context(), comp, o.version)
		if err != nil {
			return nil, err
		}
		for _, obj := range objs {
			b, err := json.Marshal(obj.Object)
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]any
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			objects[identity(m)] = m
		}
	}
	return objects, nil
}

// compare fails where an object, or anything in it, differs.
func (o oracle) compare(t *testing.T, c manifestCase) {
	t.Helper()
	got, err := o.ours(t, c)
	if c.refused != "" {
		if err == nil || !strings.Contains(err.Error(), c.refused) {
			t.Errorf("serin answers %v, want a refusal that names %s", err, c.refused)
		}
		return
	}
	want, theirs := o.asked(t, c)
	if theirs != nil || err != nil {
		if theirs == nil || err == nil {
			t.Errorf("istioctl says %v, serin says %v", theirs, err)
		}
		return
	}
	var names []string
	for n := range want {
		names = append(names, n)
	}
	for n := range got {
		if _, ok := want[n]; !ok {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		if d := cmp.Diff(want[n], got[n]); d != "" {
			t.Errorf("%s (-istioctl +serin):\n%.3000s", n, d)
		}
	}
	if len(want) == 0 && c.name != "profile empty" {
		t.Error("istioctl renders nothing: the case shows nothing")
	}
}

func iop(spec string) string {
	return "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
}

// TestManifest_isIstioctls compares every object that an IstioOperator gives with
// what the release's own istioctl generates.
func TestManifest_isIstioctls(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs istioctl: not in -short")
	}
	for _, version := range []string{"1.27.0", "1.29.1"} {
		o := newOracle(t, version)
		for _, c := range manifestCases() {
			t.Run(version+" "+c.name, func(t *testing.T) {
				t.Parallel()
				o.compare(t, c)
			})
		}
	}
}

// plane is a case about the control plane's Kubernetes settings.
func plane(name, k8s string) manifestCase {
	return manifestCase{name: name, files: []string{iop("components:\n  pilot:\n    k8s:\n      " + strings.ReplaceAll(strings.TrimSpace(k8s), "\n", "\n      "))}}
}

// lost is a case that istioctl takes and drops.
func lost(path, spec string) manifestCase {
	return manifestCase{name: "dropped by istioctl: " + path, files: []string{iop(spec)}, refused: path}
}

func manifestCases() []manifestCase {
	var out []manifestCase
	for _, p := range operator.Profiles() {
		out = append(out, manifestCase{name: "profile " + p, sets: []string{"profile=" + p}})
	}
	out = append(out, documentCases()...)
	out = append(out, kubernetesCases()...)
	out = append(out, gatewayCases()...)
	// istioctl writes these down for an istiod that reads nothing of them.
	out = append(out, lost("spec.meshConfig.accessLogFil", "meshConfig: {accessLogFil: /dev/stdout}"), lost("spec.meshConfig.defaultConfig.concurency", "meshConfig: {defaultConfig: {concurency: 2}}"),
		lost("spec.values.meshConfig.nosuch", "values: {meshConfig: {nosuch: 1}}"))
	return append(out, droppedCases()...)
}

func documentCases() []manifestCase {
	minimal := iop("profile: minimal")
	return []manifestCase{
		{name: "an empty spec", files: []string{"apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n"}},
		{name: "metadata", files: []string{"apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata:\n  name: control-plane\n  namespace: istio-system\n  labels: {a: b}\n  annotations: {c: d}\n"}},
		{name: "hub and tag", files: []string{iop("hub: mirror.example.com/istio\ntag: 1.29.1-distroless")}},
		{name: "a tag that looks like a number", files: []string{iop("tag: 1.29")}},
		{name: "revision", files: []string{iop("revision: canary")}},
		{name: "a revision of digits", sets: []string{"revision=123"}},
		{name: "revision default", sets: []string{"revision=default"}},
		{name: "another namespace", files: []string{iop("namespace: mesh\nvalues:\n  global:\n    istioNamespace: mesh")}},
		{name: "compatibilityVersion", files: []string{iop("compatibilityVersion: \"1.26\"")}},
		{name: "compatibilityVersion that no release has", files: []string{iop("compatibilityVersion: \"1.2\"")}},
		{name: "compatibilityVersion as a number", files: []string{iop("compatibilityVersion: 1.26")}},
		{name: "meshConfig", files: []string{iop(`
meshConfig:
  accessLogFile: /dev/stdout
  enableTracing: true
  defaultConfig:
    holdApplicationUntilProxyStarts: true
    proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}
  extensionProviders:
  - name: otel
    opentelemetry: {service: otel.example.com, port: 4317}`)}},
		{name: "meshConfig in both places", files: []string{iop("meshConfig: {accessLogFile: /dev/stdout, enableTracing: true}\nvalues: {meshConfig: {accessLogFile: /tmp/log, rootNamespace: roots}}")}},
		{name: "meshConfig set", sets: []string{"meshConfig.accessLogFile=/dev/stdout", "meshConfig.defaultConfig.concurrency=2", "meshConfig.defaultConfig.proxyMetadata.A=1"}},
		{name: "values", files: []string{iop(`
values:
  global:
    logging: {level: "default:debug"}
    proxy: {resources: {requests: {cpu: 10m, memory: 40Mi}}, logLevel: debug}
    meshID: mesh1
    network: network1
    multiCluster: {clusterName: one}
  pilot:
    autoscaleMin: 2
    autoscaleMax: 4
    env: {PILOT_ENABLE_STATUS: "true"}
    traceSampling: 10.5
  sidecarInjectorWebhook: {enableNamespacesByDefault: true, rewriteAppHTTPProbe: false}`)}},
		{name: "values that enable a component otherwise", files: []string{iop("values: {pilot: {enabled: false, cni: {enabled: true}}}")}},
		{name: "values with null", files: []string{iop("values: {pilot: {resources: null, cpu: null}, global: {proxy: {resources: null}}}")}},
		{name: "values that are empty", files: []string{iop("values:\n  pilot:\n")}},
		{name: "a value that is not there", files: []string{iop("values: {pilot: {replicaCont: 3}}")}},
		{name: "a value deep down that is not there", sets: []string{"values.global.proxy.lifecyle.x=1"}},
		{name: "a value of another chart's at the top", sets: []string{"values.autoscaleMin=3"}},
		{name: "a value that is not there but meant", files: []string{iop("unvalidatedValues: {pilot: {replicaCont: 3}, meshConfig: {nosuch: true}}")}},
		{name: "unvalidatedValues", files: []string{iop("unvalidatedValues: {pilot: {env: {HIDDEN_FEATURE: \"on\"}}, anything: {at: all}, global: {hub: other}}")}},
		{name: "revisionTags", files: []string{iop("revision: canary\nvalues: {revisionTags: [prod, stage]}")}},
		{name: "defaultRevision", files: []string{iop("values: {defaultRevision: canary}")}},
		{name: "two files", files: []string{iop("profile: minimal\nhub: a\nvalues: {pilot: {env: {A: \"1\", B: \"2\"}}}"), iop("hub: b\nvalues: {pilot: {env: {B: \"3\"}}}")}},
		{name: "a file and settings", files: []string{minimal}, sets: []string{"values.pilot.env.A=x", "values.global.proxy.privileged=true", "components.pilot.k8s.replicaCount=3", "hub=over", "tag=2"}},
		{name: "a setting with an escaped dot", sets: []string{`values.sidecarInjectorWebhook.injectedAnnotations.container\.apparmor\.security\.beta\.kubernetes\.io/istio-proxy=runtime/default`}},
		{name: "a setting of a list's element", sets: []string{"components.ingressGateways[0].enabled=false", "components.egressGateways[name:istio-egressgateway].enabled=true"}},
		{name: "a setting of a new element", sets: []string{"values.global.imagePullSecrets[0]=pull"}},
		{name: "cni", files: []string{iop("components: {cni: {enabled: true, namespace: kube-system, hub: h, tag: t}}\nvalues: {cni: {excludeNamespaces: [istio-system], logLevel: debug}}")}},
		{name: "ztunnel", files: []string{iop("profile: ambient\ncomponents: {ztunnel: {hub: h, tag: t}}\nvalues: {ztunnel: {env: {A: b}, meshConfig: {defaultConfig: {proxyMetadata: {ISTIO_META_ENABLE_HBONE: \"true\"}}}}}")}},
		{name: "base off", files: []string{iop("components: {base: {enabled: false}}")}},
		{name: "pilot off", files: []string{iop("components: {pilot: {enabled: false}}")}},
		{name: "pilot with hub and tag of its own", files: []string{iop("components: {pilot: {hub: p, tag: 1.2.3}}")}},
		{name: "base overlays", files: []string{iop("components: {base: {k8s: {overlays: [{kind: ServiceAccount, name: istio-reader-service-account, patches: [{path: metadata.annotations.a, value: b}]}]}}}")}},
		{name: "profile that is none", sets: []string{"profile=nonesuch"}},
		{name: "a field that is none", files: []string{iop("hubb: x")}},
		{name: "a component that is none", files: []string{iop("components: {galley: {enabled: true}}")}},
		{name: "a setting of a component that is none", files: []string{iop("components: {pilot: {k8s: {replicas: 3}}}")}},
		{name: "a name for the control plane", files: []string{iop("components: {pilot: {name: x}}")}},
		{name: "enabled as text", files: []string{iop("components: {pilot: {enabled: \"false\"}}")}},
		{name: "a bad revision", sets: []string{"revision=1.29.1"}},
		{name: "a bad hub", files: []string{iop("hub: \"http://x y\"")}},
		{name: "two documents", files: []string{minimal + "---\n" + minimal}},
		{name: "a status", files: []string{minimal + "status: {status: HEALTHY}\n"}},
	}
}

func kubernetesCases() []manifestCase {
	return []manifestCase{
		plane("affinity", "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}}}"),
		plane("env", "env: [{name: A, value: b}, {name: REVISION, value: other}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}]"),
		plane("hpaSpec", "hpaSpec: {minReplicas: 2, maxReplicas: 7, metrics: [{type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 70}}}]}"),
		plane("imagePullPolicy", "imagePullPolicy: Always"),
		plane("nodeSelector", "nodeSelector: {pool: mesh}"),
		plane("podAnnotations", "podAnnotations: {a: b, prometheus.io/port: \"1\"}"),
		plane("priorityClassName", "priorityClassName: system-cluster-critical"),
		plane("readinessProbe", "readinessProbe: {initialDelaySeconds: 9, httpGet: {path: /r, port: 9999}}"),
		plane("replicaCount", "replicaCount: 3"),
		plane("resources", "resources: {requests: {cpu: 1, memory: 3Gi}, limits: {cpu: \"2\"}}"),
		plane("service", "service: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{name: extra, port: 7, targetPort: 8}]}"),
		plane("strategy", "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"),
		plane("tolerations", "tolerations: [{key: a, operator: Exists, effect: NoSchedule}]"),
		plane("serviceAnnotations", "serviceAnnotations: {a: b}"),
		plane("securityContext", "securityContext: {fsGroup: 1337, runAsNonRoot: true}"),
		{name: "podDisruptionBudget", files: []string{iop("components: {pilot: {k8s: {podDisruptionBudget: {maxUnavailable: 1}}}}\nvalues: {pilot: {autoscaleMin: 2}}")}},
		{name: "settings of a revision", files: []string{iop("revision: canary\ncomponents: {pilot: {k8s: {replicaCount: 2, env: [{name: A, value: b}], hpaSpec: {maxReplicas: 9}}}}")}},
		{name: "settings of cni", files: []string{iop("components: {cni: {enabled: true, k8s: {resources: {requests: {cpu: 7m}}, nodeSelector: {a: b}, tolerations: [{operator: Exists}], overlays: [{kind: DaemonSet, name: istio-cni-node, patches: [{path: spec.updateStrategy.rollingUpdate.maxUnavailable, value: 50%}]}]}}}")}},
		{name: "settings of ztunnel", files: []string{iop("profile: ambient\ncomponents: {ztunnel: {k8s: {env: [{name: A, value: b}], resources: {requests: {cpu: 7m}}, podAnnotations: {a: b}}}}")}},
		{name: "overlays", files: []string{iop(`
revision: canary
components:
  pilot:
    k8s:
      overlays:
      - apiVersion: anything/v1
        kind: Deployment
        name: istiod-canary
        patches:
        - {path: spec.template.spec.hostNetwork, value: true}
        - {path: "spec.template.spec.containers.[name:discovery].args.[30m]", value: 60m}
        - {path: "spec.template.spec.containers.[name:discovery].args.[-1]", value: --more}
        - {path: "spec.template.spec.containers.[name:discovery].image", value: "private.example.com/pilot:x"}
        - {path: "spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem"}
        - {path: "spec.template.spec.containers.[name:discovery].env.[name:REVISION]"}
        - {path: "spec.template.spec.containers.[name:discovery].env.[-1]", value: {name: NEW, value: "1"}}
        - {path: "spec.template.spec.containers.[name:discovery].resources", value: {requests: {cpu: 100m}}}
        - {path: "spec.template.metadata.labels.cost\\.example\\.com/team", value: mesh}
        - {path: spec.template.spec.made.on.the.way, value: [1, 2.5, {a: b}]}
        - {path: spec.minReadySeconds, value: 1000000}
        - {path: spec.strategy}
        - {path: "spec.template.spec.volumes.[name:cacerts].secret.optional", value: false}
        - {path: "spec.template.metadata.annotations.yaml", value: "a: b"}
        - {path: "spec.template.metadata.annotations.json", value: "{\"a\": \"b\"}"}
      - kind: Service
        name: istiod-canary
        patches:
        - {path: "spec.ports.[port:15012].nodePort", value: 30012}
        - {path: "spec.ports.[name:http-monitoring]"}
      - kind: ConfigMap
        name: istio-canary
        patches:
        - {path: data.extra, value: text}
      - kind: MutatingWebhookConfiguration
        name: istio-sidecar-injector-canary
        patches:
        - {path: "webhooks.[name:rev\\.namespace\\.sidecar-injector\\.istio\\.io].timeoutSeconds", value: 5}`)}},
	}
}

func gatewayCases() []manifestCase {
	return []manifestCase{
		{name: "a list of gateways", files: []string{iop(`
components:
  ingressGateways:
  - name: istio-ingressgateway
    enabled: true
    label: {app: istio-ingressgateway, istio: ingressgateway, extra: one}
    k8s:
      replicaCount: 2
      serviceAnnotations: {a: b}
      service:
        type: NodePort
        externalTrafficPolicy: Local
        ports:
        - {name: status-port, port: 15021, targetPort: 15021}
        - {name: http2, port: 80, targetPort: 8080, nodePort: 30080}
      env: [{name: ISTIO_META_ROUTER_MODE, value: standard}]
      hpaSpec: {minReplicas: 2, maxReplicas: 3}
      nodeSelector: {a: b}
      overlays:
      - kind: Deployment
        name: istio-ingressgateway
        patches:
        - {path: spec.template.spec.terminationGracePeriodSeconds, value: 90}
  - name: other
    namespace: other
    enabled: true
    tag: other
    k8s: {resources: {requests: {cpu: 1}}}
  - name: off
    enabled: false
  egressGateways:
  - name: istio-egressgateway
    enabled: true
    k8s: {podAnnotations: {a: b}}`)}},
		{name: "gateways by values", files: []string{iop("profile: minimal\nvalues: {gateways: {istio-ingressgateway: {enabled: true, autoscaleEnabled: false, env: {A: b}}}}")}},
		{name: "injected gateways of a revision", files: []string{iop("revision: canary\nvalues: {gateways: {istio-ingressgateway: {injectionTemplate: gateway}}}")}},
		{name: "a gateway without k8s or name", files: []string{iop("components: {ingressGateways: [{enabled: true}]}")}},
		{name: "a gateway's bad name", files: []string{iop("components: {ingressGateways: [{name: Under_Score, enabled: true}]}")}},
	}
}

// droppedCases are what istioctl takes, and what then changes nothing.
func droppedCases() []manifestCase {
	return []manifestCase{
		lost("spec.namespace", "namespace: mesh"),
		lost("spec.components.pilot.k8s.volumes", "components: {pilot: {k8s: {volumes: [{name: a, emptyDir: {}}]}}}"),
		lost("spec.components.pilot.k8s.volumeMounts", "components: {pilot: {k8s: {volumeMounts: [{name: a, mountPath: /a}]}}}"),
		lost("spec.components.base.k8s.replicaCount", "components: {base: {k8s: {replicaCount: 2}}}"),
		lost("spec.components.ingressGateways[0].hub", "components: {ingressGateways: [{name: istio-ingressgateway, enabled: true, hub: x}]}"),
		lost("spec.components.cni.k8s.hpaSpec", "components: {cni: {enabled: true, k8s: {hpaSpec: {minReplicas: 2, maxReplicas: 3}}}}"),
		lost("spec.components.pilot.k8s.hpaSpec", "components: {pilot: {k8s: {hpaSpec: {minReplicas: 2, maxReplicas: 3}}}}\nvalues: {pilot: {autoscaleEnabled: false}}"),
		lost("spec.components.pilot.k8s.overlays[0]", "revision: canary\ncomponents: {pilot: {k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: spec.paused, value: true}]}]}}}"),
		lost("spec.components.pilot.k8s.overlays[0]: patches[0].path", `components: {pilot: {k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.template.spec.containers.[name:nobody].image", value: x}]}]}}}`),
		lost("istiodRemote", "components: {istiodRemote: {enabled: true}}"),
		lost("spec.installPackagePath", "installPackagePath: /tmp"),
		lost("spec.meshConfig", "meshConfig:"),
		lost("spec.values", "values:"),
	}
}
