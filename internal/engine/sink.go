package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/decode"
	payload "github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Sink writes parts to the target tables, each in one transaction with its
// partitions' positions. It is safe for concurrent use.
type Sink struct {
	pool   *pgxpool.Pool
	ledger *offsets.Ledger
	cfg    sink.Config
	// stages among the tables, by the names of their entries.
	stages  map[string]*tables.Stage
	formats decode.Formats
	schemas *decode.Schemas // that any plan has learnt
	log     *slog.Logger
	// compiled is shared by the copies that WithLedger makes.
	compiled *compiled

	beginSQL string
	slack    time.Duration
	// stuckAfter is for how long the same error repeats before it is told as what holds partitions up.
	stuckAfter time.Duration
	writers    *sync.Pool // of *writer
	warned     *warned
	claims     *claims
	stats      *stats
	newFields  *newFields
	// rotates says that what the server lets the pool in by can change: see Rotating.
	rotates bool
}

// claims are the fences under which partitions were written last.
type claims struct {
	sync.Mutex
	met map[offsets.Partition]met
}

// met is what is known of a partition since its fence was drawn.
type met struct {
	fence offsets.Token
	// letters is the offset behind the last dead letter that the partition had then; known says that it was asked for.
	letters int64
	known   bool
}

// warned bounds how often the sink warns.
type warned struct {
	sync.Mutex
	at    time.Time
	count int // warnings since
}

// WithLedger returns the same sink under another ledger. The ledger of a group
// is made with what an opened sink says of its mapping: open with a nil ledger,
// ask [Sink.Mappings] and [Sink.ReplayRefused], and go on with WithLedger.
func (s *Sink) WithLedger(l *offsets.Ledger) *Sink {
	c := *s
	c.ledger = l
	return &c
}

// Rotating returns the same sink for a pool whose credentials can change while it runs: that they are refused, after they were good
// enough to open the sink, passes. Otherwise it is a person's to mend.
func (s *Sink) Rotating(rotates bool) *Sink {
	c := *s
	c.rotates = rotates
	return &c
}

// connecting marks the error of a connection that could not be had as one that passes, if it does: that the credentials were refused, or
// could not be had.
func (s *Sink) connecting(err error) error {
	if s.rotates && err != nil && (pgerr.Refused(err) || pgerr.SQLState(err) == "" && pgerr.Classify(err) == pgerr.Unknown) {
		return pgerr.Mark(err, pgerr.Transient)
	}
	return err
}

// Mapping is what the sink goes by now: another one when a table is altered. It is not to be changed.
func (s *Sink) Mapping() *mapping.Mapping { return s.plan().Mapping }

// Begin begins a transaction with the settings of those that write: a time without a zone means the same here and there. It
// is the caller's to end.
func (s *Sink) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: s.beginSQL})
	return tx, s.connecting(err)
}

// Topics returns the topics that feed the tables, sorted.
func (s *Sink) Topics() []string {
	m := s.plan()
	topics := make([]string, 0, len(m.Topics))
	for t := range m.Topics {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	return topics
}

// Add appends records, in offset order, and decodes them: into rows, or into one
// fault for a record that can't become rows in every table that its topic feeds.
// Records below p.To are dropped: they are in the part already (an empty part
// takes any). A record that would take more than 1 GiB of memory is a fault. Bound the part by [Part.Bytes].
//
// It returns how many records it took. That is all, unless one needs a schema: a *[decode.MissingSchema] asks
// for it, and a *[decode.SchemaError] says that it can't be used; or unless something is to be done first about fields that no column
// takes: see [Sink.Settle]. It never waits.
func (s *Sink) Add(p *decode.Part, records ...sink.Record) (n int, err error) {
	return s.plan().decode.Add(p, records...)
}

// RefuseSchema says that nobody has a schema that Add asked for: records that refer to it are refused from now on, for a while.
func (s *Sink) RefuseSchema(of decode.SchemaOf, why *payload.Refusal) { s.schemas.Refuse(of, why) }

// LearntAny reports whether any schema of a topic's values, or keys, was learnt.
func (s *Sink) LearntAny(topic string, key bool) bool { return s.schemas.Any(topic, key) }

// Ping asks the database for a sign of life. Its error is one of the connection.
func (s *Sink) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Pool is what the sink was opened with.
func (s *Sink) Pool() *pgxpool.Pool { return s.pool }

// Learn takes a schema that Add, or a [Sink.Write], asked for; a second time it changes nothing. Afterwards the same record can be
// added. The error is a *[decode.SchemaError]: the schema can't be used.
func (s *Sink) Learn(of decode.SchemaOf, schema payload.Schema) error {
	return s.plan().decode.Learn(of, schema)
}
