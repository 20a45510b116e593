package verify

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Options say what is looked at, and how fast. Pool, Client and the configuration are those of the running group.
type Options struct {
	Pool   *pgxpool.Pool
	Client *kgo.Client
	// Archive has records that the topics' logs no longer have; nil: there is none.
	Archive kafka.Archive
	Sink    sink.Config
	Group   string
	// Table is the table's name in Sink.Tables.
	Table string
	// Schemas that records refer to; nil: there is no registry.
	Schemas event.SchemaSource
	// Sample looks at so many rows and so many events that are drawn at random; 0: all are walked through, from where the last
	// walk stands.
	Sample int
	// Continuous begins the next pass where one ends, until the context does.
	Continuous bool
	// For ends a walk after so long; the next one goes on. 0: it ends with the pass.
	For time.Duration
	// Rate bounds how many rows, and how many records, are looked at in a second; 0: as fast as it goes.
	Rate float64
	// Foreign rows, which no topic made, are as they should be.
	Foreign bool
	// Progress is told after each chunk; nil: nobody is.
	Progress func(Progress)
	// Passed is told of each pass that ends, of a continuous walk; nil: nobody is.
	Passed func(*Result) error
	Logger *slog.Logger
}

// Progress is how far a walk is: Done of about Total in a phase.
type Progress struct {
	Phase       string
	Done, Total int64
}

// Why something can't be told.
const (
	Retention  = "retention"   // the event is no longer in the log, nor in an archive
	Compacted  = "compacted"   // compaction took it
	Source     = "source"      // it is of a topic or partition that the group does not read, or of a topic that was recreated since
	Mapping    = "mapping"     // the row is by a mapping that was replaced since, or the group has another one than this configuration
	Older      = "older"       // the row is older than the column that the event fills now, or than the guard's columns
	DeadLetter = "dead-letter" // the event is kept as a dead letter
	Refused    = "refused"     // the event would be refused by now, and is no dead letter
	Schema     = "schema"      // nobody has the event's schema
	Trigger    = "trigger"     // triggers or rules of the table may make another row of the event
	Accepted   = "accepted"    // no topic made the row, which --accept foreign-rows says is all right
)

// Tally counts what was looked at.
type Tally struct {
	Rows      int64 `json:"rows"`
	Deletions int64 `json:"deletions"` // remembered ones
	Children  int64 `json:"children"`  // of those rows
	Events    int64 `json:"events"`
	// Moved are rows that were written while they were looked at: they are as they should be.
	Moved      int64            `json:"moved"`
	Mismatches int64            `json:"mismatches"`
	Untold     map[string]int64 `json:"untold"`
	// Records and Bytes were read from Kafka to that end, in so many requests.
	Records  int64 `json:"records_read"`
	Bytes    int64 `json:"bytes_read"`
	Requests int64 `json:"requests"`
	// Archived are records that were read from the archive.
	Archived int64 `json:"records_archived,omitempty"`
}

func (t *Tally) untold(why string, n int64) {
	if t.Untold == nil {
		t.Untold = map[string]int64{}
	}
	t.Untold[why] += n
}

// Result is what a call, or a pass, has seen.
type Result struct {
	Table string `json:"table"`
	// Pass is the walk's, 0 of a sample. Complete: it has seen everything there is.
	Pass     int64 `json:"pass,omitempty"`
	Complete bool  `json:"complete"`
	Tally
	// RowsAbout and EventsAbout are how many there are, by the statistics of the table and by the offsets of the logs.
	RowsAbout   int64   `json:"rows_about"`
	EventsAbout int64   `json:"events_about"`
	Seconds     float64 `json:"seconds"`
	// Mended were mismatches when they were looked at before, and are none any more.
	Mended int64 `json:"mended,omitempty"`
	// Kept are how many mismatches the ledger has of the table, and Found some of these, the latest first.
	Kept  int64      `json:"kept"`
	Found []Mismatch `json:"found"`
}

