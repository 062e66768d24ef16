package mesh

// Telemetry is one that `serin gateway logs --telemetry` has added, to have access
// logs written for as long as that command runs (S-34).
type Telemetry struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	By        string `json:"by,omitempty"`
	Command   string `json:"command,omitempty"` // that he typed
	Since     string `json:"since,omitempty"`
	Left      bool   `json:"left,omitempty"` // its command has not said for a while that it runs: it was killed
}

// String is what findings call it.
func (t Telemetry) String() string { return "telemetry " + t.Namespace + "/" + t.Name }

// What marks such a Telemetry.
const (
	LogsLabel       = "serin.dev/logs"    // its value is the Service whose pods it selects
	ByAnnotation    = "serin.dev/by"      // who typed the command
	UntilAnnotation = "serin.dev/until"   // unless its command says so again, it was killed
	CommandMark     = "serin.dev/command" // what adds and removes it
)

// Typed is who typed what.
func (t Telemetry) Typed() string { return t.By + " (" + t.Command + ")" }

// LeftTelemetries are those whose command was killed.
func (s Snapshot) LeftTelemetries() []Telemetry {
	var out []Telemetry
	for _, t := range s.Telemetries {
		if t.Left {
			out = append(out, t)
		}
	}
	return out
}
