package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/internal/wiring"
)

// verdict is what a look came to.
type verdict string

const (
	fine  verdict = "OK"
	warns verdict = "WARN"
	fails verdict = "FAIL" // run would not start, or not for long
)

// diagnosis is one line of `oncesink doctor`.
type diagnosis struct {
	Verdict verdict `json:"verdict"`
	About   string  `json:"about"`        // configuration, postgres, kafka, process or check
	Says    string  `json:"says"`         // what was found
	Do      string  `json:"do,omitempty"` // about it
}

// doctorReport is what `oncesink doctor --json` prints.
type doctorReport struct {
	Verdict   verdict     `json:"verdict"` // the worst
	Version   string      `json:"version"`
	Diagnoses []diagnosis `json:"diagnoses"`

	found error // findings of check, which end it as they end check
}

func (r *doctorReport) ok(about, format string, args ...any) {
	r.Diagnoses = append(r.Diagnoses, diagnosis{fine, about, fmt.Sprintf(format, args...), ""})
}

func (r *doctorReport) warn(about, do, format string, args ...any) {
	r.Diagnoses = append(r.Diagnoses, diagnosis{warns, about, fmt.Sprintf(format, args...), do})
}

func (r *doctorReport) fail(about, do, format string, args ...any) {
	r.Diagnoses = append(r.Diagnoses, diagnosis{fails, about, fmt.Sprintf(format, args...), do})
}

// refused is a failure by an error, whose message says what to do.
func (r *doctorReport) refused(about string, err error) {
	for line := range strings.Lines(err.Error()) {
		r.fail(about, "", "%s", strings.TrimSpace(line))
	}
}

// count is how many lines have a verdict.
func (r *doctorReport) count(v verdict) (n int) {
	for _, d := range r.Diagnoses {
		if d.Verdict == v {
			n++
		}
	}
	return n
}

