package checker_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/torture/checker"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

const ledger = `
create schema oncesink;
create table oncesink.offsets (sink_group text, topic text, partition int, next_offset bigint);
create table oncesink.dead_letters (sink_group text, topic text, partition int, "offset" bigint);`

// right is a history and what a database holds after it: two partitions, three keys, a tombstone, a poison and an aborted event.
func right() []checker.Op {
	at := int64(0)
	op := func(kind checker.Kind, partition int32, offset, key, version int64, value string) checker.Op {
		at += 10
		return checker.Op{Kind: kind, Topic: "t", Partition: partition, Offset: offset, Key: key, Version: version, Value: value, Begun: at, Ended: at + 5}
	}
	return []checker.Op{
		op(checker.Upsert, 0, 0, 2, 1, "a"), op(checker.Upsert, 1, 0, 1, 2, "b"), op(checker.Upsert, 0, 1, 2, 3, "c"),
		op(checker.Poison, 0, 2, 2, 4, ""), op(checker.Aborted, 0, 3, 2, 5, "d"),
		op(checker.Read, 0, 0, 2, 1, ""), op(checker.Read, 0, 0, 2, 3, ""),
		op(checker.Upsert, 1, 1, 3, 6, "e"), op(checker.Tombstone, 1, 2, 3, 7, ""),
	}
}

const rows = `
insert into oncesink.offsets values ('g', 't', 0, 5), ('g', 't', 1, 3);
insert into oncesink.dead_letters values ('g', 't', 0, 2);
insert into events values ('t', 0, 0, 2, 1, 'a'), ('t', 1, 0, 1, 2, 'b'), ('t', 0, 1, 2, 3, 'c'), ('t', 1, 1, 3, 6, 'e');
insert into latest values (2, 3, 'c', 0, 1), (1, 2, 'b', 1, 0);`

// The checker says yes to what is right, and no to each single thing that is wrong.
func TestCheck(t *testing.T) {
	url := testpg.URL(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), checker.Tables+ledger+rows); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, sql string
		history   []checker.Op // added
		want      checker.Verdict
	}{
		{"nothing", ``, nil, checker.Verdict{}},
		{"a lost event", `delete from events where o = 1 and p = 0`, nil, checker.Verdict{Lost: 1}},
		{"a lost row", `delete from latest where id = 1`, nil, checker.Verdict{Lost: 1}},
		{"a lost dead letter", `delete from oncesink.dead_letters`, nil, checker.Verdict{Lost: 1}},
		{"a lost event that nobody is told of but the history", ``, []checker.Op{{Kind: checker.Upsert, Topic: "t", Partition: 1, Offset: 2, Key: 9, Version: 9, Begun: 1000}}, checker.Verdict{Lost: 2}},
		{"a doubled event", `insert into events select * from events where p = 1 and o = 0`, nil, checker.Verdict{Doubled: 1}},
		{"a doubled dead letter", `insert into oncesink.dead_letters select * from oncesink.dead_letters`, nil, checker.Verdict{Doubled: 1}},
		{"a wrong value", `update latest set value = 'x' where id = 1`, nil, checker.Verdict{Wrong: 1}},
		{"a wrong event", `update events set value = 'x' where p = 1 and o = 0`, nil, checker.Verdict{Wrong: 1}},
		{"a row that is older", `alter table latest disable trigger all; update latest set (version, value, o) = (1, 'a', 0) where id = 2`, nil, checker.Verdict{Wrong: 1}},
		{"a row that was older for a moment", `update latest set version = 1 where id = 2; update latest set version = 3 where id = 2`, nil, checker.Verdict{Wrong: 1}},
		{"a reader that saw an older row", ``, []checker.Op{{Kind: checker.Read, Key: 2, Version: 1, Begun: 500, Ended: 501}}, checker.Verdict{Wrong: 1}},
		{"a deletion that had no effect", `insert into latest values (3, 6, 'e', 1, 1)`, nil, checker.Verdict{Wrong: 1}},
		{"an aborted event", `insert into events values ('t', 0, 3, 2, 5, 'd')`, nil, checker.Verdict{Phantoms: 1}},
		{"a row of nobody", `insert into latest values (8, 1, 'x', 0, 0)`, nil, checker.Verdict{Phantoms: 1}},
		{"a dead letter of an event that can be written", `insert into oncesink.dead_letters values ('g', 't', 1, 0)`, nil, checker.Verdict{Phantoms: 1}},
		{"a position below what was applied", `update oncesink.offsets set next_offset = 1 where partition = 1`, nil, checker.Verdict{Wrong: 0, Order: 2, Phantoms: 0}},
		{"a position that has passed the end", `update oncesink.offsets set next_offset = 9 where partition = 1`, nil, checker.Verdict{Order: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(t.Context()) }()
			if _, err := tx.Exec(t.Context(), tt.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			d, err := checker.LookIn(t.Context(), tx, "g")
			if err != nil {
				t.Fatal(err)
			}
			got := checker.Check(append(right(), tt.history...), d, checker.Rules{Ends: map[checker.Place]int64{{Topic: "t"}: 5, {Topic: "t", Partition: 1}: 3}})
			told := len(got.Examples) > 0
			got.Examples, got.Events = nil, 0
			if !reflect.DeepEqual(got, tt.want) || told == got.Clean() {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// A gap that was given up is not lost.
func TestGap(t *testing.T) {
	history := []checker.Op{{Kind: checker.Upsert, Topic: "t", Offset: 3, Key: 1, Version: 1}}
	d := checker.Database{Positions: map[checker.Place]int64{{Topic: "t"}: 4}}
	if v := checker.Check(history, d, checker.Rules{}); v.Lost != 2 {
		t.Errorf("without a gap: %v", v)
	}
	if v := checker.Check(history, d, checker.Rules{Gaps: []checker.Gap{{Topic: "t", From: 3, To: 4}}}); !v.Clean() {
		t.Errorf("with a gap: %v", v)
	}
}

// A history is read as it was written.
func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	h, err := checker.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	h.Add(right()...)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := checker.Load(path); err != nil || !reflect.DeepEqual(got, right()) {
		t.Errorf("got %v, %v", got, err)
	}
}
