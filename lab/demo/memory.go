package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// Memory watches a process. The function it returns ends that and says how much
// memory the process took at its most, in bytes, 0 if it could not be seen.
//
// What wait4 reports is of no use here: the peak of a child that was started by
// vfork begins with its parent's.
func Memory(pid int) func() int64 {
	end := make(chan struct{})
	most := int64(0)
	var watching sync.WaitGroup
	watching.Go(func() {
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			most = max(most, peak(pid))
			select {
			case <-end:
				return
			case <-t.C:
			}
		}
	})
	return sync.OnceValue(func() int64 {
		close(end)
		watching.Wait()
		return most
	})
}

// peak reads the kernel's own record of the most, which counts since exec.
func peak(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		rest, ok := bytes.CutPrefix(lines.Bytes(), []byte("VmHWM:"))
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(rest, []byte("kB")))), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}
