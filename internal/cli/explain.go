package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-mesh/serin/internal/explain"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/view"
)

func (a *app) explain() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "explain [TYPE/]NAME[.NAMESPACE]", Args: one("a pod, workload, namespace, tag or gateway"),
		Short: "Explain who would inject a thing and why, what it runs, waits for, and what moves with it",
		Long: `Say of a thing who would inject it and why, what it runs, what it waits for, and what moves with it.
Nothing is written to the cluster.

Every webhook that could inject is evaluated, term by term, as the API server does, for the pod that would be
made next. TYPE is pod, deployment, statefulset, daemonset, namespace, tag or gateway; without it everything of
that name is looked for, in all namespaces unless one is named.`,
		Example: `  serin explain namespace/default
  serin explain deployment/reviews-v1.default -o wide
  serin explain tag/prod-stable`,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := parseOutput(out, view.Text, view.Wide, view.JSON, view.YAML)
			if err != nil {
				return err
			}
			return a.explained(c.Context(), args[0], o.format)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "text", "Output format: text, wide (every term), json or yaml")
	return c
}

func (a *app) explained(ctx context.Context, arg string, f view.Format) error {
	q, err := a.query(arg)
	if err != nil {
		return err
	}
	l := explain.Look{}
	if l.Snapshot, err = a.observe(ctx); err != nil {
		return err
	}
	s, of, err := a.subject(ctx, l.Snapshot, q, arg)
	if err != nil {
		return err
	}
	l.Snapshot = s
	if len(s.ControlPlanes) == 0 {
		l.ProxiesUnknown = "there is no istiod to ask"
	} else if l.Proxies, err = a.world.Proxies(ctx, a.target); err != nil {
		l.ProxiesUnknown = err.Error()
	}
	return view.Explain(a.io.Out, explain.Explain(l, of), f)
}

// query reads [TYPE/]NAME[.NAMESPACE]. Namespaces and tags have no namespace.
func (a *app) query(arg string) (explain.Query, error) {
	q := explain.Query{Name: arg, Namespace: a.target.namespace()}
	if kind, name, ok := strings.Cut(arg, "/"); ok {
		q.Name = name
		w, known := workloadKinds()[strings.ToLower(kind)]
		switch k := explainKinds()[strings.ToLower(kind)]; {
		case known && w == mesh.KindPod:
			q.Kind = explain.Pod
		case known:
			q.Kind, q.Workload = explain.Workload, w
		case k != "":
			q.Kind = k
		default:
			return q, fmt.Errorf("%q is not a kind that serin explains\n  remedy: name one of pod, deployment, statefulset, daemonset, namespace, tag, gateway", kind)
		}
	}
	if q.Kind == explain.Namespace || q.Kind == explain.Tag {
		q.Namespace = ""
	} else if i := strings.LastIndexByte(q.Name, '.'); i >= 0 {
		q.Name, q.Namespace = q.Name[:i], q.Name[i+1:]
	}
	if q.Name == "" {
		return q, fmt.Errorf("%q names nothing: it is [TYPE/]NAME[.NAMESPACE]", arg)
	}
	return q, nil
}

func explainKinds() map[string]explain.Kind {
	return map[string]explain.Kind{
		"namespace": explain.Namespace, "namespaces": explain.Namespace, "ns": explain.Namespace,
		"tag": explain.Tag, "tags": explain.Tag, "gateway": explain.Gateway, "gateways": explain.Gateway, "gtw": explain.Gateway,
	}
}

// subject is the one thing that was named, and the mesh with it: what nobody
// injects is not in a snapshot, and is read by itself.
func (a *app) subject(ctx context.Context, s mesh.Snapshot, q explain.Query, arg string) (mesh.Snapshot, explain.Subject, error) {
	found := explain.Find(s, q)
	if len(found) == 0 && (q.Kind == "" || q.Kind == explain.Pod || q.Kind == explain.Workload) {
		for _, ref := range refs(q) {
			w, ok, err := a.world.Workload(ctx, a.target, ref)
			if err != nil {
				return s, explain.Subject{}, fmt.Errorf("looking for %s: %w", ref, err)
			}
			if ok {
				with, of := explain.With(s, w)
				return with, of, nil
			}
		}
	}
	switch len(found) {
	case 1:
		return s, found[0], nil
	case 0:
		return s, explain.Subject{}, fmt.Errorf("there is no %s\n  remedy: serin status lists what is in the mesh; what is outside it needs its type and namespace: deployment/NAME.NAMESPACE", arg)
	}
	names := make([]string, len(found))
	for i, of := range found {
		names[i] = typedAs(of)
	}
	return s, explain.Subject{}, fmt.Errorf("%s is the name of several things\n  remedy: name one of %s", arg, strings.Join(names, ", "))
}

// refs are what a name may mean that is not in the mesh.
func refs(q explain.Query) []mesh.Ref {
	kinds := []mesh.WorkloadKind{mesh.KindPod, mesh.KindDeployment, mesh.KindStatefulSet, mesh.KindDaemonSet}
	switch {
	case q.Workload != "":
		kinds = []mesh.WorkloadKind{q.Workload}
	case q.Kind == explain.Pod:
		kinds = []mesh.WorkloadKind{mesh.KindPod}
	}
	namespace := q.Namespace
	if namespace == "" {
		namespace = "default"
	}
	out := make([]mesh.Ref, len(kinds))
	for i, k := range kinds {
		out[i] = mesh.Ref{Kind: k, Namespace: namespace, Name: q.Name}
	}
	return out
}

// typedAs is how a subject is named without doubt.
func typedAs(of explain.Subject) string {
	kind := string(of.Kind)
	if of.Kind == explain.Workload {
		kind = string(of.Workload.Kind)
	}
	name := strings.ToLower(kind) + "/" + of.Name
	if of.Namespace != "" {
		name += "." + of.Namespace
	}
	return name
}
