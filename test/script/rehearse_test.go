package script_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/rehearse"
)

// Source is what a script has written to the file "source".
func (w world) Source(context.Context, string) (rehearse.Source, error) {
	var out rehearse.Source
	for doc := range strings.SplitSeq(w.read("source"), "\n---\n") {
		var o rehearse.Object
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			return out, err
		}
		out.Objects = append(out.Objects, o)
	}
	return out, nil
}

// Make makes the namespace, and a pod of each Deployment on its revision.
func (w world) Make(ctx context.Context, p rehearse.Plan) error {
	s, err := w.Observe(ctx)
	if err != nil {
		return err
	}
	if _, there := s.Namespace(p.Copy); there {
		return fmt.Errorf("namespace %s is there", p.Copy)
	}
	s.Namespaces = append(s.Namespaces, mesh.Namespace{Name: p.Copy, Labels: p.Labels, Owner: mesh.Owner{Kind: mesh.OwnerNone}})
	for _, name := range p.Meshed {
		ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: p.Copy, Name: name}
		s.Workloads = append(s.Workloads, mesh.Workload{Ref: ref, Replicas: 1, Ready: 1, Strategy: "RollingUpdate", MaxSurge: 1, Settled: true, Owner: mesh.Owner{Kind: mesh.OwnerNone}})
		s.Pods = append(s.Pods, mesh.Pod{Namespace: p.Copy, Name: name + "-0", Workload: ref, Revision: p.Revision, Version: p.Version, Ready: true})
	}
	w.save("snapshot.yaml", s)
	switch "make" {
	case w.read("fail"):
		return fmt.Errorf("copying Deployment %s: the API server said no", p.Workloads()[0])
	case w.read("interrupt"):
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	case w.read("kill"):
		os.Exit(killed)
	}
	return nil
}

// Standing is well but for the one that a script has stuck.
func (w world) Standing(_ context.Context, p rehearse.Plan) ([]rehearse.Standing, error) {
	var out []rehearse.Standing
	for _, name := range p.Workloads() {
		s := rehearse.Standing{Workload: name, Ready: name != w.read("stuck")}
		if !s.Ready {
			s.Trouble = "no pod can be made: denied the request"
		}
		out = append(out, s)
	}
	return out, nil
}

// Rehearsed is 200 OK on both sides, unless a script says what the copies answer.
func (w world) Rehearsed(_ context.Context, p rehearse.Plan) ([]rehearse.Answer, error) {
	var out []rehearse.Answer
	for _, a := range p.Asks {
		out = append(out, rehearse.Answer{Ask: a, Was: "200 OK", Is: cmp.Or(w.read("answer"), "200 OK")})
	}
	return out, nil
}

// Remove takes the namespace out of the mesh, and what is in it.
func (w world) Remove(ctx context.Context, of, name string) error {
	s, err := w.Observe(ctx)
	if err != nil {
		return err
	}
	ns, there := s.Namespace(name)
	if there && ns.Labels[rehearse.Label] != of {
		return fmt.Errorf("removing namespace %s: it is no rehearsal of %s", name, of)
	}
	s.Namespaces = slices.DeleteFunc(s.Namespaces, func(n mesh.Namespace) bool { return n.Name == name })
	s.Workloads = slices.DeleteFunc(s.Workloads, func(n mesh.Workload) bool { return n.Namespace == name })
	s.Pods = slices.DeleteFunc(s.Pods, func(n mesh.Pod) bool { return n.Namespace == name })
	w.save("snapshot.yaml", s)
	return nil
}
