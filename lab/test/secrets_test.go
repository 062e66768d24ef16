package test_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/journal"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// leak is in every secret that is planted; nothing that serin says or keeps has it.
const leak = "S3RINLEAK"

// Objects that secrets are in, pinned to the old revision so that what the new one
// would send differs just there.
const (
	leakyRoute = `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: leaky, namespace: default, labels: {istio.io/rev: default}}, spec: {hosts: [details], http: [
  {match: [{headers: {authorization: {exact: "Basic UzNSSU5MRUFLS3RINLEAK"}}}], route: [{destination: {host: ratings}}], headers: {request: {set: {authorization: "Bearer S3RINLEAK-route"}}}},
  {match: [{headers: {cookie: {exact: "session=S3RINLEAK"}}}], route: [{destination: {host: ratings}}]}, {route: [{destination: {host: details}}]}]}}`
	leakyKeys = `{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: leaky, namespace: default, labels: {istio.io/rev: default}}, spec: {selector: {matchLabels: {app: ratings}},
  jwtRules: [{issuer: "https://issuer.example", jwks: '{"keys":[{"kty":"oct","k":"S3RINLEAKAAA","kid":"a","alg":"HS256"}]}'}]}}`
	leakyFilter = `{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: leaky, namespace: default, labels: {istio.io/rev: default}}, spec: {workloadSelector: {labels: {app: reviews}}, configPatches: [
  {applyTo: HTTP_FILTER, match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}},
   patch: {operation: INSERT_BEFORE, value: {name: shop.leaky, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inlineCode: "local a = 'Bearer S3RINLEAK-lua' function envoy_on_request(h) end"}}}}]}}`
	leakyEnv = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: leaky, namespace: default}, spec: {replicas: 1, selector: {matchLabels: {app: leaky}}, template: {metadata: {labels: {app: leaky}}, spec: {containers: [
  {name: app, image: "docker.io/serin/app:1", env: [{name: DB_PASSWORD, value: S3RINLEAK-env}]}]}}}}`
)

// No secret, token or key is in what serin prints, writes to files or stores, while
// it goes all the way and back over a mesh that is full of them.
func TestSecrets_nothingThatIsSecretIsShownOrKept(t *testing.T) {
	nightly(t)
	w := newWorld(t, "1.27.0", "1.29.1")
	w.stop()
	secrets := w.secrets()
	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, []byte("pilot: {env: {BACKEND_PASSWORD: S3RINLEAK-values, API_TOKEN: S3RINLEAK-token}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	heard := map[string]string{}
	hear := func(args ...string) {
		_, out := w.quietly(args...)
		heard["serin "+strings.Join(args, " ")] = out
	}
	charts := w.lab.ChartRepo()
	hear("install", "istiod", "--version", "1.29.1", "--revision", next, "--from-revision", "default", "--values", values, "--charts", charts, "--dry-run=client")
	install := []string{"install", "istiod", "--version", "1.29.1", "--revision", next, "--from-revision", "default", "--charts", charts}
	if code, out := w.quietly(append(install, "--values", values)...); code != 3 || !strings.Contains(out, "SRN1085") || regexp.MustCompile(leak).MatchString(out) {
		t.Errorf("values that look like secrets would be kept: exit code %d\n%s", code, out)
	}
	hear(install...)
	objects(leakyRoute, leakyKeys, leakyFilter, leakyEnv)(w) // they go with the lab
	w.until("what is planted in the proof", func() string {
		if _, out := w.quietly("prove", "-r", next); !strings.Contains(out, "a route is gone") || !strings.Contains(out, "shop.leaky") || !strings.Contains(out, "a filter is gone") {
			return out
		}
		return ""
	})
	for _, format := range []string{"text", "json", "yaml"} {
		hear("prove", "-r", next, "-o", format)
		hear("diff", "--all", "-r", next, "-o", format)
		hear("status", "-o", format)
	}
	hear("diff", "--all", "-r", next, "-o", "html")
	for _, args := range [][]string{
		{"snapshot"},
		{"precheck", "--to", "1.29.1"},
		{"precheck", "--to", "1.29.1", "-o", "json"},
		{"revisions", "-o", "json"},
		{"plan", "--to", "1.29.1", "--charts", charts, "--probe-url", "http://user:S3RINLEAK@192.0.2.1/"},
		{"plan", "--to", "1.29.1", "--charts", charts, "-o", "json"},
		{"explain", "deploy/leaky.default"},
		{"proxy-status", "-v", "1"},
		{"proxy-config", "secret", "deploy/ratings-v1.default", "-o", "json"},
		{"proxy-config", "all", "deploy/ratings-v1.default"},
	} {
		hear(args...)
	}
	file := w.plan("1.29.1", "--ignore-check", "SRN1057,SRN1305")
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	heard["plan.yaml"] = string(kept)
	hear("apply", file, "--approve")
	for _, f := range []string{"text", "json"} {
		hear("report", "-o", f)
		hear("status", "-o", f)
	}
	heard["the stored runs, unpacked"] = w.stored()
	hear("rollback")
	heard["the stored runs, taken back"] = w.stored()
	if len(heard["the stored runs, unpacked"]) < 1000 || !strings.Contains(heard["serin apply "+file+" --approve"], "prove") {
		t.Fatal("nothing was stored, or nothing held: the test proves nothing")
	}
	for _, source := range slices.Sorted(maps.Keys(heard)) {
		for what, secret := range secrets {
			if at := secret.FindStringIndex(heard[source]); at != nil {
				from, to := max(0, at[0]-300), min(len(heard[source]), at[1]+20)
				t.Errorf("%s shows %s:\n…%s…", source, what, heard[source][from:to])
			}
		}
	}
}

// secrets plants those that are objects of their own, and returns what each looks like.
func (w *world) secrets() map[string]*regexp.Regexp {
	w.t.Helper()
	ca := plugged(w.t)
	tls := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "shop-tls", Namespace: "istio-ingress"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": ca["ca-cert.pem"], "tls.key": ca["ca-key.pem"]},
	}
	if _, err := w.kube.CoreV1().Secrets(tls.Namespace).Create(w.t.Context(), tls, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.object(`{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: tls, namespace: istio-ingress}, spec: {selector: {istio: ingress}, servers: [
  {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: SIMPLE, credentialName: shop-tls}}]}}`)
	key := strings.Split(string(ca["ca-key.pem"]), "\n")[3]
	out := map[string]*regexp.Regexp{
		"a planted secret":                regexp.MustCompile(leak),
		"a planted secret, encoded":       regexp.MustCompile(regexp.QuoteMeta(base64.RawStdEncoding.EncodeToString([]byte(leak))[:11])),
		"the key of a gateway":            regexp.MustCompile(regexp.QuoteMeta(key)),
		"the key of a gateway, encoded":   regexp.MustCompile(regexp.QuoteMeta(base64.StdEncoding.EncodeToString(ca["ca-key.pem"])[200:260])),
		"a private key":                   regexp.MustCompile(`PRIVATE KEY-----`),
		"a token of an account":           regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}`),
		"what Helm keeps of its releases": regexp.MustCompile(`H4sIAAAAAAA[A-Za-z0-9+/]{40,}`),
	}
	c, err := clientcmd.LoadFromFile(w.lab.Kubeconfig())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range c.AuthInfos {
		if a.Token != "" {
			out["the kubeconfig's token"] = regexp.MustCompile(regexp.QuoteMeta(a.Token))
		}
		if len(a.ClientKeyData) > 0 {
			out["the kubeconfig's key"] = regexp.MustCompile(regexp.QuoteMeta(strings.Split(string(a.ClientKeyData), "\n")[1]))
		}
	}
	return out
}

