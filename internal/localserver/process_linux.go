package localserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// startTied starts a child that the kernel signals when the thread that started it
// ends. So the calling goroutine keeps its thread until it calls release.
func startTied(cmd *exec.Cmd, last syscall.Signal) (release func(), err error) {
	runtime.LockOSThread()
	cmd.SysProcAttr.Pdeathsig = last
	if err := cmd.Start(); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return runtime.UnlockOSThread, nil
}

// stat returns the state and the parent of a process; ok is false if it is gone.
func stat(pid string) (state rune, parent int, ok bool) {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return 0, 0, false
	}
	// "pid (name) state parent ...", and the name may hold anything, a parenthesis, too.
	_, err = fmt.Sscanf(string(b[bytes.LastIndexByte(b, ')')+1:]), " %c %d", &state, &parent)
	return state, parent, err == nil
}

func childrenOf(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var children []int
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := stat(e.Name()); ok && parent == pid {
			children = append(children, child)
		}
	}
	return children, nil
}

// running tells whether a process is there, and not just waiting for a lazy init to reap it.
func running(pid int) bool {
	state, _, ok := stat(strconv.Itoa(pid))
	return ok && state != 'Z' && state != 'X'
}
