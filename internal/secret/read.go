package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Error says why a secret can't be had, without a word of it.
type Error struct {
	// Key is the source's place in the configuration.
	Key string
	// Problem says what is wrong, Fix what to do about it.
	Problem, Fix string
}

func (e *Error) Error() string { return e.Key + ": " + e.Problem + ": " + e.Fix }

// longest is how large a secret may be, in bytes.
const longest = 64 << 10

// File is a source that reads a file at each call of Value. Line ends at its end are no part of the secret.
func File(key, path string) *Source {
	return newSource(key, true, func(context.Context) (string, time.Time, error) {
		value, err := ReadFile(key, path)
		return value, time.Time{}, err
	})
}

// ReadFile reads the secret in a file. Its error is an *[Error].
func ReadFile(key, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &Error{key, fileProblem(path, err), "name a file that this program can read"}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err != nil {
		return "", &Error{key, fileProblem(path, err), "name a file that this program can read"}
	}
	value, problem := trimmed(data)
	if problem != "" {
		return "", &Error{key, "the file" + named(path) + " " + problem, "write the secret into it, and nothing else"}
	}
	return value, nil
}

// trimmed is a secret without the line ends behind it, or what is wrong with it.
func trimmed(data []byte) (value, problem string) {
	value = strings.TrimRight(string(data), "\r\n")
	switch {
	case len(data) > longest:
		return "", "is longer than 64 KiB"
	case value == "":
		return "", "is empty"
	case strings.ContainsRune(value, 0):
		return "", "has a zero byte in it"
	}
	return value, ""
}

// fileProblem is why a file can't be read.
func fileProblem(path string, err error) string {
	return "the file" + named(path) + " can't be read: " + reason(err)
}

// reason is why a file can't be read, without its name.
func reason(err error) string {
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return file.Err.Error()
	}
	return "unknown"
}

// named is a file's name in a message. What has no slash in it may be a secret that somebody wrote in the place of its file's name.
func named(path string) string {
	if !strings.ContainsAny(path, `/\`) {
		return ""
	}
	return " " + path
}

const (
	defaultTTL     = 10 * time.Minute
	defaultTimeout = 5 * time.Second
	// pauseCommand is how far apart attempts are of a command that failed, or whose answer was refused.
	pauseCommand = 2 * time.Second
)

// Command is a program that prints a secret.
type Command struct {
	// Args are the program and its arguments. There is no shell.
	Args []string
	// TTL is for how long an answer is used before it is asked for again. Defaults to 10 minutes.
	TTL time.Duration
	// Timeout bounds one run. Defaults to 5 s.
	Timeout time.Duration
	// Ends, if not nil, says when an answer ends by itself, the zero time if it does not say; it is used for four fifths of its life.
	Ends func(answer string) time.Time
}

// Run is a source that runs a command when its last answer is older than its TTL, or was refused.
func Run(key string, c Command) *Source {
	if c.TTL == 0 {
		c.TTL = defaultTTL
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	s := newSource(key, true, func(ctx context.Context) (string, time.Time, error) {
		began := time.Now()
		value, err := c.run(ctx, key)
		until := began.Add(c.TTL)
		if err == nil && c.Ends != nil {
			if ends := c.Ends(value); !ends.IsZero() {
				if good := began.Add(ends.Sub(began) * 4 / 5); good.Before(until) {
					until = good
				}
			}
		}
		return value, until, err
	})
	s.pause = pauseCommand
	return s
}

// run runs the command. What it writes to its standard error is not told: that may be a secret as well.
func (c *Command) run(ctx context.Context, key string) (string, error) {
	// Not bounded by who asks: others may wait for the same answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Timeout)
	defer cancel()
	fail := func(problem string) error {
		return &Error{key, c.name() + " " + problem, "run it by hand, as the user that this program runs as, to see what it says"}
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	var out limited
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second // where it leaves children behind that hold its output
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fail(fmt.Sprintf("gives no answer within %v", c.Timeout))
	case errors.As(err, &exit):
		return "", fail("fails: " + exit.ProcessState.String())
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", &Error{key, c.name() + " is not there", "name a program, with its whole path, and its arguments"}
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return "", fail("can't be run")
	}
	value, problem := trimmed(out.Bytes())
	if problem != "" {
		return "", fail("gives an answer that " + problem)
	}
	return value, nil
}

// name is the program's, without its arguments, which may be secrets.
func (c *Command) name() string { return filepath.Base(c.Args[0]) }

// limited keeps so much of what is written that a secret which is too long is seen to be.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := longest + 1 - l.Len(); room > 0 {
		_, _ = l.Buffer.Write(p[:min(len(p), room)]) // never fails
	}
	return len(p), nil
}
