package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testdb"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) {
	testenv.AtExit(checkWriters)
	os.Exit(testpg.Main(m))
}

// database is a database with a ledger and a connection of the test's own.
type database struct{ *testpg.Database }

func newDatabase(t testing.TB, statements ...string) *database {
	t.Helper()
	return &database{testpg.Open(t, testdb.URL(t), statements...)}
}

func databaseAt(t testing.TB, url string, statements ...string) *database {
	t.Helper()
	db := testpg.Open(t, url)
	if err := offsets.Init(t.Context(), db.Conn); err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		db.Do(s)
	}
	return &database{db}
}

// engine is a sink, its ledger and what a consumer does with them.
type engine struct {
	*Sink
	t      testing.TB
	db     *database
	pool   *pgxpool.Pool
	ledger *offsets.Ledger
	claims map[offsets.Partition]offsets.Claim
	tables []*table // as they were when the sink was opened
	// incarnations counts how often a topic was recreated.
	incarnations map[string]int
}

func (db *database) pool(configure ...func(*pgxpool.Config)) *pgxpool.Pool {
	db.T.Helper()
	pool, _, err := offsets.NewPool(db.T.Context(), db.URL, 8)
	if err != nil {
		db.T.Fatal(err)
	}
	if len(configure) > 0 {
		cfg := pool.Config()
		pool.Close()
		for _, f := range configure {
			f(cfg)
		}
		if pool, err = pgxpool.NewWithConfig(db.T.Context(), cfg); err != nil {
			db.T.Fatal(err)
		}
	}
	db.T.Cleanup(pool.Close)
	return pool
}

// open runs init and opens a sink.
func (db *database) open(cfg sink.Config, configure ...func(*pgxpool.Config)) *engine {
	db.T.Helper()
	return db.openWith(cfg, Options{}, configure...)
}

func (db *database) openWith(cfg sink.Config, o Options, configure ...func(*pgxpool.Config)) *engine {
	db.T.Helper()
	if err := schema.Init(db.T.Context(), db.Conn, cfg); err != nil {
		db.T.Fatal(err)
	}
	if cfg.DeadLetters == (sink.DeadLetters{}) { // what tests of limits don't want
		cfg.DeadLetters = sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1}
	}
	pool := db.pool(configure...)
	s, err := OpenWith(db.T.Context(), pool, nil, cfg, o)
	if err != nil {
		db.T.Fatal(err)
	}
	force(s)
	l := offsets.New(pool, "g", offsets.Options{Mappings: s.Mappings()})
	return &engine{s.WithLedger(l), db.T, db, pool, l, map[offsets.Partition]offsets.Claim{}, s.plan().tables, map[string]int{}}
}

// topicID is the id of the n-th incarnation of a topic.
func topicID(topic string, n int) offsets.Token {
	var id offsets.Token
	copy(id[:], fmt.Sprintf("%-15s%d", topic, n))
	return id
}

// claim claims a partition, from offset 0 if it is new.
func (e *engine) claim(topic string, partition int32) offsets.Claim {
	e.t.Helper()
	p := offsets.Partition{Topic: topic, Partition: partition}
	got, err := e.ledger.Claim(e.t.Context(), []offsets.Want{{Partition: p, TopicID: topicID(topic, e.incarnations[topic]), Start: &offsets.Position{Epoch: -1}}})
	if err != nil {
		e.t.Fatal(err)
	}
	if got[0].Err != nil {
		e.t.Fatal(got[0].Err)
	}
	e.claims[p] = got[0].Claim
	return got[0].Claim
}

// ev is an event as the decoder would hand it over: texts by column.
type ev struct {
	offset int64
	cols   string // "id=1 qty=null name=x": an absent column is not named; of one that is ? the source withheld the value
	table  string // of several; default: the first
	gone   bool   // a tombstone
	// versioned: a deletion with a version.
	versioned bool
	fault     *decode.Fault
}