// quietly runs serin, with a HOME of its own whose files are heard as well, and
// keeps what it says out of the test's log.
func (w *world) quietly(args ...string) (int, string) {
	w.t.Helper()
	cmd := w.command(args...)
	home := w.t.TempDir()
	cmd.Dir = home
	cmd.Env = append(cmd.Env, "HOME="+home, "XDG_STATE_HOME="+home, "XDG_CACHE_HOME="+filepath.Join(os.TempDir(), "serin-test-cache"))
	out, _ := cmd.CombinedOutput() // its exit code is what is asked for
	said := string(out)
	_ = filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, _ := os.ReadFile(path)
			said += "\n" + path + ":\n" + string(b)
		}
		return nil
	})
	return cmd.ProcessState.ExitCode(), said
}

// stored is every run that the cluster keeps, as serin reads it, and what else it
// made there.
func (w *world) stored() string {
	w.t.Helper()
	runs, err := journal.New(w.kube, "istio-system", time.Now).List(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := json.Marshal(runs)
	if err != nil {
		w.t.Fatal(err)
	}
	kept, err := w.kube.CoreV1().ConfigMaps("istio-system").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, cm := range kept.Items {
		if strings.HasPrefix(cm.Name, "serin-") {
			b = fmt.Append(b, cm.ObjectMeta, cm.Data)
		}
	}
	events, err := w.kube.CoreV1().Events("").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events.Items {
		b = append(b, e.Message...)
	}
	return string(b)
}