func newDoctorCommand() *cobra.Command {
	var f flags
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at all around: servers, settings, clocks, limits",
		Long: `Does what check does, and looks at what is around: versions of the servers, their clocks against the
one here, settings of PostgreSQL and of the brokers, connections that are free, the session timeout
against the brokers' bounds, retention and message sizes of the topics, memory, and how long a stop
may take. Each line begins with OK, WARN or FAIL; the last two say what to do. It changes nothing.

A broker that does not tell its settings to this user is a line that says so, and no failure.
Whether a broker's clock is right can't be asked: records that are dated in the future are told.

It ends with 2 where a line is FAIL, and as check does, with 3, for findings; --strict ends with 3
for a WARN, too.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := &doctorReport{Version: version(), Diagnoses: []diagnosis{}}
			r.examine(cmd.Context(), f, cmd.ErrOrStderr())
			if cmd.Context().Err() != nil {
				return errors.New("interrupted")
			}
			r.Verdict = fine
			for _, v := range []verdict{warns, fails} {
				if r.count(v) > 0 {
					r.Verdict = v
				}
			}
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), r); err != nil {
					return err
				}
			} else {
				r.print(cmd.OutOrStdout())
			}
			return r.end(strict)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&strict, "strict", false, "end with 3 for warnings, too")
	return cmd
}

// examine looks at one thing after the other. What can't be reached is told, and what depends on it is left out.
func (r *doctorReport) examine(ctx context.Context, f flags, stderr io.Writer) {
	name, text, err := f.read()
	if err == nil {
		_, err = config.Parse(name, text, os.LookupEnv)
	}
	if err != nil {
		r.refused("configuration", err)
		return
	}
	if name == "standard input" { // it was read
		f.stdin = func() io.Reader { return strings.NewReader(string(text)) }
	}
	s, err := load(f, stderr)
	if err != nil {
		r.refused("configuration", err)
		return
	}
	defer s.close()
	r.ok("configuration", "%s: group %s, %d table(s)", name, s.consumer.Group, len(s.cfg.Tables))
	for _, w := range s.cfg.Warnings() {
		r.warn("configuration", "", "%s", w)
	}
	r.process(s)
	postgres := r.postgres(ctx, s)
	kafka := r.kafka(ctx, s)
	if !postgres || !kafka {
		return
	}
	if len(s.sinkCfg.Tables) == 0 {
		r.ok("check", "there are no tables to look at: the program that has the handlers does")
		return
	}
	report, _, err := s.check(ctx)
	if err != nil {
		r.refused("check", err)
		return
	}
	r.checked(report)
}

// checked takes what check has found.
func (r *doctorReport) checked(c *checkReport) {
	for _, t := range c.Tables {
		for _, f := range t.Findings {
			says := fmt.Sprintf("table %s: %s: %s [%s]", t.Table, f.Problem, f.Why, f.Code)
			if f.Severity == tables.Changes {
				r.fail("check", f.Fix, "%s", says)
			} else {
				r.warn("check", f.Fix, "%s", says)
			}
		}
	}
	for _, w := range foldAlike(c.Warnings) {
		if !slices.ContainsFunc(r.Diagnoses, func(d diagnosis) bool { return d.Says == w }) {
			r.warn("check", "", "%s", w)
		}
	}
	r.found = c.found(false)
	if r.found == nil {
		r.ok("check", "%d table(s) of %d topic(s) are ready to run", len(c.Tables), len(c.Topics))
	}
}

// killedAfter is how long Kubernetes waits for a process that it stops, unless it is told otherwise.
const killedAfter = 30 * time.Second

// process looks at this machine. What it finds holds for run where run is started as this is.
func (r *doctorReport) process(s *session) {
	const about = "process"
	if stop := cmp.Or(s.consumer.StopTimeout, 20*time.Second); stop > killedAfter-5*time.Second {
		r.warn(about, "set terminationGracePeriodSeconds, or TimeoutStopSec of systemd, above it", "limits.stop_timeout is %v: Kubernetes kills a process %v after it stops it, unless it is told otherwise", stop, killedAfter)
	} else {
		r.ok(about, "a stop takes %v at most: less than the %v after which Kubernetes kills", stop, killedAfter)
	}
	need := cmp.Or(s.consumer.BufferBytes, wiring.BufferBytes) + memoryOfOthers
	switch limit, known := memoryLimit(); {
	case known && limit < need:
		r.warn(about, "raise the limit, or lower limits.buffer_bytes", "the memory limit here is %d MiB, and a run takes about %d MiB", limit>>20, need>>20)
	case known:
		r.ok(about, "the memory limit here is %d MiB, and a run takes about %d MiB", limit>>20, need>>20)
	}
	if writers := cmp.Or(s.consumer.Writers, 2); writers > 4*runtime.GOMAXPROCS(0) {
		r.warn(about, "lower limits.writers", "limits.writers is %d, with %d processor(s) here", writers, runtime.GOMAXPROCS(0))
	}
}

// memoryLimit is that of the control group, version 2, that the process is in.
func memoryLimit() (bytes int64, known bool) {
	text, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return 0, false
	}
	bytes, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return bytes, err == nil
}

func (r *doctorReport) print(w io.Writer) {
	for _, d := range r.Diagnoses {
		printHanging(w, fmt.Sprintf("%-5s", d.Verdict), "     ", d.About+": "+d.Says)
		if d.Do != "" {
			printHanging(w, "     -> ", "        ", d.Do)
		}
	}
	fmt.Fprintf(w, "\n%d OK, %d WARN, %d FAIL\n", r.count(fine), r.count(warns), r.count(fails))
}

func (r *doctorReport) end(strict bool) error {
	failed := r.count(fails)
	if r.found != nil && failed == r.findings() {
		return r.found
	}
	if failed > 0 {
		return &environmentError{fmt.Sprintf("%d thing(s) stand in the way: see the lines that begin with FAIL", failed)}
	}
	if n := r.count(warns); strict && n > 0 {
		return &warningsError{n}
	}
	return nil
}

// findings are the failures that are findings of check.
func (r *doctorReport) findings() (n int) {
	for _, d := range r.Diagnoses {
		if d.Verdict == fails && d.About == "check" && d.Do != "" {
			n++
		}
	}
	return n
}

// warningsError ends a command that was asked to be strict.
type warningsError struct{ n int }

func (e *warningsError) Error() string { return fmt.Sprintf("%d warning(s), and --strict", e.n) }