// json is the event as a document: it is decoded again when a table is altered.
func (v *ev) json() []byte {
	doc := map[string]any{}
	for _, f := range strings.Fields(v.cols) {
		name, value, _ := strings.Cut(f, "=")
		doc[name] = strings.ReplaceAll(value, "_", " ")
		if value == "null" {
			doc[name] = nil
		}
	}
	b, _ := json.Marshal(doc) // strings and nulls: nothing to fail
	return b
}

// part builds a part as Add would.
func (e *engine) part(topic string, partition int32, evs ...ev) *decode.Part {
	e.t.Helper()
	p := offsets.Partition{Topic: topic, Partition: partition}
	c, ok := e.claims[p]
	if !ok {
		c = e.claim(topic, partition)
	}
	part := &decode.Part{Claim: c}
	for _, v := range evs {
		if n := len(part.Records); n == 0 || part.Records[n-1].Offset != v.offset {
			part.Records = append(part.Records, sink.Record{
				Topic: topic, Partition: partition, Offset: v.offset, Timestamp: time.Unix(1_700_000_000+v.offset, 0).UTC(),
				Key: []byte("k"), Value: v.json(), Headers: []sink.Header{{Key: "h", Value: []byte("v")}},
			})
		}
		record := int32(len(part.Records) - 1)
		part.To = offsets.Position{Next: v.offset + 1, Time: part.Records[record].Timestamp}
		if v.fault != nil {
			f := *v.fault
			f.Record = record
			part.Faults = append(part.Faults, f)
			continue
		}
		ti := 0
		for i, t := range e.tables {
			if t.Name == v.table {
				ti = i
			}
		}
		part.Began = part.Extent()
		first := len(part.Cells)
		values := map[string]string{}
		for _, f := range strings.Fields(v.cols) {
			name, value, _ := strings.Cut(f, "=")
			values[name] = strings.ReplaceAll(value, "_", " ")
		}
		withheld := false
		for _, col := range e.tables[ti].Columns {
			value, ok := values[col.Name]
			switch {
			case value == "?":
				part.Cells = append(part.Cells, decode.Cell{Len: decode.CellUnavailable})
				withheld = true
			case !ok:
				part.Cells = append(part.Cells, decode.Cell{Len: decode.CellAbsent})
			case value == "null":
				part.Cells = append(part.Cells, decode.Cell{Len: decode.CellNull})
			default:
				part.Cells = append(part.Cells, decode.Cell{Off: int32(len(part.Text)), Len: int32(len(value))})
				part.Text = append(part.Text, value...)
			}
		}
		if !v.gone {
			decode.Compute(e.tables[ti].Table, part.Cells[first:])
		}
		if f := part.AddRow(e.tables[ti].Table, decode.Row{Record: record, Table: int32(ti), First: int32(first), Tombstone: v.gone, Versioned: v.versioned, Withheld: withheld}, decode.MaxRecordBytes); f != nil {
			part.Truncate()
			part.Faults = append(part.Faults, *f)
		}
	}
	return part
}

// write writes parts and expects them to be committed.
func (e *engine) write(parts ...*decode.Part) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	for i, o := range e.Write(ctx, parts) {
		if o.Err != nil {
			e.t.Fatalf("%s: %v", parts[i].Claim.Partition, o.Err)
		}
		if o.Claim.Position.Next != parts[i].To.Next {
			e.t.Fatalf("%s: position %d, want %d", parts[i].Claim.Partition, o.Claim.Position.Next, parts[i].To.Next)
		}
		e.claims[o.Claim.Partition] = o.Claim
	}
}

// recreate stands for a topic that was deleted, created again and adopted.
func (e *engine) recreate(topic string) {
	e.t.Helper()
	e.incarnations[topic]++
	e.db.Do("select oncesink.adopt('g', $1::text, $2::text::uuid)", topic, topicID(topic, e.incarnations[topic]).String())
	for p := range e.claims {
		if p.Topic == topic {
			e.claim(topic, p.Partition)
		}
	}
}

// rewind moves a partition back, as an operator does, and claims it again.
func (e *engine) rewind(topic string, partition int32, offset int64) {
	e.t.Helper()
	e.db.Do("select oncesink.rewind('g', $1::text, $2::int, $3::bigint)", topic, partition, offset)
	e.claim(topic, partition)
}
