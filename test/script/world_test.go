package script_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/access"
	"github.com/serin-mesh/serin/internal/cli"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/hooks"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/shadow"
	"github.com/serin-mesh/serin/internal/xds"
)

// world is a mesh, its runs and its Lease, each in a file, so that it outlives
// the command that changes it. SERIN_FAKE names the directory; the faults are
// files in it that a script writes:
//
//	forbidden   what Observe is refused with
//	shut        the name of a gate whose evidence is bad news
//	fail        the kind of step whose deed fails
//	interrupt   the kind of step in which somebody types ctrl-C
//	kill        the kind of step in which the process dies
//	lease       who holds the mesh
//	silent      the istiod, by its revision, that does not answer
//	lost        the pod that no istiod knows
//	kept        the version of what is kept of a removed control plane, or none
//	prometheus  "away" where it does not answer
//	lost-requests  how many of the probe's 100 requests a second fail
//	refuses     the pod that has refused its routes
//	given       what the revisions give each workload, as subjects of a comparison
//	rejected    why no pod would be created on the new revision
//	denied      why the new revision's validator refuses an object
//	git         what becomes of a step that waits for Git: "commits" makes it, "nobody" types ctrl-C after a while
//	source      the objects of the namespace that is rehearsed
//	stuck       the copied Deployment that does not start
//	answer      what copies answer where the originals say 200 OK
//	leaving     a revision on which a pod is being deleted, and for how many seconds it still is
//	logfile     where access logs go: none, or a file; /dev/stdout without it
//	telemetries the Telemetries of others
//	envoy/PATH  what the admin port of each proxy answers
type world struct{ dir string }

// killed is the exit code of a process that died.
const killed = 137

func here() world { return world{os.Getenv("SERIN_FAKE")} }

func fakeWorld() cli.World {
	w := here()
	return cli.World{
		Reader:  func(cli.Target) (drive.Reader, error) { return w, nil },
		Journal: func(cli.Target) (cli.Journal, error) { return w, nil },
		Proxies: func(ctx context.Context, _ cli.Target) ([]gate.Proxy, error) {
			s, err := w.Observe(ctx)
			return proxiesOf(s), err
		},
		Connections: func(ctx context.Context, _ cli.Target) ([]xds.Answer, error) {
			s, err := w.Observe(ctx)
			return w.connections(s), err
		},
		Admin: w.admin,
		Logs:  w.logs, AccessLogs: w.accessLogs,
		Asker:    func(cli.Target) (cli.Asker, error) { return w, nil },
		Workload: w.workload,
		Drivers: func(context.Context, cli.Target, plan.Plan) (cli.Drivers, error) {
			began := len(w.read("clock"))
			lost := func() int {
				n, _ := strconv.Atoi(w.read("lost-requests"))
				return n * (len(w.read("clock")) - began)
			}
			return cli.Drivers{Writer: w, Gatherer: w, Requests: func() (int, int) { return 100 * (len(w.read("clock")) - began), lost() }}, nil
		},
		Lacks: func(context.Context, cli.Target, []access.Rule) ([]string, error) {
			var out []string
			for line := range strings.Lines(w.read("lacks")) {
				out = append(out, strings.TrimSpace(line))
			}
			return out, nil
		},
		Manifest: func(_ context.Context, _ cli.Target, r cli.Rendering) ([]byte, error) {
			return fmt.Appendf(nil, "# %s %s, server %v\n", r.Step.Kind, r.Step.Target, r.Server), nil
		},
		Carried: w.carried,
		Kept: func(_ context.Context, _ cli.Target, c mesh.ControlPlane) (string, error) {
			return strings.NewReplacer("none", "", "as-it-was", c.Version).Replace(cmp.Or(w.read("kept"), "as-it-was")), nil
		},
		Content:          w.content,
		Evidence:         func(context.Context, cli.Target, plan.Plan) (drive.Gatherer, func(), error) { return w, func() {}, nil },
		CreateNamespaces: w.createNamespaces,
		Hooks: func(hs []plan.Hook, commands bool) (drive.Hooks, func()) {
			h := hooks.New(hs, commands, w.now)
			return h, h.Close
		},
		Rehearsals: func(cli.Target) (cli.Rehearsals, func(), error) { return w, func() {}, nil },
		Now:        w.now,
		Wait:       w.wait,
		Who:        func() string { return "erin@office" },
		Version:    "v0.1.0",
	}
}

