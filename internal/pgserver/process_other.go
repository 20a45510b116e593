//go:build unix && !linux

package pgserver

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// startTied starts a command that gets SIGQUIT (for a postmaster: an immediate
// shutdown) when this process ends, however it ends: a watcher reads from a pipe
// that only this process could write to, and wakes when the pipe closes.
func startTied(cmd *exec.Cmd) (release func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	watcher := exec.Command("/bin/sh", "-c", `read x; kill -QUIT "$0"`, strconv.Itoa(cmd.Process.Pid))
	watcher.Dir = "/"
	watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cmd.SysProcAttr.Credential}
	pipe, err := watcher.StdinPipe()
	if err == nil {
		err = watcher.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start watcher: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	return func() {
		watcher.Process.Kill()
		pipe.Close()
		watcher.Wait()
	}, nil
}

// childrenOf returns the children of a process.
func childrenOf(pid int) ([]int, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var children []int
	for line := range strings.Lines(string(out)) {
		var child, parent int
		if n, _ := fmt.Sscan(line, &child, &parent); n == 2 && parent == pid {
			children = append(children, child)
		}
	}
	return children, nil
}

// running tells whether a process is there.
func running(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// removeSharedMemory removes the System V segment of a killed server: no process is attached any more.
func removeSharedMemory(id int) {
	exec.Command("ipcrm", "-m", strconv.Itoa(id)).Run()
}
