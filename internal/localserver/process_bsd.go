//go:build unix && !linux

package localserver

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// startTied starts a child and a watcher beside it, which reads from a pipe that only
// this process can write to, and signals the child when the pipe closes.
func startTied(cmd *exec.Cmd, last syscall.Signal) (release func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	watcher := exec.Command("/bin/sh", "-c", `read x; kill -"$0" "$1"`, strconv.Itoa(int(last)), strconv.Itoa(cmd.Process.Pid))
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
		watcher.Process.Kill() // before the pipe closes: the child's id may be somebody else's by now
		watcher.Wait()
		pipe.Close()
	}, nil
}

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

func running(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
