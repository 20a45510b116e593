package pgserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// startTied starts a command that gets SIGQUIT (for a postmaster: an immediate
// shutdown, which removes its shared memory) when this process ends, however it
// ends. The kernel watches the starting thread, so the caller's goroutine keeps it
// until it has called release.
func startTied(cmd *exec.Cmd) (release func(), err error) {
	runtime.LockOSThread()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	if err := cmd.Start(); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return runtime.UnlockOSThread, nil
}

// stat returns the state and the parent of a process, or ok = false if it is gone.
func stat(pid string) (state byte, parent int, ok bool) {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return 0, 0, false
	}
	// pid (name) state ppid ...: the name may hold anything, also a parenthesis.
	_, err = fmt.Sscanf(string(b[bytes.LastIndexByte(b, ')')+1:]), " %c %d", &state, &parent)
	return state, parent, err == nil
}

// childrenOf returns the children of a process.
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

// running tells whether a process is there and not just waiting to be reaped by a lazy init.
func running(pid int) bool {
	state, _, ok := stat(strconv.Itoa(pid))
	return ok && state != 'Z' && state != 'X'
}

// removeSharedMemory removes the System V segment of a killed server: no process is attached any more.
func removeSharedMemory(id int) {
	unix.SysvShmCtl(id, unix.IPC_RMID, nil)
}
