// Command bench measures oncesink, what PostgreSQL alone takes, and other programs, side by side:
// on one machine, on the same topics of a real Apache Kafka, into the same real PostgreSQL with
// fsync on. Run it from the root of the repository: make bench. It is a module of its own, so that users
// of the library don't get what only a plot needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
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

// plan is what to measure, from the command line.
type plan struct {
	name            string // of the files
	records, rounds int
	quick, grow     bool
	anew            bool // load tables anew
	family          bool // load a table anew with its children
	sums            bool // keep rollups
	poison          bool // refuse records
	wrapped         bool // read envelopes
	metrics         bool // with and without an admin listener
	only            *regexp.Regexp
	out, limits     string
}

func run(ctx context.Context) (err error) {
	p := plan{name: "performance"}
	flag.IntVar(&p.records, "records", 1_000_000, "events of a load")
	flag.IntVar(&p.rounds, "rounds", 3, "rounds, of which the median counts")
	flag.BoolVar(&p.quick, "quick", false, "about a minute: fewer events, one round, no Debezium, no latency")
	flag.BoolVar(&p.grow, "growth", false, "measure how costs grow with backlog, table and partitions instead")
	flag.BoolVar(&p.anew, "rebuild", false, "measure what it costs to load a table anew instead")
	flag.BoolVar(&p.family, "children", false, "measure what it costs to load orders anew with their lines instead: events are orders then")
	flag.BoolVar(&p.sums, "rollups", false, "measure what it costs to keep rollups instead")
	flag.BoolVar(&p.poison, "poison", false, "measure what is left where a table refuses one record in a hundred instead")
	flag.BoolVar(&p.wrapped, "envelopes", false, "measure what events in Debezium's envelopes cost here and in Debezium's own sink instead")
	flag.BoolVar(&p.metrics, "metrics", false, "measure what the metrics cost: with an admin listener that is scraped each second, and without, in pairs, instead")
	flag.StringVar(&p.out, "out", "", "directory of performance.md, whose tables are replaced; performance.svg and performance.json go there, too")
	flag.StringVar(&p.limits, "limits", "", "limits of oncesink's runs in place of the defaults, to try them out: \"batch_records: 20000\"")
	only := flag.String("only", ".", "measure only what matches this expression")
	flag.Parse()
	if p.quick {
		p.records, p.rounds = min(p.records, 150_000), 1
	}
	if p.grow {
		p.name = "growth"
	}
	if p.anew {
		p.name = "rebuild"
	}
	if p.family {
		p.name = "children"
	}
	if p.sums {
		p.name = "rollups"
	}
	if p.poison {
		p.name = "poison"
	}
	if p.wrapped {
		p.name = "envelopes"
	}
	if p.metrics {
		p.name = "metrics"
	}
	if p.only, err = regexp.Compile(*only); err != nil {
		return err
	}
	release, err := alone()
	if err != nil {
		return err
	}
	defer release()
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
	s := b.scene
	s.Records, s.Rounds = p.records, p.rounds
	if p.metrics {
		ratios(b.results)
	}
	rs := medians(b.results)
	print(os.Stdout, s, rs)
	if p.out == "" {
		return nil
	}
	return save(p.out, p.name, s, b.results, rs)
}

var started = time.Now()

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
}
