package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// What has to be accepted by name, because it deletes rows that no event brings back (rule 22).
const (
	PartialHistory = "partial-history" // the log no longer begins at its beginning
	Compacted      = "compacted"       // it keeps the last event of a key, which need not be the one with the highest version
	ForeignRows    = "foreign-rows"    // rows that no topic produced
)

// Accepts lists what can be accepted.
var Accepts = []string{PartialHistory, Compacted, ForeignRows}

// Options say what is to be loaded again. Pool, Admin and the two configurations are those of the
// running group.
type Options struct {
	Pool     *pgxpool.Pool
	Admin    *kadm.Client
	Cluster  string // the Kafka cluster's id
	Sink     sink.Config
	Consumer consumer.Config
	// Table is the table's name in Sink.Tables.
	Table string
	// Range restricts the work to rows with a value of one column; nil: the whole table.
	Range *Range
	// Accept names what would be refused otherwise: see [Accepts].
	Accept []string
	// DryRun does everything and commits nothing to the table.
	DryRun bool
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

// Progress is how far a phase is.
type Progress struct {
	Phase string
	// Done and Total count records; Total is 0 if a phase can't say.
	Done, Total int64
}

// Result is what was done to the table, or, after a dry run, what would be.
type Result struct {
	Table   string  `json:"table"`
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
	// Swapped tells that the tables were exchanged: nothing is counted then.
	Swapped bool `json:"swapped,omitempty"`
	// Bulk tells that the stage was loaded without an index.
	Bulk bool `json:"bulk"`
	// Samples are keys of rows to be added, changed and deleted, a few of each, after a dry run.
	Samples map[string][]string `json:"samples,omitempty"`
}

// Differs reports whether anything was, or would be, done.
func (r *Result) Differs() bool { return r.Added+r.Changed+r.Deleted > 0 }

// job is one call of Run.
type job struct {
	Options
	log    *slog.Logger
	layout sink.Layout
	feeds  []feed
	stage  stage
	result Result
	conn   *pgx.Conn // of the operator: advisory lock, comparison, cut

	twins     []twin   // of a swap
	rangeType string   // of Range.Column
	columns   []string // that events fill, and the guard's
	later     string   // condition of rows that the stage took after the comparison
	bare      bool     // the table had no row: nothing was compared, any row may differ
}

// feed is a partition that feeds the table, and where the group stood in it.
type feed struct {
	offsets.Partition
	next       int64
	generation int32
	source     int32
}

// Run brings the table to what its topics say. It returns a *sink.ConfigError where a person has to decide or to
// change something first, and any other error if it failed on the way: nothing of the table has
// changed then, and the same call takes up where it stopped.
func Run(ctx context.Context, o Options) (*Result, error) {
	j := &job{Options: o, log: o.Logger}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	began := time.Now()
	if err := j.connect(ctx); err != nil {
		return nil, err
	}
	defer j.disconnect(ctx)
	if err := j.plan(ctx); err != nil {
		return nil, err
	}
	if err := j.load(ctx); err != nil {
		return nil, err
	}
	next := j.compare
	if j.Swap && !j.DryRun {
		next = j.furnish
	}
	if err := next(ctx); err != nil {
		return nil, err
	}
	if err := j.cut(ctx); err != nil {
		return nil, err
	}
	if !j.KeepStage {
		if err := j.stage.drop(ctx, j.conn); err != nil {
			return nil, fmt.Errorf("the table is done; drop its stage: %w", err)
		}
	}
	j.result.Seconds = time.Since(began).Seconds()
	return &j.result, nil
}

// sessionName is unlike that of the sink's sessions, which end each other when one
// seems stuck.
const sessionName = "oncesink-rebuild"

// connect opens the operator's session. Nothing of it may outlive a process that is
// stopped in the middle.
func (j *job) connect(ctx context.Context) error {
	cfg := j.Pool.Config().ConnConfig
	cfg.RuntimeParams["application_name"] = sessionName
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	j.conn = conn
	return nil
}

func (j *job) disconnect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = j.conn.Close(ctx) // and with it the advisory lock
}

// lockClass is the first key of the advisory locks of operators: "oncf".
const lockClass = 0x6f6e6366

