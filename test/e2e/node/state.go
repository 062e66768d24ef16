//go:build linux

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// State is what a later command needs to know of a node.
type State struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`   // of the process that holds the namespaces
	Birth   string `json:"birth"` // when it was started, in the kernel's ticks: a process id is used again
	Charts  string `json:"charts"`
	Tools   string `json:"tools"`   // directory of helm, kubectl and istioctl-VERSION
	Version string `json:"version"` // of Kubernetes

	dir string
}

// ErrNoNode says that there is no node of the name.
var ErrNoNode = errors.New("there is no such node")

// Dir is where the node of a name keeps its state.
func Dir(name string) (string, error) {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`).MatchString(name) {
		return "", fmt.Errorf("naming the node %q: want at most 32 lower-case letters, digits and dashes", name)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w", err)
	}
	return filepath.Join(cache, "serin", "node", name), nil
}

// Load is the node of a name, ErrNoNode if there is none.
func Load(name string) (State, error) {
	dir, err := Dir(name)
	if err != nil {
		return State{}, err
	}
	s := State{Name: name, dir: dir}
	b, err := os.ReadFile(s.file("state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("looking for node %s: %w", name, ErrNoNode)
	}
	if err != nil {
		return s, fmt.Errorf("looking for node %s: %w", name, err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("reading the state of node %s: %w", name, err)
	}
	return s, nil
}

// Kubeconfig is the path of the administrator's kubeconfig. It is of use in the
// node's network namespace only: see Exec.
func (s State) Kubeconfig() string { return s.file("kubeconfig") }

// Logs is the directory of the parts' logs.
func (s State) Logs() string { return s.file("log") }

func (s State) file(name string) string { return filepath.Join(s.dir, name) }

// Alive says whether the node's holder runs.
func (s State) Alive() bool { return s.PID > 0 && birth(s.PID) == s.Birth }

func (s State) save() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the state of node %s: %w", s.Name, err)
	}
	return write(s.file("state.json"), b)
}

// birth is when a process was started, "" if there is none.
func birth(pid int) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	// the second field is the command in parentheses and may hold anything
	_, rest, ok := strings.Cut(string(b), ") ")
	if fields := strings.Fields(rest); ok && len(fields) > 19 && fields[0] != "Z" {
		return fields[19]
	}
	return ""
}

func write(path string, b []byte) error {
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
