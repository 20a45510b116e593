package sinktest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/sink"
)

// Perturbation is a way in which records may arrive other than as listed.
type Perturbation string

// The perturbations.
const (
	// Repetition writes the records once more just as before.
	Repetition Perturbation = "repetition"
	// Redelivery hands records over again, and in other batches.
	Redelivery Perturbation = "redelivery"
	// Reordering interleaves the partitions otherwise.
	Reordering Perturbation = "reordering"
	// Crash ends the process after each statement.
	Crash Perturbation = "crash"
	// Replay reads everything again over the filled tables.
	Replay Perturbation = "replay"
)

// SeedVariable names the environment variable whose value, an unsigned decimal
// number, takes the place of [Case.Seed].
const SeedVariable = "ONCESINK_SINKTEST_SEED"

// Case is what to check. Config or Handlers, and Records, are required.
type Case struct {
	// Config is the configuration of the sink. Its Create statements are run, as
	// by `oncesink init`.
	Config sink.Config
	// Handlers, if not nil, makes the handlers of one process, in place of
	// Config.Handlers: for handlers that keep state in memory, which a process
	// doesn't inherit, or that use a pool. The pool leads to the process's
	// database and breaks with the process.
	Handlers func(pool *pgxpool.Pool) []sink.Handler
	// Records in the order in which the reference run writes them. Offsets ascend
	// within a partition; gaps are allowed. If all offsets of a partition are 0,
	// its records are numbered from 0 on.
	Records []sink.Record
	// Setup is an SQL script that makes what the sink and the handlers need:
	// tables, functions, rows. It may have several statements.
	Setup string
	// Tables to compare, "table" or "schema.table". Default: every table of the
	// database but the sink's own; so nothing that a handler writes is
	// overlooked. Dead letters are always compared.
	Tables []string
	// Ignore names columns that may differ, "table.column" or
	// "schema.table.column": a serial number, the time a row was written.
	Ignore []string
	// DeadLetters is how many of the records are expected to become dead letters.
	DeadLetters int
	// Skip names perturbations that aren't tried.
	Skip []Perturbation
	// Rounds is how often each perturbation but Repetition and Crash is tried,
	// drawn anew each time. Default: 4.
	Rounds int
	// Batch is the most records in a transaction, where nothing else is said.
	// Default: 100.
	Batch int
	// MaxCuts, if not 0, bounds how many crashes are tried, evenly spread. Each
	// takes about as long as writing the records once and making a database.
	MaxCuts int
	// Seed of what is random. 0: [SeedVariable], or drawn.
	Seed uint64
	// Logf gets the seed and what was done. Default: the test's Logf; for
	// [Check], nothing.
	Logf func(format string, args ...any)
}

// Failure is an error of [Check]: under a perturbation the tables differ from the
// reference, or the records could not be written.
type Failure struct {
	// Perturbation is empty if the reference run itself failed.
	Perturbation Perturbation
	// Round counts the tries of the perturbation from 0; of [Crash] it is the
	// number of the statement after which the process died, from 1.
	Round int
	// Seed repeats the failure.
	Seed uint64
	// Steps say what was done, in order.
	Steps []string
	// Tables that differ, by name.
	Tables []TableDiff
	// Err is why the records could not be written; nil if tables differ.
	Err error

	replaySafe bool // the handlers are declared so
}

// TableDiff says how a table differs from the reference.
type TableDiff struct {
	// Table is its name, with its schema unless that is public.
	Table string
	// Missing rows are in the reference only, Extra rows in the perturbed table
	// only. A row that changed is in both. Each is "column=value ...", sorted.
	Missing, Extra []string
}

// Run checks the case, and reports each failure as an error of the test. The url,
// a connection URL or key=value string, names a database of the server to use; its
// role must be allowed to create databases.
//
// Run may be called by parallel tests. Handlers are called by one goroutine at a time
// for each Run.
func Run(t testing.TB, url string, c Case) {
	t.Helper()
	if c.Logf == nil {
		c.Logf = func(format string, args ...any) { t.Helper(); t.Logf(format, args...) }
	}
	if err := Check(t.Context(), url, c); err != nil {
		t.Error(err)
	}
}

