package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// stage is a table in schema oncesink with the columns of the one that is loaded again,
// written by a group of its own whose rows in the ledger say how far it is.
type stage struct {
	group   string
	name    string // in schema oncesink
	filled  string // table with the names of the columns that events fill, quoted
	differs string // table with the keys of rows that differ, quoted
	about   about
	made    bool // by this call
}

// about is what a stage was made for. It stands in the comment of the stage's table, so that
// one that was made for something else is not taken up.
type about struct {
	Mapping string   `json:"mapping"`
	Columns []string `json:"columns"` // name and type
	// Bulk is the set of columns that each event fills, while the stage has no index.
	Bulk string `json:"bulk,omitempty"`
	// InBulk remembers that it was loaded so.
	InBulk bool `json:"in_bulk,omitempty"`
	// Tail is that set once the stage has its index, for as long as what comes goes through a tail.
	Tail string `json:"tail,omitempty"`
	// Keep: what the log can't prove is taken over from the table. Seeded, Again, Reaped: that has begun, the log is read once more, and
	// it is done; Starts are where the logs began then, Forgotten how many rows a compacted log had no event of.
	Keep      bool             `json:"keep,omitempty"`
	Seeded    bool             `json:"seeded,omitempty"`
	Again     bool             `json:"again,omitempty"`
	Reaped    bool             `json:"reaped,omitempty"`
	Starts    map[string]int64 `json:"starts,omitempty"`
	Forgotten int64            `json:"forgotten,omitempty"`
}

func (s *stage) quoted() string { return pgx.Identifier{"oncesink", s.name}.Sanitize() }
func (s *stage) memory() string { return engine.MemoryOf("oncesink", s.name) }

// open takes up the stage of an earlier call, or makes a new one.
func (s *stage) open(ctx context.Context, j *job, sk *engine.Sink) error {
	l := &j.layout
	s.name = l.StageName()
	s.group = j.Consumer.Group + " stage of " + l.Schema + "." + l.Name
	s.filled = pgx.Identifier{"oncesink", s.name[:len(s.name)-len("stage")] + "seen"}.Sanitize()
	s.differs = pgx.Identifier{"oncesink", s.name[:len(s.name)-len("stage")] + "diff"}.Sanitize()
	want := about{Mapping: j.stageMappings(sk.Mappings()), Keep: j.keeps()}
	err := j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if want.Columns, err = j.allColumns(ctx, tx); err != nil {
			return err
		}
		return j.readStaged(ctx, tx)
	})
	if err != nil {
		return err
	}
	var comment *string
	err = j.scan(ctx, `select obj_description(c.oid, 'pg_class') from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'oncesink' and c.relname = $1::text`, []any{s.name}, &comment)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return fmt.Errorf("look for a stage: %w", err)
	default:
		s.about = about{}
		if comment != nil && json.Unmarshal([]byte(*comment), &s.about) == nil &&
			s.about.Mapping == want.Mapping && s.about.Keep == want.Keep && slices.Equal(s.about.Columns, want.Columns) && j.otherTopic() == nil {
			j.log.Info("taking up the stage of an earlier call", "stage", s.name)
			return nil
		}
		j.log.Info("the stage of an earlier call was made for another mapping, table or topic: starting anew", "stage", s.name)
	}
	s.about = want
	if s.about.Bulk, err = j.uniformSet(ctx, sk); err != nil {
		return err
	}
	return s.create(ctx, j)
}

// allColumns reads names and types of the columns of the table and its children.
func (j *job) allColumns(ctx context.Context, tx pgx.Tx) ([]string, error) {
	columns, err := columnsOf(ctx, tx, &j.layout)
	if err != nil {
		return nil, err
	}
	more, err := j.childColumns(ctx, tx)
	return append(columns, more...), err
}

// columnsOf reads names and types of the table's columns.
func columnsOf(ctx context.Context, tx pgx.Tx, l *engine.Layout) ([]string, error) {
	columns, err := texts(ctx, tx, `select attname || ' ' || format_type(atttypid, atttypmod) from pg_attribute
		where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attname`, l.Quoted())
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s.%s: %w", l.Schema, l.Name, err)
	}
	return columns, nil
}

// otherTopic returns a feed whose events in the stage are those of another topic of its name, or
// of another generation (rule 12).
func (j *job) otherTopic() *feed {
	i := slices.IndexFunc(j.feeds, func(f feed) bool {
		at, ok := j.staged[f.Partition]
		return ok && at.source >= 0 && f.source >= 0 && at.source != f.source
	})
	if i < 0 {
		return nil
	}
	return &j.feeds[i]
}

