package mesh

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Differences lists what is not as it was, by the rule of S-51: status, pods'
// names, CA bundles, failure policies and CRDs (with the release that carries
// them) may differ after an upgrade was taken back; nothing else may.
func (s Snapshot) Differences(later Snapshot) []string {
	a, b := s.lasting(), later.lasting()
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		switch was, is := a[k], b[k]; {
		case was == is:
		case was == "":
			out = append(out, k+": new: "+is)
		case is == "":
			out = append(out, k+": gone: "+was)
		default:
			out = append(out, k+": was "+was+", is "+is)
		}
	}
	return out
}

// lasting maps each object's identity to what must stay the same of it.
func (s Snapshot) lasting() map[string]string { //nolint:cyclop // a line for each kind of object
	m := map[string]string{}
	for _, c := range s.ControlPlanes {
		c.Ready = 0
		put(m, "control plane "+c.Revision, c)
	}
	for _, i := range s.Injectors {
		put(m, "injector "+i.Name, i.lasting())
	}
	for _, v := range s.Validators {
		v.FailurePolicy = ""
		put(m, "validator "+v.Name, v)
	}
	for _, t := range s.TagServices {
		put(m, "tag service "+t.Name, t)
	}
	for _, c := range s.Claims {
		put(m, "claim "+c.Name, c)
	}
	for _, n := range s.Namespaces {
		put(m, "namespace "+n.Name, n)
	}
	for _, w := range s.Workloads {
		put(m, "workload "+string(w.Kind)+" "+w.Namespace+"/"+w.Name, w.lasting())
	}
	for _, r := range s.Releases {
		if r.Chart == "base" {
			r.Version = ""
		}
		put(m, "release "+r.Namespace+"/"+r.Name, r)
	}
	for _, o := range slices.Concat(s.PinnedObjects, s.ManagedGateways) {
		put(m, "object "+o.Kind+" "+o.Namespace+"/"+o.Name, o)
	}
	for _, v := range s.Edge.Services {
		put(m, "service "+v.Namespace+"/"+v.Name, v)
	}
	for _, c := range s.Singletons {
		put(m, "singleton "+c.Name, c)
	}
	maps.Copy(m, s.proxies())
	return m
}

func (i Injector) lasting() Injector {
	i = i.clone()
	for n := range i.Webhooks {
		i.Webhooks[n].CABundle = false
	}
	return i
}

func (w Workload) lasting() Workload {
	w.Ready, w.Settled = 0, false
	if w.Budget != nil {
		w.Budget = &Budget{Name: w.Budget.Name}
	}
	return w
}

// proxies counts the pods of each workload by revision and version: their names
// are new after a restart.
func (s Snapshot) proxies() map[string]string {
	count := map[string]int{}
	for _, p := range s.Pods {
		if p.Leaving {
			continue
		}
		count[fmt.Sprintf("pods of %s on %q %s", p.Workload, p.Revision, p.Version)]++
	}
	m := map[string]string{}
	for k, n := range count {
		m[k] = strconv.Itoa(n)
	}
	return m
}

func put(m map[string]string, key string, v any) {
	b, err := json.Marshal(v)
	if err != nil { // a value in Values that JSON does not know: it is compared as Go prints it
		b = fmt.Append(nil, v)
	}
	m[key] = string(b)
}