// now is a clock that goes on only while something is waited for or done, so that
// the scripts do not depend on how often it is read.
func (w world) now() time.Time {
	return time.Date(2026, 3, 1, 12, 0, len(w.read("clock")), 0, time.UTC)
}

// pass lets time pass: whole seconds, and at least one.
func (w world) pass(d time.Duration) {
	w.write("clock", w.read("clock")+strings.Repeat(".", max(1, int(d/time.Second))))
}

// deedTime is how long a deed takes.
const deedTime = 5 * time.Second

// wait lets the clock go on at once. A script that watches looks three times.
func (w world) wait(ctx context.Context, d time.Duration) error {
	w.pass(d)
	if err := w.git(ctx); err != nil {
		return err
	}
	if slices.Contains(os.Args, "-w") {
		w.write("looks", w.read("looks")+".")
		if len(w.read("looks")) > 2 {
			return context.Canceled
		}
	}
	return ctx.Err()
}

func (w world) read(name string) string {
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		panic(err)
	}
	return strings.TrimSpace(string(b))
}

func (w world) write(name, text string) {
	if err := os.MkdirAll(w.dir, 0o750); err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		panic(err)
	}
}

func (w world) save(name string, v any) {
	b, err := yaml.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.write(name, string(b))
}

// carried are the old revision's values, cleaned as little as the scripts need.
func (w world) carried(_ cli.Target, p plan.Plan, st plan.Step, before mesh.Snapshot) (mesh.Release, error) {
	old, _ := before.ControlPlane(st.From)
	from, _ := before.Release(old.Owner)
	values := map[string]any{}
	maps.Copy(values, from.Values)
	maps.Copy(values, p.Request.Values)
	values["revision"] = st.To
	return mesh.Release{Name: mesh.IstiodName(st.To), Namespace: before.IstioNamespace, Chart: "istiod", Version: st.Version, Values: values}, nil
}

// Configs are what a script says that each workload is given, on either side.
func (w world) Configs(_ context.Context, q shadow.Question) (shadow.Report, error) {
	var given shadow.Subject
	if err := yaml.Unmarshal([]byte(w.read("given")), &given); err != nil {
		return shadow.Report{}, err
	}
	var out []shadow.Subject
	for _, ref := range q.Workloads {
		s := given
		s.Workload = ref.String()
		if w.read("lost") != "" && strings.HasPrefix(w.read("lost"), ref.Name) {
			s = shadow.Subject{Workload: ref.String(), Failed: "no istiod has its proxy on revision " + q.Old.Revision}
		}
		out = append(out, s)
	}
	return shadow.Compare(out, q.Sides, q.Hosts()), nil
}

// pods are alike on both sides, unless a script says that they are rejected.
func (w world) pods(q shadow.Question) []shadow.Subject {
	var out []shadow.Subject
	for _, ref := range q.Workloads {
		out = append(out, shadow.Subject{Workload: ref.String(), Refused: w.read("rejected")})
	}
	return out
}

// Prove is all of it.
func (w world) Prove(ctx context.Context, q shadow.Question) (shadow.Proof, error) {
	configs, err := w.Configs(ctx, q)
	if err != nil {
		return shadow.Proof{}, err
	}
	return shadow.Prove(q, shadow.Checked{
		Ground: w.ground(), Pods: shadow.Compare(w.pods(q), q.Sides, nil), Configs: configs, Objects: w.objects(),
	}), nil
}

// ground is firm, unless a script writes down what is wrong with it.
func (w world) ground() []shadow.Ground {
	var out []shadow.Ground
	if err := yaml.Unmarshal([]byte(w.read("ground")), &out); err != nil {
		panic(err) // a script's mistake
	}
	return out
}

// objects are two, one of which a script may have denied.
func (w world) objects() []shadow.Object {
	return []shadow.Object{
		{Kind: "VirtualService", Namespace: "shop", Name: "warned", Warnings: []string{"the field is deprecated"}},
		{Kind: "VirtualService", Namespace: "shop", Name: "denied", Denied: w.read("denied")},
	}
}

