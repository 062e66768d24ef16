package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/view"
	"github.com/serin-mesh/serin/internal/xds"
)

// versions is what `serin version` says.
type versions struct {
	Client        string         `json:"client"`
	ControlPlanes []controlPlane `json:"controlPlanes,omitempty"`
	Istiods       []xds.Istiod   `json:"istiods,omitempty"`
	DataPlane     []dataPlane    `json:"dataPlane,omitempty"`
	Unasked       string         `json:"dataPlaneUnknown,omitempty"` // why no istiod could be asked
}

type controlPlane struct {
	Revision string `json:"revision"`
	Version  string `json:"version"`
}

// dataPlane is a proxy, by the istiod that programs it.
type dataPlane struct {
	ID       string `json:"id"`
	Revision string `json:"revision"`
	Version  string `json:"version"`
}

// versionRequest is `serin version` as it was typed.
type versionRequest struct {
	out                   output
	revision              string // or tag
	client, remote, short bool
}

func (a *app) version() *cobra.Command {
	var (
		req versionRequest
		out string
	)
	c := &cobra.Command{
		Use: "version", Short: "Show the versions of serin, of the control planes and of the proxies",
		Long: `Show serin's own version, that of each revision's control plane, and those of the proxies, over all
revisions: istioctl version asks the istiods of one. An istiod that does not answer is a line of its own.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if req.out, err = parseOutput(out, view.Text, view.JSON, view.YAML); err != nil {
				return err
			}
			v := versions{Client: a.world.Version}
			var unreachable error
			if !req.client && req.remote {
				unreachable = a.meshVersions(c, req.revision, &v)
			}
			if err := a.showVersions(v, req); err != nil {
				return err
			}
			return unreachable // after the client's version, which is known all the same
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, json or yaml")
	c.Flags().StringVarP(&req.revision, "revision", "r", "", "Only this revision, or the one this tag points to")
	c.Flags().BoolVar(&req.client, "client", false, "Only serin's own version: no cluster is asked")
	c.Flags().BoolVar(&req.remote, "remote", true, "The cluster's versions, too; --remote=false is --client")
	c.Flags().BoolVar(&req.short, "short", true, "How many proxies are at each version; --short=false shows each istiod and each proxy")
	return c
}

// meshVersions asks the cluster, and all istiods at once. Who may see the mesh, and
// may not ask istiods, is told so.
func (a *app) meshVersions(c *cobra.Command, revision string, v *versions) error {
	reader, err := a.world.Reader(a.target)
	if err != nil {
		return err
	}
	s, err := reader.Observe(c.Context())
	if err != nil {
		return fmt.Errorf("looking at the mesh: %w", err)
	}
	only, err := revisionOf(revision, s)
	if err != nil {
		return err
	}
	for _, p := range s.ControlPlanes {
		v.ControlPlanes = append(v.ControlPlanes, controlPlane{Revision: p.Revision, Version: p.Version})
	}
	if len(v.ControlPlanes) == 0 {
		return nil
	}
	answers, err := a.world.Connections(c.Context(), a.target)
	if err != nil {
		v.Unasked = err.Error()
	}
	report := xds.Join(s, answers)
	v.Istiods = report.Istiods
	for _, p := range report.Proxies {
		if p.Istiod != "" {
			v.DataPlane = append(v.DataPlane, dataPlane{ID: p.ID(), Revision: p.Connected, Version: p.Version})
		}
	}
	v.only(only)
	return nil
}

// only leaves out what is of other revisions.
func (v *versions) only(revision string) {
	if revision == "" {
		return
	}
	v.ControlPlanes = slices.DeleteFunc(v.ControlPlanes, func(p controlPlane) bool { return p.Revision != revision })
	v.Istiods = slices.DeleteFunc(v.Istiods, func(i xds.Istiod) bool { return i.Revision != revision })
	v.DataPlane = slices.DeleteFunc(v.DataPlane, func(p dataPlane) bool { return p.Revision != revision })
}

func (a *app) showVersions(v versions, req versionRequest) error {
	if req.out.format != view.Text {
		return view.Encode(a.io.Out, req.out.format, v)
	}
	lines := v.short()
	if !req.short {
		lines = append(lines, v.each()...)
	}
	_, err := fmt.Fprint(a.io.Out, strings.Join(lines, "\n")+"\n")
	return err
}

// short are lines that begin with istioctl's words.
func (v versions) short() []string {
	out := []string{"client version: " + v.Client}
	for _, p := range v.ControlPlanes {
		out = append(out, fmt.Sprintf("control plane version: %s (revision %s)", p.Version, p.Revision))
	}
	for _, i := range v.Istiods {
		if i.Error != "" {
			out = append(out, fmt.Sprintf("istiod %s/%s (revision %s): no answer, its proxies are not counted: %s", i.Namespace, i.Pod, i.Revision, i.Error))
		}
	}
	switch {
	case v.Unasked != "":
		out = append(out, "data plane version: unknown: "+v.Unasked)
	case len(v.ControlPlanes) > 0:
		out = append(out, "data plane version: "+v.proxies())
	}
	return out
}

// each are the istiods and the proxies one by one.
func (v versions) each() []string {
	var out []string
	for _, i := range v.Istiods {
		if i.Error == "" {
			out = append(out, fmt.Sprintf("istiod %s/%s (revision %s): %s", i.Namespace, i.Pod, i.Revision, i.Version))
		}
	}
	for _, p := range v.DataPlane {
		out = append(out, fmt.Sprintf("proxy %s (revision %s): %s", p.ID, p.Revision, p.Version))
	}
	return out
}

// proxies counts those of each version.
func (v versions) proxies() string {
	count := map[string]int{}
	for _, p := range v.DataPlane {
		count[cmp.Or(p.Version, "unknown")]++
	}
	var out []string
	for _, version := range slices.Sorted(maps.Keys(count)) {
		out = append(out, fmt.Sprintf("%s (%d proxies)", version, count[version]))
	}
	return cmp.Or(strings.Join(out, ", "), "none")
}