func (j *job) plan(ctx context.Context) error {
	sk, err := sink.Open(ctx, j.Pool, nil, j.Sink)
	if err != nil {
		return err
	}
	var ok bool
	if j.layout, ok = sk.Layout(j.Table); !ok {
		return &sink.ConfigError{Problem: fmt.Sprintf("the configuration has no table %q", j.Table), Fix: "it has " + tableNames(j.Sink)}
	}
	l := &j.layout
	j.result = Result{Table: l.Schema + "." + l.Name, DryRun: j.DryRun}
	switch {
	case l.Parent != "":
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s holds children of %s, which come with their parent's event", j.result.Table, l.Parent), Fix: "empty both and " + l.Sets + ", and run `oncesink replay`"}
	case len(l.Children) > 0 && !j.DryRun:
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s has children in %s, which would not be loaded with it", j.result.Table, strings.Join(l.Children, ", ")), Fix: "empty all of them and their set memories, and run `oncesink replay`; `oncesink verify` compares the parent alone"}
	case len(l.Key) == 0:
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s appends without a guard: nothing tells its rows apart", j.result.Table), Fix: "empty it and rewind the group"}
	case j.Range != nil && !slices.Contains(l.Columns, j.Range.Column):
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s has no column %q that events fill", j.result.Table, j.Range.Column), Fix: "it has " + strings.Join(l.Columns, ", ")}
	}
	if j.Range != nil {
		j.result.From, j.result.To = j.Range.From, j.Range.To
	}
	if err := j.alone(ctx); err != nil {
		return err
	}
	if err := j.begin(ctx, sk); err != nil {
		return err
	}
	if err := j.readFeeds(ctx); err != nil {
		return err
	}
	if err := j.refuse(ctx); err != nil {
		return err
	}
	if j.Swap {
		if err := j.refuseSwap(ctx); err != nil {
			return err
		}
	}
	return j.stage.open(ctx, j, sk)
}

// alone waits until no other operator works on the table.
func (j *job) alone(ctx context.Context) error {
	var got bool
	if err := j.conn.QueryRow(ctx, "select pg_try_advisory_lock($1::int, $2::int)", int32(lockClass), j.layout.Lock).Scan(&got); err != nil {
		return fmt.Errorf("lock the table for operators: %w", err)
	}
	if got {
		return nil
	}
	j.log.Info("another rebuild or backfill of the table is running: waiting for its end", "table", j.result.Table)
	j.progress("waiting for another rebuild or backfill", 0, 0)
	if _, err := j.conn.Exec(ctx, "select pg_advisory_lock($1::int, $2::int)", int32(lockClass), j.layout.Lock); err != nil {
		return fmt.Errorf("lock the table for operators: %w", err)
	}
	return nil
}

// begin gives the session the sink's settings, and checks the range under them.
func (j *job) begin(ctx context.Context, sk *sink.Sink) error {
	// The same settings as the sink's, for the session: texts mean what they mean to it (rule 15).
	settings := strings.ReplaceAll(strings.TrimPrefix(sk.Session(), "begin isolation level read committed read write; "), ", true)", ", false)")
	if _, err := j.conn.Exec(ctx, settings+", set_config('statement_timeout', '0', false), set_config('synchronous_commit', 'on', false), set_config('work_mem', '256MB', false), set_config('maintenance_work_mem', '256MB', false)", pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("prepare the session: %w", err)
	}
	if j.Range == nil {
		return nil
	}
	if err := j.conn.QueryRow(ctx, `select format_type(atttypid, atttypmod) from pg_attribute where attrelid = $1::text::regclass and attname = $2::text`,
		j.layout.Quoted(), j.Range.Column).Scan(&j.rangeType); err != nil {
		return fmt.Errorf("read the type of %s: %w", j.Range.Column, err)
	}
	var empty bool
	err := j.conn.QueryRow(ctx, fmt.Sprintf("select %s >= %s", j.bound(j.Range.From), j.bound(j.Range.To)), pgx.QueryExecModeSimpleProtocol).Scan(&empty)
	if sink.Classify(err) == sink.Data {
		return &sink.ConfigError{Problem: fmt.Sprintf("the range from %q to %q of column %s: %v", j.Range.From, j.Range.To, j.Range.Column, err), Fix: "give values of the column's type, such as 2026-11-24"}
	}
	if err != nil {
		return fmt.Errorf("check the range: %w", err)
	}
	if empty {
		return &sink.ConfigError{Problem: fmt.Sprintf("the range from %q to %q is empty", j.Range.From, j.Range.To), Fix: "the end is not in the range: give a later one"}
	}
	return nil
}

