// Command bench measures oncesink, what PostgreSQL alone takes, and other programs, side by side:
// on one machine, on the same topics of a real Apache Kafka, into the same real PostgreSQL with
// fsync on. Run it from the root of the repository: make bench.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settingsOf a run of the benchmark, from the command line.
type plan struct {
	records, rounds int
	quick, grow     bool
	only            *regexp.Regexp
	out, limits     string
}

func run(ctx context.Context) (err error) {
	var p plan
	flag.IntVar(&p.records, "records", 1_000_000, "events of a load")
	flag.IntVar(&p.rounds, "rounds", 3, "rounds, of which the median counts")
	flag.BoolVar(&p.quick, "quick", false, "about a minute: fewer events, one round, no Debezium, no latency")
	flag.BoolVar(&p.grow, "growth", false, "measure how costs grow with backlog, table and partitions instead")
	flag.StringVar(&p.out, "out", "", "directory of performance.md, whose tables are replaced; performance.svg and performance.json go there, too")
	flag.StringVar(&p.limits, "limits", "", "limits of oncesink's runs in place of the defaults, to try them out: \"batch_records: 20000\"")
	only := flag.String("only", ".", "measure only what matches this expression")
	flag.Parse()
	if p.quick {
		p.records, p.rounds = min(p.records, 150_000), 1
	}
	if p.only, err = regexp.Compile(*only); err != nil {
		return err
	}
	say("starting Apache Kafka and PostgreSQL")
	b, err := start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := p.measure(ctx, b); err != nil {
		return err
	}
	rs := medians(b.results)
	print(os.Stdout, rs)
	if p.out == "" {
		return nil
	}
	return p.save(rs)
}

var started = time.Now()

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
}

// save writes the results where the documentation shows them.
func (p plan) save(rs []result) error {
	raw, err := json.MarshalIndent(rs, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.out, "performance.json"), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	if err := draw(filepath.Join(p.out, "performance.svg"), rs); err != nil {
		return err
	}
	page := filepath.Join(p.out, "performance.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	out := fill(string(text), "measurements", report(rs).RenderMarkdown())
	out = fill(out, "ratios", ratioTable(goals(rs)).RenderMarkdown())
	return os.WriteFile(page, []byte(out), 0o644)
}

// fill replaces what stands between the marks of a name in a page.
func fill(page, name, text string) string {
	before, rest, ok1 := strings.Cut(page, "<!-- "+name+" -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end of "+name+" -->")
	if !ok1 || !ok2 {
		return page
	}
	return before + "<!-- " + name + " -->\n" + text + "\n<!-- end of " + name + " -->" + after
}