// uniformSet returns the columns that the topics' first records fill, where all may be loaded
// in bulk as far as can be told now; "" otherwise.
func (j *job) uniformSet(ctx context.Context, sk *engine.Sink) (string, error) {
	l := &j.layout
	for _, t := range j.tables() {
		var checked bool // by the row: foreign keys, further unique indexes; a child has its parent
		err := j.scan(ctx, `select exists (select from pg_constraint where conrelid = $1::text::regclass and (contype = 'f' and (confrelid <> $2::text::regclass or conrelid = confrelid) or contype = 'x'))
			or exists (select from pg_class where oid = $1::text::regclass and relkind = 'p')`, []any{t, l.Quoted()}, &checked)
		if err != nil {
			return "", fmt.Errorf("read the constraints of %s: %w", t, err)
		}
		if checked {
			return "", nil
		}
	}
	if len(l.Others) > 0 || !l.Guarded || len(j.children) > 0 && j.keeps() && len(j.compacted) > 0 {
		return "", nil
	}
	archived, err := j.firstArchived(ctx)
	if err != nil {
		return "", err
	}
	if len(archived) > 0 {
		return j.setOf(sk, archived), nil
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(j.Consumer.Brokers...), kgo.ClientID("oncesink"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeTopics(l.Topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(64 << 10),
	}, j.Consumer.ClientOptions...)...)
	if err != nil {
		return "", &sink.ConfigError{Problem: "set up the Kafka client: " + err.Error(), Fix: wiring.KafkaSection}
	}
	defer client.Close()
	if !slices.ContainsFunc(j.feeds, func(f feed) bool { return f.next > 0 }) {
		return "", nil // nothing to read
	}
	looking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		fetches := client.PollRecords(looking, 100)
		if looking.Err() != nil && ctx.Err() == nil {
			return "", nil // there are none, or they are slow to come
		}
		if err := fetches.Err0(); err != nil {
			return "", fmt.Errorf("read the first records: %w", err)
		}
		if records := fetches.Records(); len(records) > 0 {
			return j.setOf(sk, records), nil
		}
	}
}

// setOf is the set of columns that the first of some records fill that becomes a row; "" where a tombstone comes before, or none does.
func (j *job) setOf(sk *engine.Sink, records []*kgo.Record) string {
	for _, r := range records {
		if r.Value == nil && j.layout.Strategy == sink.Upsert {
			return ""
		}
		if set := sk.StageSet(j.Table, kafka.Record(r)); set != "" {
			return set
		}
	}
	return ""
}

// begin notes where the logs begin that a new stage reads.
func (j *job) begin(ctx context.Context) error {
	j.staged = nil
	if err := j.readHistory(ctx); err != nil {
		return err
	}
	a := &j.stage.about
	a.Keep, a.Seeded, a.Again, a.Reaped, a.Forgotten, a.Starts = j.keeps(), false, false, false, 0, map[string]int64{}
	a.Tail, j.unmerged, j.byRow, j.byTail = "", false, nil, nil
	for p, start := range j.starts {
		a.Starts[p.String()] = start
	}
	return nil
}

// create makes the stage anew, in one transaction.
func (s *stage) create(ctx context.Context, j *job) error {
	l := &j.layout
	s.about.InBulk = s.about.Bulk != ""
	if err := j.begin(ctx); err != nil {
		return err
	}
	like := "including defaults including generated including constraints including identity including storage including compression including statistics"
	if !s.about.InBulk {
		like += " including indexes"
	}
	if err := j.inTx(ctx, j.dropStage); err != nil {
		return fmt.Errorf("drop the stage: %w", err)
	}
	s.made = true
	err := j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		statements := []string{
			fmt.Sprintf("create table %s (like %s %s)", s.quoted(), l.Quoted(), like),
			fmt.Sprintf("create table %s (name text primary key)", s.filled),
			s.comment(),
		}
		for i, c := range l.Columns {
			if s.about.InBulk && s.about.Bulk[i] == statement.Present {
				statements = append(statements, fmt.Sprintf("insert into %s values (%s)", s.filled, pgname.Literal(c)))
			}
		}
		if !s.about.InBulk {
			keys, err := texts(ctx, tx, "select pg_get_constraintdef(oid) from pg_constraint where conrelid = $1::text::regclass and contype = 'f' order by conname", l.Quoted())
			if err != nil {
				return fmt.Errorf("read foreign keys: %w", err)
			}
			for _, k := range keys {
				statements = append(statements, fmt.Sprintf("alter table %s add %s", s.quoted(), k))
			}
		}
		for i := range j.children {
			c := &j.children[i]
			statements = append(statements, fmt.Sprintf("create table %s (like %s %s)", c.staged(), c.layout.Quoted(), like),
				fmt.Sprintf("create table %s (name text primary key)", c.filled()))
			keys, err := texts(ctx, tx, "select pg_get_constraintdef(oid) from pg_constraint where conrelid = $1::text::regclass and confrelid <> $2::text::regclass and contype = 'f' order by conname", c.layout.Quoted(), l.Quoted())
			if err != nil {
				return fmt.Errorf("read foreign keys: %w", err)
			}
			for _, k := range keys { // what the table would refuse the stage refuses; a child has its parent anyhow
				statements = append(statements, fmt.Sprintf("alter table %s add %s", c.staged(), k))
			}
		}
		if err := pgtx.Exec(ctx, tx, statements...); err != nil {
			return err
		}
		made, err := columnsOf(ctx, tx, &engine.Layout{Schema: "oncesink", Name: s.name})
		if err == nil && !slices.Equal(made, s.about.Columns[:min(len(made), len(s.about.Columns))]) {
			return &errAnew{"the table was altered"}
		}
		return err
	})
	if err != nil {
		return rights("make the stage", err)
	}
	return nil
}

