package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// testTimeout bounds the tests of one mutation, without their compilation.
const testTimeout = 5 * time.Minute

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutation", flag.ContinueOnError)
	only := flags.String("only", "", "the `name` of one mutation; all without")
	docs := flags.String("docs", "", "write the table to mutations.md in this `directory`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var rows []row
	var problems []error
	for _, m := range guarantees {
		if *only != "" && m.name != *only {
			continue
		}
		r, err := try(ctx, m)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", m.name, err))
			fmt.Fprintf(out, "%-20s %v\n", m.name, err)
			continue
		}
		rows = append(rows, r)
		fmt.Fprintf(out, "%-20s red: %s after %.1f s\n", m.name, r.red, r.took.Seconds())
	}
	switch {
	case len(problems) > 0:
		return errors.Join(problems...)
	case len(rows) == 0:
		return fmt.Errorf("there is no mutation %q", *only)
	case *docs != "" && *only == "":
		return write(filepath.Join(*docs, "mutations.md"), rows)
	}
	return nil
}

// row is what became of a mutation.
type row struct {
	mutation
	red  string // the first test that failed
	took time.Duration
}

// try has the tests of a mutation pass without it, and fail with it.
func try(ctx context.Context, m mutation) (row, error) {
	dir, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return row{}, err
	}
	defer os.RemoveAll(dir)
	files, err := edited(".", m.edits)
	if err != nil {
		return row{}, err
	}
	json, err := overlay(".", dir, files)
	if err != nil {
		return row{}, err
	}
	if out, _, err := test(ctx, m, filepath.Join(dir, "whole")); err != nil {
		return row{}, fmt.Errorf("its test fails without it: %w\n%s", err, out)
	}
	out, took, err := test(ctx, m, filepath.Join(dir, "mutant"), "-overlay", json)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return row{}, fmt.Errorf("%s passes: nobody notices", m.run)
	case !errors.As(err, &exit):
		return row{}, fmt.Errorf("%w\n%s", err, out)
	}
	failed := regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`).FindAllSubmatch(out, -1)
	if len(failed) == 0 {
		return row{}, fmt.Errorf("no test failed, and yet: %w\n%s", err, out)
	}
	return row{m, string(failed[0][1]), took}, nil
}

// test compiles the tests of a mutation's package into binary, and runs those that are named. It returns what they said, and how
// long they ran, which the compilation is no part of. The error of tests that failed is an *exec.ExitError.
func test(ctx context.Context, m mutation, binary string, flags ...string) ([]byte, time.Duration, error) {
	args := append(append([]string{"test", "-c", "-vet=off", "-o", binary}, flags...), m.pkg)
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return nil, 0, fmt.Errorf("it does not compile: %s", bytes.TrimSpace(out))
	}
	c := exec.CommandContext(ctx, binary, "-test.run", "^("+m.run+")$", "-test.failfast", "-test.timeout", testTimeout.String())
	c.Dir = m.pkg
	began := time.Now()
	out, err := c.CombinedOutput()
	took := time.Since(began)
	if err == nil && strings.Contains(string(out), "no tests to run") {
		return out, took, fmt.Errorf("there is no test %s in %s", m.run, m.pkg)
	}
	return out, took, err
}

// write replaces the table of the page.
func write(path string, rows []row) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const begin, end = "<!-- guarantees -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no marks around the table", path)
	}
	var b strings.Builder
	b.WriteString("| mutation | the program, but that | test that is red | in | after |\n|---|---|---|---|---:|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | `%s` | %.1f s |\n", r.name, r.about, r.red, strings.TrimPrefix(r.pkg, "./"), r.took.Seconds())
	}
	return os.WriteFile(path, []byte(before+begin+b.String()+"\n"+end+after), 0o644)
}
