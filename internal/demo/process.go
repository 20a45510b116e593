package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
)

// worker is the demo's side of a worker process. It is used by one goroutine.
type worker struct {
	name     string
	log      string // file
	proc     *localserver.Process
	instance string // how its PostgreSQL sessions are named, and the owner in the ledger
	page     string // its address
}

func newWorker(name, log string) *worker { return &worker{name: name, log: log} }

// start starts the process, a second time after a kill, and waits until it has connected.
func (w *worker) start(ctx context.Context, command []string, config string) error {
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", w.name, err)
	}
	defer log.Close()
	said, stdout, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", w.name, err)
	}
	defer said.Close()
	cmd := exec.Command(command[0], append(command[1:len(command):len(command)], config)...)
	cmd.Stdout, cmd.Stderr = stdout, log
	// Whatever happens to this process, a worker does not outlive it.
	w.proc, err = localserver.Start(cmd, syscall.SIGKILL)
	stdout.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", w.name, err)
	}
	stop := context.AfterFunc(ctx, func() { said.Close() })
	defer stop()
	line, err := bufio.NewReader(said).ReadString('\n')
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("start %s: it ended: %w", w.name, errors.Join(w.proc.Err(), err))
	}
	w.instance, w.page, _ = strings.Cut(strings.TrimSpace(line), " ")
	return nil
}

// alive returns an error if the process has ended by itself.
func (w *worker) alive() error {
	if !w.proc.Exited() {
		return nil
	}
	err := w.proc.Err()
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended: %w", w.name, err)
}

// kill is kill -9, and waits for the end.
func (w *worker) kill() error {
	if err := w.proc.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-w.proc.Done()
	return nil
}

// end asks the process to finish.
func (w *worker) end() error {
	if w.proc == nil || w.proc.Exited() {
		return nil
	}
	return errors.Join(w.wake(), w.proc.Signal(syscall.SIGTERM))
}

// close waits for the end, and does not wait long.
func (w *worker) close() error {
	if w.proc == nil {
		return nil
	}
	select {
	case <-w.proc.Done():
		return nil
	case <-time.After(5 * time.Second):
		return w.proc.Kill()
	}
}

// logSize is where the log ends now.
func (w *worker) logSize() (int64, error) {
	info, err := os.Stat(w.log)
	if err != nil {
		return 0, fmt.Errorf("look at log of %s: %w", w.name, err)
	}
	return info.Size(), nil
}

// logged returns the whole lines of the log after a position.
func (w *worker) logged(from int64) ([]string, error) {
	f, err := os.Open(w.log)
	if err != nil {
		return nil, fmt.Errorf("read log of %s: %w", w.name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, from, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read log of %s: %w", w.name, err)
	}
	end := bytes.LastIndexByte(b, '\n')
	if end < 0 {
		return nil, nil
	}
	return strings.Split(string(b[:end]), "\n"), nil
}