// checker is one call of Run.
type checker struct {
	Options
	log   *slog.Logger
	began time.Time

	sk       *engine.Sink
	table    *tables.Table
	title    string
	settings mapping.Settings // of its transactions, which read
	triggers map[string]bool  // relations that have any that may change rows
	mappings []offsets.Mapping

	feeds  []feed
	topics map[string]topicLog
	pace   pace
	result Result
}

// Run looks at a sample, or walks. It returns a *sink.ConfigError where a person has to change something first. A mismatch is no error:
// see [Result].
func Run(ctx context.Context, o Options) (*Result, error) {
	c := &checker{Options: o, log: o.Logger, began: time.Now(), pace: pace{rate: o.Rate}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if err := c.readFeeds(ctx); err != nil {
		return nil, err
	}
	if err := c.again(ctx); err != nil {
		return nil, err
	}
	if c.Sample > 0 {
		return c.sample(ctx)
	}
	return c.walk(ctx)
}

// open reads the table as it is now.
func (c *checker) open(ctx context.Context) error {
	sk, err := engine.Open(ctx, c.Pool, nil, c.Sink)
	if err != nil {
		return err
	}
	c.sk, c.table = sk, nil
	var names []string
	for _, t := range sk.Mapping().Tables {
		names = append(names, t.Config.Name)
		if t.Config.Name == c.Options.Table {
			c.table = t
		}
	}
	t := c.table
	switch {
	case t == nil:
		return &sink.ConfigError{Problem: fmt.Sprintf("the configuration has no table %q", c.Options.Table), Fix: "it has " + strings.Join(names, ", ")}
	case t.Parent != nil:
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s holds children of %s, which come with their parent's event", t.Title(), t.Parent.Title()), Fix: "name " + t.Parent.Config.Name + ": its children are compared with it"}
	case !t.Guarded:
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s has no guard: nothing tells which event wrote a row", t.Title()), Fix: "`oncesink verify` without flags reads the topics from their beginning, and compares all"}
	}
	if t.Distributed {
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s is distributed by Citus, which does not say of its rows what this asks", t.Title()), Fix: "`oncesink verify` without flags compares all"}
	}
	c.title, c.mappings = t.Title(), sk.Mappings()
	c.result.Table = c.title
	c.settings = sk.Settings().With(mapping.Setting{Name: "transaction_read_only", Value: "on"})
	c.triggers = map[string]bool{}
	for _, t := range append([]*tables.Table{t}, t.Children...) {
		var hidden, changed bool
		if err := c.scan(ctx, `select row_security_active($1::text::regclass), exists (select from pg_trigger where tgrelid = $1::text::regclass
				and not tgisinternal and tgenabled not in ('D', 'R') and tgtype & 2 = 2 and tgtype & 1 = 1 and tgtype & 20 > 0)
			or exists (select from pg_rewrite where ev_class = $1::text::regclass)`, []any{t.Quoted()}, &hidden, &changed); err != nil {
			return fmt.Errorf("read the triggers of %s: %w", t.Title(), err)
		}
		if hidden {
			return &sink.ConfigError{Problem: fmt.Sprintf("row level security hides rows of table %s from the role", t.Title()), Fix: "use its owner, or a role with bypassrls"}
		}
		c.triggers[t.Title()] = changed
	}
	return nil
}

// reading calls f in a transaction that only reads, with the settings of those that write (rule 15).
func (c *checker) reading(ctx context.Context, f func(tx pgx.Tx) error) error {
	tx, err := c.Pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: c.settings.Begin()})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	return f(tx)
}

// scan reads one row.
func (c *checker) scan(ctx context.Context, sql string, args []any, into ...any) error {
	return c.reading(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql, args...).Scan(into...) })
}

// admin is made as it is needed: it has no state.
func (c *checker) admin() *kadm.Client { return kadm.NewClient(c.Client) }

// altered reports whether an error may be that of a table which is not any more as it was read.
func altered(err error) bool { return pgerr.Classify(err) == pgerr.Configuration }
