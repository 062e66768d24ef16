//go:build linux

package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The words that Up and the processes it starts know each other by.
const (
	holdCommand = "hold"
	workCommand = "work"
	wordFile    = "word" // what the holder is doing
	readyWord   = "ready"
)

// Hidden runs the commands that only Up starts; false if args is none of them.
func Hidden(args []string) (bool, error) {
	if len(args) != 2 {
		return false, nil
	}
	switch args[0] {
	case holdCommand:
		return true, hold(args[1])
	case workCommand:
		return true, work(args[1])
	}
	return false, nil
}

// hold is the first process of the node's process namespace. It starts the
// worker and buries the orphans; it ends when the worker does.
func hold(name string) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("holding node %s: only node up starts this", name)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("holding node %s: %w", name, err)
	}
	prefer()
	if err := private(); err != nil {
		return fmt.Errorf("holding node %s: %w", name, err)
	}
	worker, err := os.StartProcess(self, []string{self, workCommand, name}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}, Env: os.Environ()})
	if err != nil {
		return fmt.Errorf("holding node %s: %w", name, err)
	}
	for {
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		if pid == worker.Pid {
			return fmt.Errorf("holding node %s: its worker ended", name)
		}
		if err != nil && err != syscall.EINTR {
			return fmt.Errorf("holding node %s: %w", name, err)
		}
	}
}

// prefer weighs the node's own parts as much as all pods together, see shares:
// they are one session, which a kernel with autogroups weighs as one process, and
// a kubelet that gets a tenth of what its pods get reports late. A kernel without
// autogroups has nothing to be told.
func prefer() { _ = os.WriteFile("/proc/self/autogroup", []byte("-10"), 0o600) }

// private gives the mount namespace its own view of what containers' programs
// write to, so that nothing of it stays on the machine.
func private() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	// a kubelet wants shared mounts; they are shared within this namespace
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("making the mounts shared: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/lib", "/var/log", "/opt"} {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("covering %s: %w", dir, err)
		}
	}
	return nil
}

// worker runs a node's parts.
type worker struct {
	state State
	m     materials
}

// work brings the node up, then keeps its parts running.
func work(name string) error {
	s, err := loadInside(name)
	if err != nil {
		return err
	}
	w := &worker{state: s}
	b, err := os.ReadFile(s.file("materials.json"))
	if err != nil {
		return fmt.Errorf("reading the node's materials: %w", err)
	}
	if err := json.Unmarshal(b, &w.m); err != nil {
		return fmt.Errorf("reading the node's materials: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := w.start(ctx); err != nil {
		return fmt.Errorf("starting node %s: %w", name, err)
	}
	<-ctx.Done()
	return nil
}

// loadInside is the state as the worker needs it: its process id may not be stored yet.
func loadInside(name string) (State, error) {
	dir, err := Dir(name)
	return State{Name: name, dir: dir}, err
}

func (w *worker) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...) + "\n"
	_ = os.WriteFile(w.state.file(wordFile), []byte(text), 0o600)
	fmt.Fprint(os.Stderr, text)
}

// Exec replaces this process by a command in the node's network namespace, with
// KUBECONFIG set. It returns only when it cannot.
func (s State) Exec(args []string, env []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("running %s: %w", args[0], err)
	}
	if err := s.enter(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("running %s: %w", args[0], err)
	}
	env = append(env, "SERIN_E2E_KILL="+self+" kill --name "+s.Name, "KUBECONFIG="+s.Kubeconfig(), "SERIN_E2E_KUBECONFIG="+s.Kubeconfig(), "SERIN_E2E_CHARTS="+s.Charts,
		"SERIN_E2E_VALUES="+s.file("values.yaml"), "SERIN_E2E_TOOLS="+s.Tools, "SERIN_E2E_NODE="+s.Name, "PATH="+s.Tools+":"+os.Getenv("PATH"))
	if err := syscall.Exec(path, args, env); err != nil { //nolint:gosec // what the caller asked for
		return fmt.Errorf("running %s: %w", args[0], err)
	}
	return nil
}

// enter moves this thread, for good, into the node's network namespace.
func (s State) enter() error {
	if !s.Alive() {
		return fmt.Errorf("entering node %s: %w\n  remedy: node up --name %s", s.Name, ErrNoNode, s.Name)
	}
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(s.PID), "ns", "net"))
	if err != nil {
		return fmt.Errorf("entering node %s: %w", s.Name, err)
	}
	defer func() { _ = f.Close() }()
	runtime.LockOSThread()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering node %s: %w", s.Name, err)
	}
	return nil
}

// Kill kills one part of the node by SIGKILL; its holder starts it again.
func (s State) Kill(part string) error {
	b, err := os.ReadFile(s.file(part + ".pid"))
	if err != nil {
		return fmt.Errorf("killing %s: %w", part, err)
	}
	inside := strings.TrimSpace(string(b))
	pid, err := s.outside(inside)
	if err != nil {
		return fmt.Errorf("killing %s: %w", part, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s: %w", part, err)
	}
	return nil
}

// Processes are the ids, seen from here, of the node's processes whose command
// line contains all words; of a pod's alone when its UID is given.
func (s State) Processes(pod string, words ...string) ([]int, error) {
	pids, err := s.members()
	if err != nil {
		return nil, err
	}
	var out []int
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		b, err := os.ReadFile(filepath.Join(dir, "cmdline")) //nolint:gosec // the kernel's own file
		if err != nil {
			continue
		}
		line, all := strings.ReplaceAll(string(b), "\x00", " "), true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if pod != "" {
			groups, err := os.ReadFile(filepath.Join(dir, "cgroup")) //nolint:gosec // the kernel's own file: "9:cpu:/serin-e2e/kubepods/burstable/podUID/..."
			all = all && err == nil && strings.Contains(string(groups), "/pod"+pod+"/")
		}
		if all {
			out = append(out, pid)
		}
	}
	return out, nil
}

// members are the processes of the node's process namespace, or of one within it.
func (s State) members() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == s.PID {
			continue
		}
		if len(nested(pid)) > len(nested(s.PID))-1 && s.holds(pid) {
			out = append(out, pid)
		}
	}
	return out, nil
}

// holds says whether a process descends from the node's holder.
func (s State) holds(pid int) bool {
	for range 64 {
		if pid == s.PID {
			return true
		}
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			return false
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil || pid <= 1 {
			return false
		}
	}
	return false
}

// outside is the id here of the process that has this id inside.
func (s State) outside(inside string) (int, error) {
	pids, err := s.members()
	if err != nil {
		return 0, err
	}
	depth := len(nested(s.PID))
	for _, pid := range pids {
		if ids := nested(pid); len(ids) == depth && ids[depth-1] == inside {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("finding process %s of node %s: it has ended", inside, s.Name)
}

// nested are a process's ids, one for each process namespace it is in, this one's first.
func nested(pid int) []string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}