func (s *stage) comment() string {
	b, err := json.Marshal(s.about)
	if err != nil {
		panic(err) // strings
	}
	return fmt.Sprintf("comment on table %s is %s", s.quoted(), pgname.Literal(string(b)))
}

// dropStage removes the stage and those of the children.
func (j *job) dropStage(ctx context.Context, tx pgx.Tx) error {
	for i := range j.children { // first, for the foreign keys of a swap
		c := &j.children[i]
		if _, err := tx.Exec(ctx, fmt.Sprintf("drop table if exists %s, %s, %s, %s", c.staged(), c.sets(), c.filled(), c.tail())); err != nil {
			return rights("drop the stage", err)
		}
	}
	return j.stage.drop(ctx, tx)
}

// drop removes the stage with everything that belongs to it. It may be called for one that
// is not there, or only in part.
func (s *stage) drop(ctx context.Context, tx pgx.Tx) error {
	if err := s.forget(ctx, tx); err != nil {
		return err
	}
	for _, name := range []string{s.quoted(), s.memory(), s.filled, s.differs, s.tail()} {
		if _, err := tx.Exec(ctx, "drop table if exists "+name); err != nil {
			return rights("drop the stage", err)
		}
	}
	return nil
}

// forget removes what the ledger has of the stage: it is read from the beginning again.
func (s *stage) forget(ctx context.Context, tx pgx.Tx) error {
	for _, sql := range []string{
		"delete from oncesink.offsets where sink_group = $1::text",
		"delete from oncesink.mappings where sink_group = $1::text",
		"delete from oncesink.dead_letters where sink_group = $1::text",
	} {
		if _, err := tx.Exec(ctx, sql, s.group); err != nil {
			return rights("drop the stage", err)
		}
	}
	return nil
}

// config is the sink's for the stage, or for its tail: the table's mapping, into these.
func (s *stage) config(j *job, tail bool) (sink.Config, map[string]*tables.Stage) {
	name, set, bulk := s.quoted(), s.about.Bulk, s.about.Bulk != ""
	if tail {
		name, set, bulk = s.tail(), s.about.Tail, true
	}
	c, stages := j.Sink, map[string]*tables.Stage{}
	c.Handlers, c.Tables = nil, nil
	// A crash of PostgreSQL takes the stage's last rows and its positions, or neither. The cut waits for the log.
	c.SynchronousCommit = "off"
	for _, t := range j.Sink.Tables {
		if i := slices.IndexFunc(j.children, func(x child) bool { return x.entry == t.Name }); i >= 0 {
			t.Create, t.Parent = "", name
			if t.Name = j.children[i].staged(); tail {
				t.Name = j.children[i].tail()
			}
			stages[t.Name] = &tables.Stage{Filled: j.children[i].filled(), Bulk: bulk}
			c.Tables = append(c.Tables, t)
		}
		if t.Name != j.Table {
			continue
		}
		t.Name, t.Create = name, ""
		stages[t.Name] = &tables.Stage{Live: j.layout.Quoted(), Filled: s.filled, Set: set, Bulk: bulk}
		c.Tables = append(c.Tables, t)
	}
	return c, stages
}

// writer is what a consumer writes a stage with.
type writer struct {
	sink   *engine.Sink
	ledger *offsets.Ledger
}

// prepare makes what the sink needs beside the stage, and opens it.
func (s *stage) prepare(ctx context.Context, j *job) (*writer, error) {
	cfg, stages := s.config(j, false)
	indexed := cfg
	indexed.Tables = slices.DeleteFunc(slices.Clone(cfg.Tables), func(t sink.TableConfig) bool { return stages[t.Name].Bulk })
	conn, err := j.Pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	err = schema.Init(ctx, conn.Conn(), indexed)
	conn.Release()
	if err != nil {
		return nil, rights("prepare the stage", err)
	}
	sk, err := engine.OpenWith(ctx, j.Pool, nil, cfg, engine.Options{Stages: stages})
	if err != nil {
		return nil, err
	}
	ledger := offsets.New(j.Pool, s.group, offsets.Options{ClusterID: j.Cluster, Mappings: sk.Mappings(), Logger: j.log})
	return &writer{sk.WithLedger(ledger), ledger}, nil
}

// rights says what to do if the role lacks some.
func rights(doing string, err error) error {
	if pgerr.SQLState(err) == "42501" {
		return &sink.ConfigError{Problem: doing + ": " + err.Error(), Fix: "run it as the owner of the table, with the right to create tables in schema oncesink"}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
