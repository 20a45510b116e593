//go:build unix

package localserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
)

// parentEnv makes this test binary a parent that starts a child and waits to be killed.
const parentEnv = "LOCALSERVER_TEST_PARENT"

func TestMain(m *testing.M) {
	if marker := os.Getenv(parentEnv); marker != "" {
		os.Exit(beParent(marker))
	}
	os.Exit(m.Run())
}

// beParent starts a child that creates a file when it is told to end, and prints the child's id.
func beParent(marker string) int {
	p, err := localserver.Start(exec.Command("/bin/sh", "-c", `trap 'touch "`+marker+`"; exit' QUIT; echo ready >"`+marker+`.ready"; while :; do sleep 0.05; done`), syscall.SIGQUIT)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(p.PID())
	<-p.Done()
	return 0
}

// eventually waits until ok, for ten seconds at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within ten seconds", what)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// gone tells whether no process has the id, or only one that nobody has reaped yet.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	out, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return len(out) == 0 || strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

// A child gets its last signal when its parent is killed, and has time to clean up.
func TestChildEndsWithParent(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "marker")
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+marker)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "child is ready", func() bool { return exists(marker + ".ready") })
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	eventually(t, "child got its last signal", func() bool { return exists(marker) })
	eventually(t, "child is gone", func() bool { return gone(pid) })
}

// A child outlives the goroutine that started it, and every thread but the one that the kernel watches.
func TestChildOutlivesThreads(t *testing.T) {
	var children [8]*localserver.Process
	var group sync.WaitGroup
	for i := range children {
		group.Go(func() {
			runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
			var err error
			if children[i], err = localserver.Start(exec.Command("sleep", "600"), syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for range 50 {
		group.Go(runtime.LockOSThread)
	}
	group.Wait()
	for _, p := range children {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		if got, want := fmt.Sprint(p.Err()), "signal: killed"; got != want {
			t.Errorf("child ended by %q, want %q", got, want)
		}
	}
}

// Kill ends the children's children, also those that ignore every polite signal.
func TestKillTree(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p, err := localserver.Start(exec.Command("/bin/sh", "-c", `sh -c 'trap "" TERM QUIT INT; echo $$ >"$0.tmp"; mv "$0.tmp" "$0"; while :; do sleep 600; done' "`+file+`" & wait`), syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "grandchild is there", func() bool { return exists(file) })
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if !gone(pid) {
		t.Errorf("process %d survived", pid)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("a second kill: %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a signal after the end: %v", err)
	}
}

func TestStartError(t *testing.T) {
	if _, err := localserver.Start(exec.Command("/no/such/program"), syscall.SIGKILL); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want a missing file", err)
	}
}
