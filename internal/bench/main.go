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
	flag.StringVar(&p.out, "out", "", "directory for performance.svg, performance.json and performance-table.md")
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
	print(os.Stdout, rs, false)
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
	f, err := os.Create(filepath.Join(p.out, "performance-table.md"))
	if err != nil {
		return err
	}
	print(f, rs, true)
	return errors.Join(f.Close(), draw(filepath.Join(p.out, "performance.svg"), rs))
}
