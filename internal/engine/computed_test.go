package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/sink"
)

// openErr opens one table and returns what Open says.
func (db *database) openErr(table string, tc sink.TableConfig) error {
	db.T.Helper()
	tc.Name, tc.Topics = table, []string{"o"}
	cfg := sink.Config{Tables: []sink.TableConfig{tc}}
	if err := schema.Init(db.T.Context(), db.Conn, cfg); err != nil {
		db.T.Fatal(err)
	}
	_, err := Open(db.T.Context(), db.pool(), nil, cfg)
	return err
}

// TestComputed: a column that SQL makes of others is the same in an upsert, a partial event, a flagged statement, a
// replay, and wherever else events become rows; an event that lacks an input leaves it as it is.
func TestComputed(t *testing.T) {
	const sample = "case when hashtextextended(id::text, 7) % 2 = 0 then 'A' else 'B' end"
	config := sink.TableConfig{Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}, Columns: map[string]sink.ColumnConfig{
		"sample": {SQL: sample}, "ratio": {SQL: "100 / n"},
	}}
	db := newDatabase(t, "create table q (id int primary key, version int, sample varchar(3) not null, n int, m int, ratio int)")
	e := db.upsert("q", config)
	parts := func() *decode.Part {
		return e.part("o", 0,
			ev{offset: 0, cols: "id=1 version=1 n=4 m=1"},
			ev{offset: 1, cols: "id=2 version=1 n=5"},
			ev{offset: 2, cols: "id=1 version=2 m=7"},     // without n: ratio stays
			ev{offset: 3, cols: "id=3 version=1 n=0 m=1"}, // division by zero
			ev{offset: 4, cols: "id=2", gone: true},
			ev{offset: 5, cols: "id=4 version=1 n=null"},
			ev{offset: 6, cols: "id=4 version=0 n=1"}, // loses
		)
	}
	e.write(parts())
	const rows = "select id, version, n, m, ratio, sample = " + sample + " from q order by id"
	want := "1|2|4|7|25|t\n4|1|-|-|-|t"
	db.Want(want, rows)
	db.Want("3|22012|public.q", "select \"offset\", code, target from oncesink.dead_letters")
	e.rewind("o", 0, 0)
	e.write(parts())
	db.Want(want, rows)

	var many []ev // of so many sets of fields that a statement has flags
	for i := range 64 {
		fields := fmt.Sprintf("id=%d version=1", 100+i)
		if i&1 > 0 {
			fields += " n=10"
		}
		if i&2 > 0 {
			fields += " m=2"
		}
		many = append(many, ev{offset: int64(7 + i), cols: fields})
	}
	e.write(e.part("o", 0, many...))
	db.Want("32|-\n32|10", "select count(*), ratio from q where id >= 100 group by 2 order by 2 nulls first")
	if way := e.Describe()[0].Way; !strings.Contains(way, "computes sample, ratio") {
		t.Errorf("way: %s", way)
	}
}

// TestComputedDecoded: an event as Kafka brings it, whose inputs come after the column in the table.
func TestComputedDecoded(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, total numeric(9, 2), price numeric, pieces int, day date, at timestamptz)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{
		"total": {SQL: "price * pieces"}, "price": {From: "item.price"},
		"day": {SQL: "(at at time zone 'Europe/Berlin')::date"}, "at": {From: "$timestamp"},
	}})
	p := &decode.Part{Claim: e.claim("o", 0)}
	at := time.Date(2026, 6, 30, 22, 30, 0, 0, time.UTC)
	e.Add(p, sink.Record{Topic: "o", Timestamp: at, Value: []byte(`{"id": 1, "item": {"price": 2.505}, "pieces": 3, "total": 99}`)},
		sink.Record{Topic: "o", Offset: 1, Timestamp: at, Value: []byte(`{"id": 2, "pieces": 3, "total": 99}`)})
	e.write(p)
	db.Want("1|7.52|2026-07-01\n2|-|2026-07-01", "select id, total, day from q order by id")
}

