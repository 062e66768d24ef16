package cli

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/shadow"
)

// requestFlags is an upgrade request as flags say it.
type requestFlags struct {
	to, revision, charts, onShut string
	owners, restarts, gateways   string
	file                         string
	from, ignore                 []string
	operators                    []string
	probe                        plan.Probe
	soak, patience               time.Duration
	pace, minServed, budget      int
	keep, noProve                bool
	accept                       []string
}

func (f *requestFlags) add(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.to, "to", "", "Istio version to go to, as in 1.29.1")
	fs.StringSliceVar(&f.from, "from", nil, "Revisions to leave; the only one there is when not given")
	fs.StringVar(&f.revision, "revision", "", "Name of the new revision; the version with dashes when not given")
	fs.StringVarP(&f.file, "filename", "f", "", "File with an UpgradeRequest; flags win over it")
	fs.StringSliceVar(&f.operators, "operator", nil, "IstioOperator files to install the new revision from, as istioctl does; the last wins")
	addCharts(c, &f.charts)
	fs.StringVar(&f.probe.URL, "probe-url", "", "Address that serin sends requests to all the while, as in http://192.0.2.1/productpage")
	fs.StringVar(&f.probe.Host, "probe-host", "", "Host header of these requests")
	fs.IntVar(&f.probe.Rate, "probe-rate", 0, "Requests a second (20 when not given)")
	fs.BoolVar(&f.probe.Fresh, "probe-fresh", false, "A new connection for each request")
	fs.StringVar(&f.gateways, "gateways", "", "How gateways of the gateway chart move: canary, by a second release behind the same Service, or in-place (in-place when not given); the file's gateways say it of each")
	fs.DurationVar(&f.soak, "soak", 0, "How long the gates of a restart must stay open (30s when not given)")
	fs.DurationVar(&f.patience, "patience", 0, "How long a proof may stay unknown, and a rollout take, before that is bad news (10m when not given)")
	fs.StringVar(&f.onShut, "on-shut", "", "What to do when a gate is shut: hold or undo (hold when not given)")
	fs.IntVar(&f.pace, "pace", 0, "Workloads that restart at once (5 when not given)")
	fs.IntVar(&f.minServed, "min-served", 0, "Requests that each moved workload must have answered")
	fs.IntVar(&f.budget, "budget", 0, "Failed requests that the whole upgrade may cost; at one more it holds or undoes at once, as --on-shut says (no budget when not given)")
	fs.BoolVar(&f.keep, "keep", false, "Keep the old control plane: the plan ends before it is removed")
	fs.StringArrayVar(&f.accept, "accept", nil, "Pattern of a difference in configuration that may be, as serin diff shows it; of dangerous ones too")
	fs.BoolVar(&f.noProve, "no-prove", false, "Do not ask the new revision, before anything moves, what it would inject, refuse and send")
	fs.StringVar(&f.restarts, "restarts", "", methodHelp)
	alias(fs, "method", "restarts")
	fs.StringVar(&f.owners, "owners", "", "git: all that is declared stands in Git, also where no mark says so, and is waited for")
	fs.StringSliceVar(&f.ignore, "ignore-check", nil, "Codes of overridable findings to turn into warnings")
}

// addCharts adds --charts.
func addCharts(c *cobra.Command, charts *string) {
	c.Flags().StringVar(charts, "charts", "", "Helm repository, oci:// registry or directory of Istio's charts; Istio's public one when not given")
}

// request is the file's request with what was said by flags over it.
func (f *requestFlags) request(c *cobra.Command) (plan.Request, error) {
	r := plan.Request{APIVersion: plan.APIVersion, Kind: requestKind}
	if f.file != "" {
		var err error
		if r, err = readRequest(f.file, c); err != nil {
			return r, err
		}
	}
	if c.Flags().Changed("gateways") && f.gateways != string(plan.Canary) && f.gateways != string(plan.InPlace) {
		return r, fmt.Errorf("--gateways %q is neither canary nor in-place", f.gateways)
	}
	f.over(&r, c.Flags())
	if err := f.operator(&r, c); err != nil {
		return r, err
	}
	return r, said(r, c)
}

// said refuses what a request cannot say.
func said(r plan.Request, c *cobra.Command) error {
	switch {
	case r.To == "":
		return fmt.Errorf("which Istio version to go to is missing\n  remedy: %s --to 1.29.1, or `to:` in the file of -f", c.CommandPath())
	case r.OnShut != "" && r.OnShut != plan.Hold && r.OnShut != plan.Rollback:
		return fmt.Errorf("--on-shut %q is neither hold nor undo", r.OnShut)
	case r.Owners != "" && r.Owners != plan.OwnersGit:
		return fmt.Errorf("--owners %q is not git: leave it out where the marks in the cluster say whose the mesh is", r.Owners)
	case r.Probe != nil && r.Probe.URL == "":
		return errors.New("--probe-host, --probe-rate and --probe-fresh need --probe-url")
	}
	if err := counted(r); err != nil {
		return err
	}
	if err := secretless(r); err != nil {
		return err
	}
	if err := method("restarts", r.Restarts); err != nil {
		return err
	}
	return accepted(r)
}

