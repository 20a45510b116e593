package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/oplock"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// What has to be accepted by name, because it deletes rows that no event brings back (rule 22).
const (
	DeleteUnproven = "delete-unproven" // rows whose events the log no longer has
	ForeignRows    = "foreign-rows"    // rows that no topic produced
)

// Accepts lists what can be accepted.
var Accepts = []string{DeleteUnproven, ForeignRows}

// Options say what is to be loaded again. Pool, Admin and the two configurations are those of the
// running group.
type Options struct {
	Pool     *pgxpool.Pool
	Admin    *kadm.Client
	Cluster  string // the Kafka cluster's id
	Sink     sink.Config
	Consumer consumer.Config
	// Archive has what the topics' logs no longer have; nil: there is none.
	Archive kafka.Archive
	// Ends names what has the records in place of the topics' logs, for an error that says where it ends, and EndsFix what to do about that; empty:
	// the logs have them.
	Ends, EndsFix string
	// Table is the table's name in Sink.Tables.
	Table string
	// Range restricts the work to rows with a value of one column; nil: the whole table.
	Range *Range
	// Keys restricts it to rows of these keys instead: as PostgreSQL writes a row of the key's columns, such as (17) or (DE,17); a key of
	// one column may be its text alone.
	Keys []string
	// Accept names what would be refused otherwise: see [Accepts].
	Accept []string
	// DryRun does everything and commits nothing to the table.
	DryRun bool
	// Verify is a DryRun after which nothing is to be done by the same role.
	Verify bool
	// KeepStage leaves the stage for the next time, which then reads only what is new.
	KeepStage bool
	// Swap exchanges the tables instead of changing the rows that differ: for when nearly all do.
	Swap bool
	// Progress is told how far a phase is; nil: nobody is. Calls come from several goroutines,
	// one at a time.
	Progress func(Progress)
	Logger   *slog.Logger
}

// Range is From <= Column < To, in any text that PostgreSQL takes for the column's type.
type Range struct{ Column, From, To string }

// The last phase, and what it is of a dry run.
const (
	applying = "applying"
	counting = "counting what differs"
)

// Progress is how far a phase is.
type Progress struct {
	Phase string
	// Done and Total count records; Total is 0 if a phase can't say.
	Done, Total int64
}

// Result is what was done to the table, or, after a dry run, what would be.
type Result struct {
	Table   string  `json:"table"`
	Keys    int     `json:"keys,omitempty"` // to how many the work was restricted; 0: it was not
	From    string  `json:"from,omitempty"`
	To      string  `json:"to,omitempty"`
	DryRun  bool    `json:"dry_run,omitempty"`
	Added   int64   `json:"added"`
	Changed int64   `json:"changed"`
	Deleted int64   `json:"deleted"`
	Seconds float64 `json:"seconds"`
	// Frozen is for how many seconds the group's positions were locked.
	Frozen float64 `json:"frozen_seconds"`
	// Records is how many were read, DeadLetters how many of them can't be written.
	Records     int64 `json:"records"`
	DeadLetters int64 `json:"dead_letters"`
	// History is what the topics still have of their history; Kept is how many rows stay as they are because their events are
	// gone; of a range without those that compaction took.
	History []History `json:"history"`
	Kept    int64     `json:"kept"`
	// Foreign is how many rows of the tables no topic made. After a verify they are among the differences.
	Foreign int64 `json:"foreign,omitempty"`
	// Memory is what was, or would be, done to the delete memory; nil: there is none.
	Memory *Memory `json:"memory,omitempty"`
	// Children is what was, or would be, done to each table of children.
	Children []Children `json:"children,omitempty"`
	// Swapped tells that the tables were exchanged: nothing is counted then.
	Swapped bool `json:"swapped,omitempty"`
	// Bulk tells that the stage was loaded without an index.
	Bulk bool `json:"bulk"`
	// Samples are keys of rows to be added, changed and deleted, a few of each, after a dry run.
	Samples map[string][]string `json:"samples,omitempty"`
}

// Memory counts rows of the delete memory (rule 13) that are not what the topics make of them.
type Memory struct {
	// Differ have another version or place, Missing are not there, Stray are there and should not be.
	Differ  int64 `json:"differ"`
	Missing int64 `json:"missing"`
	Stray   int64 `json:"stray"`
	// Unproven are rows that the topics can neither prove nor refute: their place lies below the log, or in
	// another one, or compaction may have taken the tombstone. They are no difference.
	Unproven int64 `json:"unproven"`
}

func (m *Memory) differs() bool { return m.Differ+m.Missing+m.Stray > 0 }

// Differs reports whether anything was, or would be, done.
func (r *Result) Differs() bool {
	return r.Added+r.Changed+r.Deleted > 0 || r.Memory != nil && r.Memory.differs() ||
		slices.ContainsFunc(r.Children, func(c Children) bool { return c.differs() })
}

// Outcome is what a call that failed has done to the table.
type Outcome uint8

// The outcomes.
const (
	// Unchanged: nothing was done to the table.
	Unchanged Outcome = iota
	// Changed: all of it was done, and something after it failed.
	Changed
	// InDoubt: all of it was done, or nothing: the answer to COMMIT is missing.
	InDoubt
)

