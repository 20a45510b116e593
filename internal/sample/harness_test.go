package sample

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testdb"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// database is a database with a ledger and a connection of the test's own.
type database struct{ *testpg.Database }

func newDatabase(t testing.TB, statements ...string) database {
	t.Helper()
	return database{testpg.Open(t, testdb.URL(t), statements...)}
}

// rig is a sink that can be sampled, and run.
type rig struct {
	*engine.Sink
	t      testing.TB
	ledger *offsets.Ledger
}

// open runs init and opens a sink.
func (db database) open(cfg sink.Config, configure ...func(*pgxpool.Config)) *rig {
	t := db.T
	t.Helper()
	if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
		t.Fatal(err)
	}
	c, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range configure {
		f(c)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s, err := engine.Open(t.Context(), pool, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := offsets.New(pool, "g", offsets.Options{Mappings: s.Mappings()})
	return &rig{s.WithLedger(l), t, l}
}

// run writes what was sampled, the first records of a partition.
func (r *rig) run(records ...sink.Record) {
	r.t.Helper()
	p := offsets.Partition{Topic: records[0].Topic}
	got, err := r.ledger.Claim(r.t.Context(), []offsets.Want{{Partition: p, TopicID: offsets.Token{1}, Start: &offsets.Position{Epoch: -1}}})
	if err == nil {
		err = got[0].Err
	}
	if err != nil {
		r.t.Fatal(err)
	}
	part := &decode.Part{Claim: got[0].Claim}
	r.Add(part, records...)
	if out := r.Write(r.t.Context(), []*decode.Part{part}); out[0].Err != nil {
		r.t.Fatal(out[0].Err)
	}
}

// recordsOf makes records of one partition, each "KEY|VALUE" or "KEY" for a tombstone.
func recordsOf(topic string, lines ...string) []sink.Record {
	var out []sink.Record
	for i, line := range lines {
		key, value, ok := strings.Cut(line, "|")
		r := sink.Record{Topic: topic, Offset: int64(i), Key: []byte(key)}
		if ok {
			r.Value = []byte(value)
		}
		out = append(out, r)
	}
	return out
}
