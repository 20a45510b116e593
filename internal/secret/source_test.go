package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, s *Source, value string) {
	t.Helper()
	if got, err := s.Value(t.Context()); err != nil || got != value {
		t.Errorf("got %q, %v, want %q", got, err, value)
	}
}

// A file is read each time. One that is missing or empty for a moment leaves the last value, until it was refused.
func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "password")
	s := File("postgres.password_file", path)
	told := 0
	s.Tell(func(error) { told++ })
	_, err := s.Value(t.Context())
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "postgres.password_file: the file "+path+" can't be read: no such file") {
		t.Errorf("got %v", err)
	}
	write(t, path, "first\r\n\n")
	want(t, s, "first")
	write(t, path, "second")
	want(t, s, "second")
	write(t, path, "")
	want(t, s, "second")
	want(t, s, "second")
	if told != 1 {
		t.Errorf("told %d times of a file that is empty", told)
	}
	s.Refused("first") // the last but one
	want(t, s, "second")
	s.Refused("second")
	if got, err := s.Value(t.Context()); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("got %q, %v of a value that was refused", got, err)
	}
	write(t, path, "third\n")
	want(t, s, "third")
	if got := strings.Join(s.Known(), " "); got != "second third" {
		t.Errorf("known: %s", got)
	}
}

func TestFilesThatAreNoSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for text, want := range map[string]string{"\n": "is empty", "a\x00b": "zero byte", strings.Repeat("x", longest+1): "longer than 64 KiB"} {
		write(t, path, text)
		if _, err := ReadFile("k", path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := ReadFile("k", dir); err == nil {
		t.Error("a folder is read")
	}
	// What is no path may be the secret itself.
	if _, err := ReadFile("k", "hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// An answer is used for as long as it is good, by all who ask, and asked for anew when it was refused: once, at a time.
func TestFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		var fails atomic.Bool
		s := Func("k", func(context.Context) (string, time.Time, error) {
			n := asked.Add(1)
			time.Sleep(time.Second)
			if fails.Load() {
				return "", time.Time{}, errors.New("no")
			}
			return fmt.Sprint(n), time.Now().Add(time.Minute), nil
		})
		all := func(value string) {
			t.Helper()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() { want(t, s, value) })
			}
			wg.Wait()
		}
		all("1")
		time.Sleep(59 * time.Second)
		all("1")
		time.Sleep(2 * time.Second)
		all("2")
		s.Refused("1") // by somebody who was slow
		all("2")
		s.Refused("2")
		all("3")
		s.Refused("3")
		all("3") // too soon
		time.Sleep(pauseCommand)
		all("4")

		fails.Store(true)
		time.Sleep(2 * time.Minute)
		all("4") // until it is refused
		if n := asked.Load(); n != 5 {
			t.Errorf("asked %d times, want 5", n)
		}
		s.Refused("4")
		time.Sleep(pauseCommand)
		if got, err := s.Value(t.Context()); err == nil {
			t.Errorf("got %q, which was refused", got)
		}
		fails.Store(false)
		time.Sleep(pauseCommand)
		all("7")

		// Who can't wait does not.
		time.Sleep(2 * time.Minute)
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		go func() { _, _ = s.Value(context.Background()) }()
		synctest.Wait()
		if _, err := s.Value(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
	})
}

// A command's answer is its output. What it says of a failure has no secret in it, nor its arguments.
func TestCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "now")
	write(t, path, "one\n")
	s := Run("kafka.sasl.password_command", Command{Args: []string{"cat", path}, TTL: time.Hour})
	want(t, s, "one")
	write(t, path, "two\n")
	want(t, s, "one")
	s.Refused("one")
	want(t, s, "two")

	for name, c := range map[string]struct {
		command Command
		want    string
	}{
		"fails":  {Command{Args: []string{"sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"}}, "k: sh fails: exit status 3: run it by hand, as the user"},
		"slow":   {Command{Args: []string{"sleep", "60"}, Timeout: 50 * time.Millisecond}, "k: sleep gives no answer within 50ms"},
		"silent": {Command{Args: []string{"true"}}, "k: true gives an answer that is empty"},
		"long":   {Command{Args: []string{"head", "-c", "100000", "/dev/urandom"}}, "longer than 64 KiB"},
		"none":   {Command{Args: []string{"/no/such/hunter"}}, "k: hunter is not there: name a program"},
		"denied": {Command{Args: []string{path}}, "k: now can't be run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Run("k", c.command).Value(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %q, %v, want %s", got, err, c.want)
			}
		})
	}
}

// An answer that says when it ends is used for four fifths of its life.
func TestCommandThatEnds(t *testing.T) {
	t.Parallel()
	began := time.Now()
	s := Run("k", Command{Args: []string{"echo", "token"}, TTL: time.Hour, Ends: func(string) time.Time { return began.Add(10 * time.Minute) }})
	want(t, s, "token")
	if d := s.until.Sub(began); d < 8*time.Minute-time.Second || d > 8*time.Minute+5*time.Second {
		t.Errorf("used for %v", d)
	}
}
