package script_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/serin-mesh/serin/internal/accesslog"
	"github.com/serin-mesh/serin/internal/cli"
	"github.com/serin-mesh/serin/internal/drive"
	"github.com/serin-mesh/serin/internal/mesh"
)

// accessLogs are a mesh whose access logs go where the file "logfile" says, /dev/stdout
// without it, with the Telemetries that the file "telemetries" has besides serin's own.
type accessLogs struct{ world }

func (w world) accessLogs(cli.Target) (cli.AccessLogs, error) { return accessLogs{w}, nil }

// Logging is what the files say.
func (l accessLogs) Logging(_ context.Context, planes []mesh.ControlPlane, _ string) (accesslog.Facts, error) {
	f := accesslog.Facts{Meshes: map[string]accesslog.Mesh{}}
	file := l.read("logfile")
	if file == "" {
		file = "/dev/stdout"
	}
	for _, c := range planes {
		f.Meshes[c.Revision] = accesslog.Mesh{Root: c.Namespace, File: strings.TrimPrefix(file, "none")}
	}
	if err := yaml.Unmarshal([]byte(l.read("telemetries")), &f.Telemetries); err != nil {
		return f, err
	}
	s, err := l.stored()
	for _, t := range s.Telemetries {
		f.Telemetries = append(f.Telemetries, accesslog.Telemetry{
			Namespace: t.Namespace, Name: t.Name, Selector: map[string]string{"app": "istio-ingress"}, Logging: []accesslog.Logging{{Providers: []string{"envoy"}}}, Own: &t,
		})
	}
	return f, err
}

// Try shows it.
func (l accessLogs) Try(_ context.Context, t accesslog.Telemetry, m accesslog.Marks) ([]byte, error) {
	if why := l.read("denied"); why != "" {
		return nil, fmt.Errorf("trying Telemetry %s/%s: %s", t.Namespace, t.Name, why)
	}
	return fmt.Appendf(nil, "# %s/%s for %v by %s, %s\n", t.Namespace, t.Name, t.Selector, m.By, m.Command), nil
}

// Add puts it into the mesh.
func (l accessLogs) Add(_ context.Context, t accesslog.Telemetry, m accesslog.Marks) (mesh.Telemetry, error) {
	s, err := l.stored()
	if err != nil {
		return mesh.Telemetry{}, err
	}
	made := mesh.Telemetry{Namespace: t.Namespace, Name: t.Name, UID: "1", By: m.By, Command: m.Command, Since: l.now().Format(time.RFC3339)}
	s.Telemetries = append(s.Telemetries, made)
	l.save("snapshot.yaml", s)
	return made, nil
}

// Renew says whether it is there.
func (l accessLogs) Renew(_ context.Context, t mesh.Telemetry, _ time.Time) error {
	s, err := l.stored()
	if err == nil && !slices.Contains(s.Telemetries, t) {
		return fmt.Errorf("%w: %s was removed by somebody else", drive.ErrRefused, t)
	}
	return nil
}

// Remove takes it away.
func (l accessLogs) Remove(_ context.Context, t mesh.Telemetry) error {
	s, err := l.stored()
	if err != nil {
		return err
	}
	s.Telemetries = slices.DeleteFunc(s.Telemetries, func(o mesh.Telemetry) bool { return o.Name == t.Name })
	l.save("snapshot.yaml", s)
	return nil
}

// dies ends the process while logs are read, where a script says so, and lets the
// time pass after which what it has added counts as left.
func (w world) dies() {
	if w.read("kill") != "logs" {
		return
	}
	s, err := w.stored()
	if err != nil {
		panic(err)
	}
	for i := range s.Telemetries {
		s.Telemetries[i].Left = true
	}
	w.save("snapshot.yaml", s)
	os.Exit(killed)
}
