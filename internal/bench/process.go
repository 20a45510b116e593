package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
)

// process is a program under measurement. It does not outlive this one.
type process struct {
	*localserver.Process
	log output
}

// output keeps the end of what a process says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.Len() > 1<<20 {
		o.b.Next(o.b.Len() / 2)
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.b.String()
	return s[max(0, len(s)-3000):]
}

func launch(env []string, name string, args ...string) (p *process, err error) {
	p = &process{}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	p.Process, err = localserver.Start(cmd, syscall.SIGKILL)
	return p, err
}

// stop asks the process to end, and after a while makes it.
func (p *process) stop() {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		_ = p.Kill()
	}
}

// usage is what a process has used so far.
type usage struct {
	cpu  time.Duration // user and system
	peak int64         // bytes of memory at the highest
}

const ticksPerSecond = 100 // of /proc: USER_HZ, the same on every Linux

// used reads /proc. Rusage would not do: its memory begins with the parent's, and it
// counts the start of a virtual machine.
func (p *process) used() (u usage, err error) {
	u.peak = peakOf(p.PID())
	s, err := statOf(p.PID())
	if err != nil {
		return u, fmt.Errorf("the process ended: %w\n%s", err, &p.log)
	}
	u.cpu = s.own
	return u, nil
}

// stat is what /proc says of a process: its parent, and the processor time of itself and of its children that have ended.
type stat struct {
	parent     int
	own, ended time.Duration
}

func statOf(pid int) (s stat, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, err
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(f[i], 10, 64)
		return time.Duration(n) * time.Second / ticksPerSecond
	}
	s.parent, _ = strconv.Atoi(f[1])
	s.own, s.ended = ticks(11)+ticks(12), ticks(13)+ticks(14)
	return s, nil
}

// serverCPU is the processor time of the PostgreSQL server that one of its sessions belongs to, in all its processes, so far.
func serverCPU(session uint32) (sum time.Duration, err error) {
	s, err := statOf(int(session))
	if err != nil {
		return 0, err
	}
	server := s.parent
	if s, err = statOf(server); err != nil {
		return 0, err
	}
	sum = s.own + s.ended
	all, err := os.ReadDir("/proc")
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s, err := statOf(pid); err == nil && s.parent == server {
			sum += s.own
		}
	}
	return sum, err
}

// peakOf is the highest memory of a process so far, in bytes; 0 if it has ended.
func peakOf(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// within waits for a condition, looking every so often.
func within(ctx context.Context, limit, every time.Duration, p *process, ok func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := ok()
		if err != nil {
			return err
		}
		if done {
			return nil
		}
		var ended <-chan struct{}
		if p != nil {
			ended = p.Done()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return fmt.Errorf("the process ended: %v\n%s", p.Err(), &p.log)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			if p != nil {
				return fmt.Errorf("not done within %v\n%s", limit, &p.log)
			}
			return fmt.Errorf("not done within %v", limit)
		}
	}
}