// workload is one that is not in the mesh: a script writes it to the file "outside".
func (w world) workload(_ context.Context, _ cli.Target, ref mesh.Ref) (mesh.Workload, bool, error) {
	var out mesh.Workload
	if err := yaml.Unmarshal([]byte(w.read("outside")), &out); err != nil {
		return out, false, err
	}
	return out, out.Ref == ref, nil
}

func (w world) createNamespaces(_ context.Context, _ cli.Target, names []string) error {
	s, err := w.stored()
	if err != nil {
		return err
	}
	for _, n := range names {
		s.Namespaces = append(s.Namespaces, mesh.Namespace{Name: n, Labels: map[string]string{"kubernetes.io/metadata.name": n}, Owner: mesh.Owner{Kind: mesh.OwnerNone}})
	}
	w.save("snapshot.yaml", s)
	return nil
}

// Observe reads the mesh from its file.
func (w world) Observe(ctx context.Context) (mesh.Snapshot, error) {
	s, err := w.Survey(ctx)
	s.Survey = nil
	return s, err
}

// Survey is what only a closer look sees too.
func (w world) Survey(context.Context) (mesh.Snapshot, error) {
	if text := w.read("forbidden"); text != "" {
		return mesh.Snapshot{}, forbidden(text)
	}
	s, err := w.stored()
	s.Pods = append(s.Pods, w.leaving()...)
	return s, err
}

// stored is the mesh without what goes by itself.
func (w world) stored() (mesh.Snapshot, error) {
	var s mesh.Snapshot
	err := yaml.Unmarshal([]byte(w.read("snapshot.yaml")), &s)
	return s, err
}

// leaving is the pod that a script says is being deleted, until it has gone.
func (w world) leaving() []mesh.Pod {
	rev, seconds, ok := strings.Cut(w.read("leaving"), " ")
	if !ok {
		return nil
	}
	if w.read("leaving-since") == "" {
		w.write("leaving-since", strconv.Itoa(len(w.read("clock"))))
	}
	since, _ := strconv.Atoi(w.read("leaving-since"))
	if lasts, _ := strconv.Atoi(seconds); len(w.read("clock"))-since >= lasts {
		return nil
	}
	return []mesh.Pod{{Namespace: "default", Name: "late-0", Revision: rev, Version: "1.27.0", Leaving: true}}
}

// Apply does what the simulation says, as the cluster would.
func (w world) Apply(_ context.Context, st plan.Step, _ plan.Plan, _ mesh.Snapshot) error {
	if st.ByGit() {
		return fmt.Errorf("step %d is Git's, and was applied", st.Number)
	}
	if w.read("fail") == string(st.Kind) {
		return fmt.Errorf("doing step %d: the API server said no", st.Number)
	}
	s, err := w.stored()
	if err != nil {
		return err
	}
	w.pass(deedTime)
	w.save("snapshot.yaml", plan.Simulate(s, st))
	switch string(st.Kind) {
	case w.read("interrupt"): // somebody types ctrl-C while the deed is done
		err := syscall.Kill(os.Getpid(), syscall.SIGINT)
		<-interrupted
		return err
	case w.read("kill"):
		os.Exit(killed)
	}
	return nil
}

// Admit lets a pod in whose readiness gate holds it.
func (w world) Admit(_ context.Context, of mesh.Ref, name string, _ int) (bool, error) {
	s, err := w.stored()
	if err != nil {
		return false, err
	}
	for i, p := range s.Pods {
		if p.Workload == of && p.Name == name && p.Held {
			s.Pods[i].Held, s.Pods[i].Ready = false, true
			ready(&s, of)
			w.save("snapshot.yaml", s)
			return true, nil
		}
	}
	return false, nil
}

// ready counts the workload's ready pods.
func ready(s *mesh.Snapshot, of mesh.Ref) {
	n := 0
	for _, p := range s.PodsOf(of) {
		if p.Ready {
			n++
		}
	}
	for i := range s.Workloads {
		if s.Workloads[i].Ref == of {
			s.Workloads[i].Ready = n
		}
	}
}

// Revert is Apply's inverse.
func (w world) Revert(_ context.Context, st plan.Step, _ plan.Plan, before mesh.Snapshot) error {
	s, err := w.stored()
	if err != nil {
		return err
	}
	w.pass(deedTime)
	w.save("snapshot.yaml", plan.SimulateUndo(s, st, before))
	return nil
}