// readFeeds reads which partitions feed the table, and where the group stands in them.
func (j *job) readFeeds(ctx context.Context) error {
	rows, err := j.conn.Query(ctx, `
		select o.sink_group, o.topic, o.partition, o.next_offset, o.generation, coalesce(o.source, -1)
		  from oncesink.mappings m join oncesink.offsets o using (sink_group, topic, partition)
		 where m.target = $1::text order by sink_group, topic, partition`, j.result.Table)
	if err != nil {
		return fmt.Errorf("read the group's positions: %w", err)
	}
	j.feeds = j.feeds[:0]
	var group string
	var f feed
	others := map[string]bool{}
	_, err = pgx.ForEachRow(rows, []any{&group, &f.Topic, &f.Partition.Partition, &f.next, &f.generation, &f.source}, func() error {
		if group == j.Consumer.Group {
			j.feeds = append(j.feeds, f)
		} else {
			others[group] = true
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("read the group's positions: %w", err)
	case len(j.feeds) == 0:
		return &sink.ConfigError{Problem: fmt.Sprintf("group %s has never written table %s", j.Consumer.Group, j.result.Table), Fix: "start it with `oncesink run`: it reads the topics from their beginning anyhow"}
	case len(others) > 0:
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s is fed by group %s, too", j.result.Table, anyOf(others)), Fix: "what one group reads again would undo the other's rows"}
	}
	return nil
}

func (j *job) accepted(what string) bool { return slices.Contains(j.Accept, what) }

// refuse finds out whether the topics hold the table's whole history (rule 22).
func (j *job) refuse(ctx context.Context) error {
	var problems []error
	refuse := func(what, problem string) {
		if !j.accepted(what) {
			problems = append(problems, &sink.ConfigError{Problem: problem, Fix: "see what that means with --dry-run --accept " + what + ", and go on with --accept " + what})
		}
	}
	var filtered bool
	if err := j.conn.QueryRow(ctx, "select row_security_active($1::text::regclass)", j.layout.Quoted()).Scan(&filtered); err != nil {
		return fmt.Errorf("look for row level security: %w", err)
	}
	if filtered {
		return &sink.ConfigError{Problem: fmt.Sprintf("row level security hides rows of table %s from the role", j.result.Table), Fix: "use its owner, or a role with bypassrls"}
	}
	starts, err := j.Admin.ListStartOffsets(ctx, j.layout.Topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return fmt.Errorf("list start offsets: %w", err)
	}
	for _, f := range j.feeds {
		if start, _ := starts.Lookup(f.Topic, f.Partition.Partition); start.Offset > 0 {
			refuse(PartialHistory, fmt.Sprintf("%s begins at offset %d: rows that earlier events made would be deleted", f.Partition, start.Offset))
			break
		}
	}
	if j.layout.Version != "" {
		configs, err := j.Admin.DescribeTopicConfigs(ctx, j.layout.Topics...)
		if err != nil {
			return fmt.Errorf("read the topics' configuration: %w", err)
		}
		for _, c := range configs {
			for _, kv := range c.Configs {
				if kv.Key == "cleanup.policy" && strings.Contains(kv.MaybeValue(), "compact") {
					refuse(Compacted, fmt.Sprintf("topic %s is compacted: it keeps the last event of a key, which need not be the one with the highest %s", c.Name, j.layout.Version))
				}
			}
		}
	}
	if j.layout.Guarded {
		foreign, older, err := j.strangers(ctx)
		if err != nil {
			return err
		}
		if foreign > 0 {
			refuse(ForeignRows, fmt.Sprintf("%d row(s) of %s were made by no topic (%s is null): they would be deleted, or changed", foreign, j.result.Table, sink.SourceColumn))
		}
		if older > 0 {
			refuse(PartialHistory, fmt.Sprintf("%d row(s) of %s came from topics or partitions that the group no longer reads: they would be deleted", older, j.result.Table))
		}
	}
	return errors.Join(problems...)
}

// strangers counts rows, in the range, that the present topics did not make.
func (j *job) strangers(ctx context.Context) (foreign, older int64, err error) {
	sources := make([]int32, len(j.feeds))
	for i, f := range j.feeds {
		sources[i] = f.source
	}
	err = j.conn.QueryRow(ctx, fmt.Sprintf("select count(*) filter (where t.%[1]s is null), count(*) filter (where t.%[1]s <> all ($1::int[])) from %[2]s t%[3]s",
		sink.SourceColumn, j.layout.Quoted(), where(j.inRange("t"))), sources).Scan(&foreign, &older)
	if err != nil {
		return 0, 0, fmt.Errorf("look for rows of other origin: %w", err)
	}
	return foreign, older, nil
}

func (j *job) progress(phase string, done, total int64) {
	if j.Progress != nil {
		j.Progress(Progress{phase, done, total})
	}
}

func tableNames(c sink.Config) string {
	var names []string
	for _, t := range c.Tables {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

func anyOf(set map[string]bool) string {
	var names []string
	for n := range set {
		names = append(names, n)
	}
	slices.Sort(names)
	return names[0]
}