// Check is [Run] without a test. It returns nil, or the joined errors: a *[Failure] for
// the reference or for each perturbation that failed, at its first failed round;
// any other error says what is wrong with the case, the server or ctx.
func Check(ctx context.Context, url string, c Case) (err error) {
	r, err := newRunner(ctx, url, c)
	if err != nil {
		return fmt.Errorf("sinktest: %w", err)
	}
	defer func() { err = errors.Join(err, r.close(ctx)) }()
	return r.check(ctx)
}

// withDefaults fills what the case leaves open.
func (c Case) withDefaults() (Case, error) {
	if c.Rounds <= 0 {
		c.Rounds = 4
	}
	if c.Batch <= 0 {
		c.Batch = 100
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if s := os.Getenv(SeedVariable); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return c, fmt.Errorf("read %s: %w", SeedVariable, err)
		}
		c.Seed = seed
	}
	for c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	switch {
	case len(c.Records) == 0:
		return c, errors.New("the case has no records")
	case len(c.Config.Tables) == 0 && len(c.Config.Handlers) == 0 && c.Handlers == nil:
		return c, errors.New("the case has neither tables nor handlers")
	}
	for _, p := range c.Skip {
		if !slices.Contains([]Perturbation{Repetition, Redelivery, Reordering, Crash, Replay}, p) {
			return c, fmt.Errorf("there is no perturbation %q to skip", p)
		}
	}
	return c, nil
}

// random is the source of what a round draws; it depends on nothing else.
func (c *Case) random(p Perturbation, round int) *rand.Rand {
	h := fnv.New32a()
	_, _ = h.Write([]byte(p))
	return rand.New(rand.NewPCG(c.Seed, uint64(h.Sum32())<<32|uint64(uint32(round))))
}

// reasons say what usually is behind a difference.
var reasons = map[Perturbation]string{
	Repetition: "two plain runs differ: a handler, default or trigger uses the clock, random(), or state in memory",
	Redelivery: "the tables depend on the borders of batches, or on a batch that was rolled back or handed over twice",
	Reordering: "the tables depend on the order between partitions, which Kafka does not promise",
	Crash:      "something happens outside of the transaction that moves the position, or outlives its end: a connection of its own, a sequence, state in memory",
	Replay:     "applying records again must change nothing, not even until the replay has passed",
}

// Error says what differs, what had been done, and how to repeat it.
func (f *Failure) Error() string {
	var b strings.Builder
	switch f.Perturbation {
	case "":
		fmt.Fprintf(&b, "sinktest: reference (seed %d): %v\n", f.Seed, f.Err)
	case Crash:
		fmt.Fprintf(&b, "sinktest: crash after statement %d (seed %d): %s\n", f.Round, f.Seed, f.summary())
	default:
		fmt.Fprintf(&b, "sinktest: %s, round %d (seed %d): %s\n", f.Perturbation, f.Round, f.Seed, f.summary())
	}
	if f.replaySafe && (f.Perturbation == Replay || f.Perturbation == Redelivery) {
		b.WriteString("  the handlers are declared replay-safe (HandlersReplaySafe): they must not change a table when they run again for records that were applied\n")
	}
	for _, t := range f.Tables {
		fmt.Fprintf(&b, "  table %s (- reference, + here):\n", t.Table)
		list(&b, "    - ", t.Missing)
		list(&b, "    + ", t.Extra)
	}
	if len(f.Steps) > 0 {
		b.WriteString("  what was done:\n")
		steps := f.Steps
		if more := len(steps) - maxLines; more > 0 {
			fmt.Fprintf(&b, "    ... %d steps before\n", more)
			steps = steps[more:]
		}
		list(&b, "    ", steps)
	}
	fmt.Fprintf(&b, "  to repeat it: %s=%d", SeedVariable, f.Seed)
	return b.String()
}

func (f *Failure) summary() string {
	if f.Err != nil {
		return f.Err.Error()
	}
	return "the tables differ from the reference: " + reasons[f.Perturbation]
}

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// maxLines is how many rows or steps of a kind are shown.
const maxLines = 12

func list(b *strings.Builder, prefix string, lines []string) {
	for i, l := range lines {
		if i == maxLines {
			fmt.Fprintf(b, "%s... and %d more\n", prefix, len(lines)-i)
			return
		}
		b.WriteString(prefix + l + "\n")
	}
}
