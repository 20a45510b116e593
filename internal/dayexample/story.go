//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// story is the transcript.
type story struct {
	began time.Time
	text  strings.Builder
	marks []mark
}

// mark is a moment that the plot names.
type mark struct {
	at   time.Time
	name string
}

func newStory() *story { return &story{began: time.Now()} }

// chapter begins a part of the page.
func (s *story) chapter(title, says string) {
	fmt.Fprintf(&s.text, "\n## %s\n\n%s\n", title, says)
	fmt.Printf("%4.0f s  %s\n", time.Since(s.began).Seconds(), title)
}

// note is a sentence of what was seen.
func (s *story) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Fprintf(&s.text, "\n%s\n", line)
	fmt.Printf("%4.0f s    %s\n", time.Since(s.began).Seconds(), line)
}

// mark names a moment in the plot.
func (s *story) mark(name string) { s.marks = append(s.marks, mark{time.Now(), name}) }

// shown is output of a program, as a block of the page.
func (s *story) shown(text string) {
	fmt.Fprintf(&s.text, "\n```text\n%s\n```\n", strings.TrimRight(text, "\n"))
}

// does runs a command of oncesink, shows it and what it printed, and wants it to end with a code.
func (d *day) does(ctx context.Context, code int, url string, args ...string) (string, error) {
	cmd := d.command(ctx, url, args...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !asExit(err, &exit) {
		return "", err
	}
	text := d.anonymous(string(out))
	d.shown("$ oncesink " + strings.Join(args, " ") + "\n" + text)
	if got := cmd.ProcessState.ExitCode(); got != code {
		return text, fmt.Errorf("oncesink %s ends with %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return text, nil
}

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError) //nolint:errorlint // of exec itself
	*exit = e
	return ok
}

var digits = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// anonymous leaves out what is of this machine.
func (d *day) anonymous(text string) string {
	text = strings.ReplaceAll(text, d.dir+"/", "")
	if host, err := os.Hostname(); err == nil {
		text = strings.ReplaceAll(text, host+", pid ", "host, pid ")
	}
	for i, port := range d.ports {
		text = strings.ReplaceAll(text, fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("member%d:9187", i+1))
	}
	return digits.ReplaceAllString(text, "server:port")
}
