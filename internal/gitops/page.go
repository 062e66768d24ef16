package gitops

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/serin-mesh/serin/internal/gate"
	"github.com/serin-mesh/serin/internal/plan"
)

// page is the README of a step.
func page(p plan.Plan, st plan.Step, c plan.Content, files []File, kept bool) []byte { //nolint:revive // whether the plan lies beside it
	var b bytes.Buffer
	f := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	f("# Step %d of %d: %s %s\n\n", st.Number, len(p.Steps), strings.ReplaceAll(string(st.Kind), "-", " "), st.Target)
	if st.Why != "" {
		f("Why: %s.\n\n", st.Why)
	}
	switch whose := plan.Whose(st.Git); {
	case whose != "":
		f("Owner: %s. serin writes nothing of it: `serin apply` waits until it is there, proves it, and goes on.\n\nTo commit: %s.\n", whose, plan.Commit(st, false))
	case st.Kind == plan.Restart || st.Kind == plan.FirstPods:
		f("Owner: nobody declares a restart, so that `serin apply` does it. What is here is for those who go without it.\n")
	default:
		f("Owner: no mark in the cluster says that Git declares it, so that `serin apply` does it. Commit what is here instead with `--owners git`, or without serin apply.\n")
	}
	if len(files) > 0 {
		f("\n| file | what |\n|---|---|\n")
		for _, file := range files {
			f("| %s | %s |\n", file.Path, what(file.Path, c))
		}
	}
	if len(c.Notes) > 0 {
		f("\n")
		for _, n := range c.Notes {
			f("- %s\n", n)
		}
	}
	from := ""
	if kept {
		from = " -f ../" + PlanFile
	}
	f("\nBefore: `serin verify %d%s --before`%s\n", st.Number, from, asks(st.Needs))
	f("After: `serin verify %d%s`%s\n", st.Number, from, asks(st.Proof))
	f("Way back: %s.\n", wayBack(st))
	return b.Bytes()
}

func what(file string, c plan.Content) string {
	switch file {
	case "apply.yaml":
		return "objects, whole: they replace what is declared of them (" + kinds(c.Apply) + ")"
	case "patch.yaml":
		return "patches for kustomize, or the fields to change; null takes a field away"
	case "remove.yaml":
		return "objects to take out, in this order, as kustomize patches (" + kinds(c.Remove) + ")"
	case "values.yaml":
		return "the same for those who declare Helm charts"
	}
	return ""
}

// kinds counts objects by kind, in the order in which they come.
func kinds(objects []map[string]any) string {
	count := map[string]int{}
	var order []string
	for _, o := range objects {
		k, _ := o["kind"].(string)
		if count[k] == 0 {
			order = append(order, k)
		}
		count[k]++
	}
	var out []string
	for _, k := range order {
		out = append(out, fmt.Sprintf("%d %s", count[k], k))
	}
	return strings.Join(out, ", ")
}

func asks(gates []gate.Name) string {
	var out []string
	for _, g := range gates {
		if g != gate.Approval && gate.Hooked(g) == "" {
			out = append(out, string(g))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " asks the gates " + strings.Join(out, ", ")
}

func wayBack(st plan.Step) string {
	switch {
	case st.Undo.Irreversible != "":
		return "none: " + st.Undo.Irreversible
	case st.Undo.Nothing:
		return st.Undo.What + ": there is nothing to revert"
	case st.ByGit():
		return "revert the commit (" + plan.Commit(st, true) + "), when `serin rollback` says that it waits for it"
	}
	return st.Undo.What
}

// overview is the README of the folder.
func overview(p plan.Plan, kept bool) []byte { //nolint:revive // whether the plan lies beside it
	var b bytes.Buffer
	f := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	f("# %s -> %s %s\n\nA folder a step, in order; each is one commit. Do not begin one before the one before it has been verified.\n\n", strings.Join(p.From, ", "), p.To, p.Version)
	if kept {
		f("`serin apply %s` goes with it: it does what nobody declares, waits at each step that is Git's until it has come, and proves it. Without it,\n`serin verify N -f %s` says whether step N has taken. The plan is no object of Kubernetes: let the tool that syncs leave it out.\n\n", PlanFile, PlanFile)
	} else {
		f("The plan itself is not here: its request holds values that look like secrets. Keep it apart with `serin plan … -o plan.yaml`.\n\n")
	}
	f("| step | folder | by | what |\n|---|---|---|---|\n")
	for _, st := range p.Steps {
		by, what := plan.Whose(st.Git), plan.Commit(st, false)
		if by == "" {
			by = "serin"
		}
		f("| %d | %s | %s | %s |\n", st.Number, plan.Folder(st), by, what)
	}
	f("\nAfter the last one the mesh is on %s %s. The way back is the commits reverted, the last first, with restarts where serin rollback makes them.\n", p.To, p.Version)
	return b.Bytes()
}
