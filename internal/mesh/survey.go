package mesh

// Survey is what only checks look at: lists and reviews that cost more than a
// step of a running upgrade needs. Like the rest of a Snapshot it holds no
// secrets, and of what may be long it holds sums.
type Survey struct {
	Unseen       []string                  `json:"unseen,omitempty"`       // what could not be looked at, and why: nothing is known of it
	Denied       []string                  `json:"denied,omitempty"`       // what an installation creates and the user may not, "clusterroles.rbac.authorization.k8s.io"
	Nodes        *Nodes                    `json:"nodes,omitempty"`        // nil: not seen
	PlainProxies []string                  `json:"plainProxies,omitempty"` // the first few workloads whose pods have a sidecar that is not native, and might
	Istiods      map[string]Istiod         `json:"istiods,omitempty"`      // by revision
	MeshConfigs  map[string]map[string]any `json:"meshConfigs,omitempty"`  // by revision, what looks like a secret masked
	Services     []string                  `json:"services,omitempty"`     // namespace/name of those in Istio's namespace
	GatewayAPI   []CRD                     `json:"gatewayAPI,omitempty"`   // definitions of gateway.networking.k8s.io
	Kinds        []string                  `json:"kinds,omitempty"`        // "sidecars.networking.istio.io": custom resources of which there is at least one object
	EnvoyFilters []EnvoyFilter             `json:"envoyFilters,omitempty"`
	Texts        map[string][]string       `json:"texts,omitempty"`       // what a rule searches configuration for -> namespace/name of objects that have it
	Annotations  map[string][]string       `json:"annotations,omitempty"` // Istio's annotation -> the namespaces, Services and workloads that carry it; of pods alone only those of alpha features
	Installers   []Object                  `json:"installers,omitempty"`  // what installs Istio by itself: Sail, Argo CD, Flux, the in-cluster operator
	TwoBudgets   []Ref                     `json:"twoBudgets,omitempty"`  // workloads that two PodDisruptionBudgets select: every eviction of theirs fails
	Selectors    *Selectors                `json:"selectors,omitempty"`   // what else looks at the labels of pods; nil where nobody looked
}

// Nodes are the cluster's nodes, added up.
type Nodes struct {
	Count         int    `json:"count"`         // that pods can be scheduled to
	OldestKubelet string `json:"oldestKubelet"` // "v1.33.1", of all nodes
	// Free is the room on each of the few emptiest schedulable nodes, the most memory first.
	Free []Room `json:"free,omitempty"`
}

// Room is an amount of what pods request.
type Room struct {
	CPU    int64 `json:"cpu"`    // in thousandths of a core
	Memory int64 `json:"memory"` // in MiB
}

// Plus is both together.
func (r Room) Plus(o Room) Room { return Room{CPU: r.CPU + o.CPU, Memory: r.Memory + o.Memory} }

// Less is what is left of it without the other; below nothing where that is more.
func (r Room) Less(o Room) Room { return Room{CPU: r.CPU - o.CPU, Memory: r.Memory - o.Memory} }

// Holds says whether the other fits into it.
func (r Room) Holds(o Room) bool { return r.CPU >= o.CPU && r.Memory >= o.Memory }

// Istiod is what a control plane's Deployment says of its pods.
type Istiod struct {
	Requests Room              `json:"requests"`
	Env      map[string]string `json:"env,omitempty"` // plain values; what comes from elsewhere is "(reference)"
	Budget   *Budget           `json:"budget,omitempty"`
}

// EnvoyFilter is what an upgrade may break in one.
type EnvoyFilter struct {
	Namespace     string   `json:"namespace"`
	Name          string   `json:"name"`
	ProxyVersions []string `json:"proxyVersions,omitempty"` // the regular expressions of its matches
	Relative      []string `json:"relative,omitempty"`      // operations that need a neighbour: INSERT_BEFORE …
	Types         []string `json:"types,omitempty"`         // of its typed configuration, without the prefix
	Filters       []string `json:"filters,omitempty"`       // names of filters it names
}

func (s *Survey) clone() *Survey {
	if s == nil {
		return nil
	}
	c := *s // its lists are never written after they were read
	return &c
}