// Gather sees a mesh in which all is well, but for the gate that a script shuts.
func (w world) Gather(ctx context.Context, q gate.Question, gates []gate.Name) (gate.Evidence, error) {
	w.pass(time.Second)
	s, err := w.Observe(ctx)
	if err != nil {
		return gate.Evidence{}, err
	}
	ev := gate.Evidence{
		At: w.now(), Snapshot: s, Proxies: proxiesOf(s), Served: map[string]int{},
		Requests: []gate.Comparison{{Before: gate.Window{Sent: 500}, Now: gate.Window{Sent: 500}}},
	}
	ev.Proxies = slices.DeleteFunc(ev.Proxies, func(p gate.Proxy) bool { return p.Name == w.read("lost") })
	if q.Beside != nil {
		ev.Parity, ev.Answers = &gate.Parity{Old: q.Beside.Name + "-0", New: 1, Facts: 4}, &gate.Answers{Old: q.Beside.Name + "-0", Asked: 3}
		switch w.read("shut") {
		case string(gate.SameServing):
			ev.Parity.Missing = []string{"route http.80 shop.example.com prefix / -> shop"}
		case string(gate.SameAnswers):
			ev.Answers.Differ = []string{"http://shop.example.com:80/: 404 Not Found by new-0, 200 OK by old-0"}
		}
	}
	for _, n := range q.Namespaces {
		i := dryRun(s, n)
		d := gate.DryRun{Namespace: n, Revision: i.Revision}
		if !i.None() {
			d.Proxies = 1
		}
		ev.DryRuns = append(ev.DryRuns, d, d)
	}
	if s.Serves(q.Revision) { // one that its own label leads there
		d := gate.DryRun{Namespace: s.IstioNamespace, Revision: q.Revision, Proxies: 1}
		ev.DryRuns = append(ev.DryRuns, d, d)
	}
	for _, p := range s.Pods {
		ev.Served[p.Namespace+"/"+p.Name] = 100
	}
	if slices.Contains(gates, gate.Prove) {
		f, err := evidence.Foresee(ctx, w, s, evidence.Moves{To: q.Revision, From: w.revisionsLeft(s, q.Revision)})
		if err != nil {
			return ev, err
		}
		ev.Foresight = &f
	}
	switch none := 0.0; {
	case !slices.Contains(gates, gate.Metrics):
	case w.read("prometheus") == "away":
		ev.Missing = map[gate.Name]string{gate.Metrics: "Prometheus does not answer: connection refused"}
	case w.read("shut") == string(gate.Metrics):
		ev.Readings = []gate.Reading{{Name: "checkout", Now: map[string]float64{"": 3}, Bounds: gate.Bounds{AtMost: &none}}}
	default:
		ev.Readings = []gate.Reading{{Name: "checkout", Now: map[string]float64{"": 0}, Bounds: gate.Bounds{AtMost: &none}}}
	}
	if shut := gate.Name(w.read("shut")); shut == gate.Requests && slices.Contains(gates, shut) {
		ev.Requests[0].Now = gate.Window{Sent: 500, Failed: 50, Example: "503 from productpage"}
	}
	return ev, nil
}

// revisionsLeft are all but one.
func (world) revisionsLeft(s mesh.Snapshot, to string) []string {
	return slices.DeleteFunc(s.Revisions(), func(r string) bool { return r == to })
}

// dryRun is what becomes of a pod in the namespace: a plain one, or, where only
// pods that ask for it are injected, one like those of a workload there.
func dryRun(s mesh.Snapshot, namespace string) mesh.Injection {
	i := s.InjectionOf(mesh.Workload{Ref: mesh.Ref{Namespace: namespace}})
	for _, w := range s.Workloads {
		if i.None() && w.Namespace == namespace {
			i = s.InjectionOf(w)
		}
	}
	return i
}

// proxiesOf are proxies that are all connected where they should be, and in sync.
func proxiesOf(s mesh.Snapshot) []gate.Proxy {
	var out []gate.Proxy
	for _, p := range s.Pods {
		if p.Revision != "" && !p.Leaving {
			out = append(out, gate.Proxy{
				Namespace: p.Namespace, Name: p.Name, Revision: p.Revision,
				Istiod: mesh.IstiodName(p.Revision) + "-0", Version: p.Version,
			})
		}
	}
	return out
}
