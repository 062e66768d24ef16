//go:build linux

package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/serin-mesh/serin/lab"
)

// Options say which node to make.
type Options struct {
	Name  string
	Istio []string // releases to have images of
	Log   io.Writer
}

// Build builds what a node is made of, unless it is there, and makes none.
func Build(ctx context.Context, o Options) error {
	if err := Missing(); err != nil {
		return err
	}
	_, err := gather(ctx, o.Istio, o.Log)
	return err
}

// Up makes a node, or returns the one there is. When it fails or ctx ends, what
// it has made is gone again.
func Up(ctx context.Context, o Options) (State, error) {
	s, err := Load(o.Name)
	switch {
	case err == nil && s.Alive():
		return s, nil
	case err == nil: // its holder died
		if err := Down(context.WithoutCancel(ctx), o.Name); err != nil {
			return s, err
		}
		s = State{Name: o.Name, dir: s.dir}
	case !errors.Is(err, ErrNoNode):
		return s, err
	}
	if err := Missing(); err != nil {
		return s, err
	}
	m, err := gather(ctx, o.Istio, o.Log)
	if err != nil {
		return s, err
	}
	s.Charts, s.Tools, s.Version = m.Charts, m.Tools, lab.KubeVersion
	if err := s.hold(ctx, m, o.Log); err != nil {
		tail := s.tail()
		return s, errors.Join(err, tail, Down(context.WithoutCancel(ctx), o.Name))
	}
	return s, nil
}

// hold starts the holder and returns when the node is ready.
func (s *State) hold(ctx context.Context, m materials, log io.Writer) error {
	for _, d := range []string{"", "log", "pki", "cni", "kubelet"} {
		if err := os.MkdirAll(s.file(d), 0o700); err != nil {
			return fmt.Errorf("making the node's directory: %w", err)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing the node's materials: %w", err)
	}
	if err := write(s.file("materials.json"), b); err != nil {
		return err
	}
	if err := makeGroups(s.Name); err != nil {
		return err
	}
	out, err := os.OpenFile(s.file("log/holder.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	defer func() { _ = out.Close() }()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	cmd := exec.Command(self, holdCommand, s.Name) //nolint:noctx,gosec // it outlives us, and it is ourselves
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the node in namespaces of its own: %w", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.PID, s.Birth = cmd.Process.Pid, birth(cmd.Process.Pid)
	if err := s.save(); err != nil {
		return err
	}
	return s.ready(ctx, ended, log)
}

// ready waits for the holder's word.
func (s *State) ready(ctx context.Context, ended <-chan struct{}, log io.Writer) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	limit := time.After(3 * time.Minute)
	said := ""
	for {
		if b, err := os.ReadFile(s.file(wordFile)); err == nil && string(b) != said {
			said = string(b)
			fmt.Fprintln(log, strings.TrimSpace(said))
			if strings.HasPrefix(said, readyWord) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("starting node %s: %w", s.Name, ctx.Err())
		case <-ended:
			return fmt.Errorf("starting node %s: it ended while %s", s.Name, said)
		case <-limit:
			return fmt.Errorf("starting node %s: three minutes were not enough; it is still %s", s.Name, said)
		case <-t.C:
		}
	}
}

// tail is the end of each part's log: the directory goes when a start fails.
func (s *State) tail() error {
	files, err := filepath.Glob(filepath.Join(s.Logs(), "*.log"))
	if err != nil {
		return nil //nolint:nilerr // a pattern of ours
	}
	var all []error
	for _, f := range files {
		if b, err := os.ReadFile(filepath.Clean(f)); err == nil && len(b) > 0 {
			all = append(all, fmt.Errorf("the end of %s:\n%s", filepath.Base(f), b[max(0, len(b)-1500):]))
		}
	}
	return errors.Join(all...)
}

// Down ends a node and removes all that is left of it.
func Down(ctx context.Context, name string) error {
	s, err := Load(name)
	if err != nil && !errors.Is(err, ErrNoNode) {
		return err
	}
	if s.Alive() {
		// The first process of a process namespace takes all others with it, and the kernel waits for the last.
		if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending node %s: %w", name, err)
		}
		if err := until(ctx, 30*time.Second, func() error {
			if s.Alive() {
				return errors.New("its processes are still ending")
			}
			return nil
		}); err != nil {
			return fmt.Errorf("ending node %s: %w", name, err)
		}
	}
	if err := until(ctx, 30*time.Second, func() error { return removeGroups(name) }); err != nil {
		return fmt.Errorf("removing the control groups of node %s: %w", name, err)
	}
	if err := until(ctx, 10*time.Second, func() error { return os.RemoveAll(s.dir) }); err != nil {
		return fmt.Errorf("removing the state of node %s: %w", name, err)
	}
	return nil
}

// until calls f until it succeeds.
func until(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w after %s", err, limit)
		case <-t.C:
		}
	}
}

// group is the control group of a node's pods, below each hierarchy's root.
func group(name string) string { return "serin-" + name }

const groupRoot = "/sys/fs/cgroup"

// hierarchies are the roots of control groups: one in version 2, one for each
// controller in version 1.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(groupRoot, "cgroup.controllers")); err == nil {
		return []string{groupRoot}, nil
	}
	entries, err := os.ReadDir(groupRoot)
	if err != nil {
		return nil, fmt.Errorf("listing control groups: %w", err)
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, filepath.Join(groupRoot, e.Name()))
		}
	}
	return all, nil
}

// shares weigh the group as ten processes: by default all pods together get as
// much of a busy machine as one process beside them, and starve.
func shares() map[string]string {
	return map[string]string{"cpu.shares": "10240", "cpu.weight": "1000"}
}

func makeGroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := filepath.Join(h, group(name))
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as the kernel's own
			return fmt.Errorf("making a control group: %w", err)
		}
		for f, much := range shares() {
			if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
				_ = os.WriteFile(filepath.Join(dir, f), []byte(much), 0o600)
			}
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} { // version 1: empty until set
			if b, err := os.ReadFile(filepath.Join(h, f)); err == nil { //nolint:gosec // the kernel's own file
				_ = os.WriteFile(filepath.Join(dir, f), b, 0o600) //nolint:gosec // of a group of ours
			}
		}
	}
	return nil
}

// removeGroups removes a node's control groups, the innermost first.
func removeGroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range all {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(h, group(name)), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		errs = append(errs, err)
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("removing %s: %w", dir, err))
			}
		}
	}
	return errors.Join(errs...)
}