// secretless refuses addresses with a password in them: a request is stored in the
// cluster, and shown.
func secretless(r plan.Request) error {
	addresses := map[string]string{"--charts": r.Charts}
	if r.Probe != nil {
		addresses["--probe-url"] = r.Probe.URL
	}
	for _, flag := range slices.Sorted(maps.Keys(addresses)) {
		if u, err := url.Parse(addresses[flag]); err == nil && u.User != nil {
			return fmt.Errorf("%s has a password in it, which everybody could read who may see the run\n  remedy: name an address that needs none, a mirror or a directory", flag)
		}
	}
	return nil
}

// counted refuses numbers that count nothing.
func counted(r plan.Request) error {
	switch {
	case r.Budget != nil && *r.Budget < 0:
		return errors.New("--budget cannot be negative: 0 is no failed request at all")
	case r.Pace < 0, r.MinServed < 0, r.Soak < 0, r.Patience < 0, r.Probe != nil && r.Probe.Rate < 0:
		return errors.New("--pace, --min-served, --soak, --patience and --probe-rate cannot be negative")
	}
	return nil
}

const methodHelp = "How workloads get new pods: rollout; detach (an old pod serves until another has its place); auto, the default: detach where that is safe, one by one out of their endpoints for StatefulSets and DaemonSets, else rollout"

// method refuses a method that is none.
func method(flag string, m plan.Method) error {
	if m != "" && !slices.Contains(plan.Methods(), m) {
		return fmt.Errorf("--%s %q is neither auto, detach nor rollout", flag, m)
	}
	return nil
}

// accepted refuses patterns that no difference could have.
func accepted(r plan.Request) error {
	if r.Prove == nil {
		return nil
	}
	for _, s := range r.Prove.Accept {
		if err := shadow.CheckPattern(s); err != nil {
			return fmt.Errorf("--accept: %w", err)
		}
	}
	return nil
}

// over writes what was said by flags over the request.
func (f *requestFlags) over(r *plan.Request, said *pflag.FlagSet) {
	set(said, "to", &r.To, strings.TrimPrefix(f.to, "v"))
	set(said, "from", &r.From, f.from)
	set(said, "revision", &r.Revision, f.revision)
	set(said, "charts", &r.Charts, f.charts)
	set(said, "soak", &r.Soak, plan.Duration(f.soak))
	set(said, "patience", &r.Patience, plan.Duration(f.patience))
	set(said, "on-shut", &r.OnShut, plan.OnShut(f.onShut))
	set(said, "pace", &r.Pace, f.pace)
	set(said, "min-served", &r.MinServed, f.minServed)
	set(said, "budget", &r.Budget, &f.budget)
	set(said, "keep", &r.Keep, f.keep)
	if said.Changed("gateways") { // of all that the file does not name
		r.Gateways = slices.DeleteFunc(slices.Clone(r.Gateways), func(m plan.GatewayMove) bool { return m.Workload == "*" })
		r.Gateways = append(r.Gateways, plan.GatewayMove{Workload: "*", Method: plan.GatewayMethod(f.gateways)})
	}
	set(said, "owners", &r.Owners, plan.Owners(f.owners))
	set(said, "restarts", &r.Restarts, plan.Method(f.restarts))
	set(said, "ignore-check", &r.IgnoreChecks, f.ignore)
	if said.Changed("accept") || said.Changed("no-prove") {
		v := plan.Prove{}
		if r.Prove != nil {
			v = *r.Prove
		}
		set(said, "accept", &v.Accept, f.accept)
		set(said, "no-prove", &v.Off, f.noProve)
		r.Prove = &v
	}
	p := plan.Probe{}
	if r.Probe != nil {
		p = *r.Probe
	}
	set(said, "probe-url", &p.URL, f.probe.URL)
	set(said, "probe-host", &p.Host, f.probe.Host)
	set(said, "probe-rate", &p.Rate, f.probe.Rate)
	set(said, "probe-fresh", &p.Fresh, f.probe.Fresh)
	if r.Probe != nil || named(p) {
		r.Probe = &p
	}
}

// named says whether flags, or a file, say anything of a probe.
func named(p plan.Probe) bool { return p.URL != "" || p.Host != "" || p.Rate != 0 || p.Fresh }

func set[T any](said *pflag.FlagSet, name string, field *T, value T) {
	if said.Changed(name) {
		*field = value
	}
}

const requestKind = "UpgradeRequest"

func readRequest(file string, c *cobra.Command) (plan.Request, error) {
	var r plan.Request
	b, err := readFile(file, c)
	if err != nil {
		return r, fmt.Errorf("reading the request: %w", err)
	}
	if err := readYAML(b, &r); err != nil {
		return r, fmt.Errorf("reading the request %s: %w", file, err)
	}
	if r.Kind != "" && r.Kind != requestKind {
		return r, fmt.Errorf("reading the request %s: it is a %s, not an %s", file, r.Kind, requestKind)
	}
	if r.APIVersion != "" && r.APIVersion != plan.APIVersion {
		return r, fmt.Errorf("reading the request %s: its apiVersion is %s, this serin reads %s", file, r.APIVersion, plan.APIVersion)
	}
	return r, nil
}