// Error is an error that leaves the table other than [Unchanged], or perhaps so.
type Error struct {
	Outcome Outcome
	Err     error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// OutcomeOf says what the call of [Run] that returned the error has done to the table.
func OutcomeOf(err error) Outcome {
	var e *Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return Unchanged
}

// job is one call of Run.
type job struct {
	Options
	log    *slog.Logger
	layout engine.Layout
	// children are the tables that hold the table's.
	children []child
	feeds    []feed
	stage    stage
	result   Result
	pool     *pgxpool.Pool // of the operator: comparison, cut
	lock     *oplock.Lock
	settings mapping.Settings // of its transactions

	met       map[offsets.Partition]offsets.Token // fences under which no row is ahead of the position
	highest   map[offsets.Partition]int64         // position that was seen
	staged    map[offsets.Partition]staged        // where the stage stands, as last read
	starts    map[offsets.Partition]int64         // of the logs
	older     bool                                // rows came from topics or partitions that the group no longer reads
	compacted map[string]bool                     // topics
	denied    error                               // of a dry run: what the call itself is refused for, though its difference can be shown
	mapping   map[string]string                   // fingerprint of each topic's mapping
	mappings  []offsets.Mapping                   // of the configuration
	exchanged []member                            // tables, of a swap
	rangeType string                              // of Range.Column
	keys      []string                            // Keys, as PostgreSQL writes them
	columns   []string                            // that events fill, and the guard's
	byRow     *writer                             // into the stage itself; nil: none is prepared
	byTail    *writer                             // into its tail
	unmerged  bool                                // the tail may have rows
	later     string                              // condition of rows that the stage took after the comparison
	marked    string                              // a wider one, of the index that finds them
	bare      bool                                // the table had no row: nothing was compared, any row may differ
}

// errAnew says that the stage is of no use any more: the table or a topic has become another one.
type errAnew struct{ why string }

func (e *errAnew) Error() string { return e.why }

// maxAnew is how often a call begins anew.
const maxAnew = 3

// Run brings the table to what its topics say. It returns a *sink.ConfigError where a person has to decide or to
// change something first, and any other error if it failed on the way. [OutcomeOf] tells what the table is then:
// as it was, unless the error is an [*Error]. That the result comes beside an error says that only what follows the
// table, the removal of the stage, has failed; or, of a dry run, that the call without DryRun is refused, in these words. In each case the same call may be made again, and takes
// up where this one stopped.
func Run(ctx context.Context, o Options) (*Result, error) {
	j := &job{Options: o, log: o.Logger}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	began := time.Now()
	if err := j.connect(); err != nil {
		return nil, err
	}
	defer j.pool.Close()
	held, err := j.alone(ctx)
	if err != nil {
		return nil, err
	}
	defer j.lock.Release()
	for tries := 0; ; tries++ {
		err := j.once(held)
		if pgerr.Classify(err) == pgerr.Configuration && j.altered(held) {
			err = &errAnew{"the table was altered"}
		}
		var anew *errAnew
		switch {
		case err == nil:
		case OutcomeOf(err) == Unchanged && lostLock(held) != nil:
			return nil, lostLock(held)
		case !errors.As(err, &anew):
			return nil, j.refused(ctx, err)
		case tries == maxAnew:
			return nil, j.refused(ctx, &sink.ConfigError{Problem: fmt.Sprintf("began %d times, and each time %s", tries+1, anew.why), Fix: "wait until nobody changes the table or its topics, and run it again"})
		default:
			j.log.Info("beginning anew", "because", anew.why)
			continue
		}
		break
	}
	// Done is done: an interruption leaves no stage behind.
	dropping, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	if !j.KeepStage || j.denied != nil {
		err = j.inTx(dropping, j.dropStage)
	}
	j.result.Seconds = time.Since(began).Seconds()
	switch {
	case err == nil:
		return &j.result, j.denied
	case j.DryRun:
		return &j.result, fmt.Errorf("drop the stage: %w", err)
	}
	return &j.result, &Error{Changed, fmt.Errorf("drop the stage: %w", err)}
}

// dropTimeout bounds the removal of the stage.
const dropTimeout = 30 * time.Second

// refused removes the stage that this call has made, if the error is that it is refused: it would be in nobody's way, and of no use.
func (j *job) refused(ctx context.Context, err error) error {
	var config *sink.ConfigError
	if !errors.As(err, &config) || OutcomeOf(err) != Unchanged || !j.stage.made {
		return err
	}
	dropping, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	if dropped := j.inTx(dropping, j.dropStage); dropped != nil {
		return errors.Join(err, fmt.Errorf("drop the stage: %w", dropped))
	}
	return err
}

// lostLock returns the error of a lock that was lost, if that is what ended the context.
func lostLock(held context.Context) error {
	var lost *oplock.LostError
	if errors.As(context.Cause(held), &lost) {
		return lost
	}
	return nil
}

// altered reports whether the table's columns are others than the stage was made for.
func (j *job) altered(ctx context.Context) bool {
	var now []string
	err := j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		now, err = j.allColumns(ctx, tx)
		return err
	})
	return err == nil && j.stage.about.Columns != nil && !slices.Equal(now, j.stage.about.Columns)
}

// once goes all the way, up to the commit.
func (j *job) once(ctx context.Context) error {
	j.met, j.highest, j.columns = map[offsets.Partition]offsets.Token{}, map[offsets.Partition]int64{}, nil
	j.byRow, j.byTail, j.unmerged, j.denied = nil, nil, false, nil
	if err := j.plan(ctx); err != nil {
		return err
	}
	if err := j.load(ctx); err != nil {
		return err
	}
	if j.Swap {
		if err := j.allFilled(ctx); err != nil {
			return err
		}
	}
	next := j.compare
	if j.Swap && !j.DryRun {
		next = j.furnish
	}
	if err := next(ctx); err != nil {
		return err
	}
	return j.cut(ctx)
}