// TestComputedFlagged: with more sets of fields than statements are made for, presence decides row by row.
func TestComputedFlagged(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, a int, b int, c int, d int, twice int default -1)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"twice": {SQL: "a * 2"}}})
	var events []ev
	for i := range 32 {
		fields := fmt.Sprintf("id=%d", i)
		for k, name := range []string{"a", "b", "c", "d"} {
			if i>>k&1 > 0 {
				fields += fmt.Sprintf(" %s=%d", name, i)
			}
		}
		events = append(events, ev{offset: int64(i), cols: fields})
	}
	e.write(e.part("o", 0, events...))
	db.Want("32|16|16", "select count(*), count(*) filter (where twice = 2 * a), count(*) filter (where a is null and twice = -1) from q")
}

// TestComputedGrants: a role that may do nothing but what the script for a DBA grants can open and write.
func TestComputedGrants(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, twice int)",
		"do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$",
		"do $$ begin create role \"computing role\"; exception when duplicate_object then null; end $$")
	cfg := sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"twice": {SQL: "id * 2"}}}}}
	if _, err := db.Conn.PgConn().Exec(t.Context(), schema.InitSQL(cfg, "computing role")).ReadAll(); err != nil {
		t.Fatal(err)
	}
	as := func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = `computing role` }
	if _, err := Open(t.Context(), db.pool(as), nil, cfg); err != nil {
		t.Error(err)
	}
	db.Do("do $$ begin execute format('revoke temporary on database %I from \"computing role\"', current_database()); end $$")
	if _, err := Open(t.Context(), db.pool(as), nil, cfg); err == nil || !strings.Contains(err.Error(), "grant temporary on database") {
		t.Errorf("got %v", err)
	}
}

// TestComputedRefused: what would not be the same each time, or has no inputs, is refused at the start.
func TestComputedRefused(t *testing.T) {
	if onRoute() {
		return
	}
	db := newDatabase(t, "create table q (id int primary key, version int, at timestamptz, day date, other int, twice int generated always as (id * 2) stored)")
	for name, tt := range map[string]struct {
		columns map[string]sink.ColumnConfig
		want    string
	}{
		"random":       {map[string]sink.ColumnConfig{"other": {SQL: "(random() * 10)::int"}}, "hashtextextended"},
		"session":      {map[string]sink.ColumnConfig{"day": {SQL: "at::date"}}, "at time zone"},
		"clock":        {map[string]sink.ColumnConfig{"day": {SQL: "current_date"}}, "clock"},
		"no column":    {map[string]sink.ColumnConfig{"other": {SQL: "nothing + 1"}}, `"nothing" does not exist`},
		"key":          {map[string]sink.ColumnConfig{"id": {SQL: "1"}}, "computes the key"},
		"version":      {map[string]sink.ColumnConfig{"version": {SQL: "1"}}, "or the version"},
		"two sources":  {map[string]sink.ColumnConfig{"other": {SQL: "id", From: "x"}}, "remove from"},
		"of computed":  {map[string]sink.ColumnConfig{"other": {SQL: "id"}, "day": {SQL: "date '2026-01-01' + other"}}, "reads other, which no event fills"},
		"of generated": {map[string]sink.ColumnConfig{"other": {SQL: "twice"}}, "reads twice, which no event fills"},
		"of itself":    {map[string]sink.ColumnConfig{"other": {SQL: "other + 1"}}, "reads other, which no event fills"},
		"of the guard": {map[string]sink.ColumnConfig{"other": {SQL: "_oncesink_source"}}, "which no event fills"},
	} {
		t.Run(name, func(t *testing.T) {
			err := db.openErr("q", sink.TableConfig{Key: []string{"id"}, Version: "version", Columns: tt.columns})
			var problem *sink.ConfigError
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	if err := db.openErr("q", sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"day": {SQL: "(at at time zone 'UTC')::date"}}}); err != nil {
		t.Error(err)
	}
}
