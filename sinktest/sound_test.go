package sinktest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
	"github.com/oncesink/oncesink/sinktest"
)

// orders are events of orders in two partitions: versions out of order, partial events,
// tombstones, repeated offsets of keys, a record that is no JSON, a gap.
func orders() []sink.Record {
	record := func(partition int32, offset int64, key, value string) sink.Record {
		r := sink.Record{Topic: "orders", Partition: partition, Offset: offset, Key: []byte(key)}
		if value != "" {
			r.Value = []byte(value)
		}
		return r
	}
	return []sink.Record{
		record(0, 3, "1", `{"id": 1, "version": 1, "state": "new", "amount": 10.50}`),
		record(1, 0, "2", `{"id": 2, "version": 4, "state": "paid"}`),
		record(0, 4, "1", `{"id": 1, "version": 3, "state": "paid"}`),
		record(0, 5, "1", `{"id": 1, "version": 2, "state": "late"}`),
		record(1, 1, "2", ""),
		record(0, 7, "3", `no JSON`),
		record(1, 2, "2", `{"id": 2, "version": 3, "state": "too late"}`),
		record(1, 5, "4", `{"id": 4, "version": 1, "state": "new", "amount": null}`),
		record(0, 8, "5", `{"id": 5, "version": 1, "state": "new"}`),
		record(0, 9, "5", ""),
		record(1, 6, "4", `{"id": 4, "version": 1, "amount": 3}`),
	}
}

func ordersConfig() sink.Config {
	return sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"orders"}, Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"},
			Create: "create table orders (id bigint primary key, version int not null, state text, amount numeric)"},
		{Name: "log.events", Topics: []string{"orders"}, Strategy: sink.Append, Tombstones: "ignore"},
	}}
}

// Tables alone pass every perturbation, each statement's crash among them.
func TestTables(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	sinktest.Run(t, testpg.URL(t), sinktest.Case{
		Config:      ordersConfig(),
		Setup:       "create schema log; create table log.events (id bigint, state text); create table untouched (n int)",
		Records:     orders(),
		DeadLetters: 1,
		Logf:        keep(t, &logged),
	})
	for _, want := range []string{
		"11 records of 2 partitions, 10 rows in 3 tables, 1 dead letters", "redelivery: 4 rounds", "reordering: 4 rounds", "replay: 4 rounds",
	} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	var cuts int
	if _, err := fmt.Sscanf(after(logged.String(), "crash: "), "%d cuts", &cuts); err != nil || cuts < 30 {
		t.Errorf("%d cuts, want at least ten for each of three transactions", cuts)
	}
}

func after(s, sep string) string {
	_, s, _ = strings.Cut(s, sep)
	return s
}

// A table without guard keeps whichever partition's event came last.
func TestTableWithoutGuard(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	err := sinktest.Check(t.Context(), testpg.URL(t), sinktest.Case{
		Setup:   "create table last (topic text primary key, cents int)",
		Config:  sink.Config{Tables: []sink.TableConfig{{Name: "last", Topics: []string{"payments"}, Key: []string{"topic"}, Guard: "none", Columns: map[string]sink.ColumnConfig{"topic": {From: "$topic"}}}}},
		Records: payments(3),
		Skip:    []sinktest.Perturbation{sinktest.Crash},
		Logf:    keep(t, &logged),
	})
	if got, _ := perturbations(t, err); len(got) != 1 || got[0] != sinktest.Reordering {
		t.Errorf("got %v, want a failure of reordering", err)
	}
	for _, want := range []string{"replay: not tried: table public.last has no guard"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// Columns may be left out of the comparison, and tables.
func TestIgnore(t *testing.T) {
	t.Parallel()
	c := sinktest.Case{
		Setup: balances + "create table seen (cents int, at timestamptz default clock_timestamp()); create table clock (at timestamptz)",
		Config: sink.Config{Handlers: []sink.Handler{statement(credit), each(func(ctx context.Context, tx pgx.Tx, _ sink.Record, p payment) error {
			_, err := tx.Exec(ctx, "insert into seen (cents) values ($1)", p.Cents)
			return err
		}), each(func(ctx context.Context, tx pgx.Tx, _ sink.Record, p payment) error {
			_, err := tx.Exec(ctx, "insert into clock values (clock_timestamp())")
			return err
		})}},
		Records: payments(3), Rounds: 1, MaxCuts: 2,
		Tables: []string{"balances", "public.seen"}, Ignore: []string{"seen.at"},
	}
	sinktest.Run(t, testpg.URL(t), c)
	c.Tables = nil
	if got, _ := perturbations(t, sinktest.Check(t.Context(), testpg.URL(t), c)); len(got) != 1 || got[0] != sinktest.Repetition {
		t.Errorf("with all tables got failures of %v, want one of repetition", got)
	}
}

// What is no fault of a handler is said before anything is tried.
func TestWrongCases(t *testing.T) {
	good := sinktest.Case{Setup: balances, Config: sink.Config{Handlers: []sink.Handler{statement(credit)}}, Records: payments(1), Rounds: 1, MaxCuts: 1}
	for _, tt := range []struct {
		want   string
		change func(*sinktest.Case)
	}{
		{"no records", func(c *sinktest.Case) { c.Records = nil }},
		{"neither tables nor handlers", func(c *sinktest.Case) { c.Config = sink.Config{} }},
		{`no perturbation "reply"`, func(c *sinktest.Case) { c.Skip = []sinktest.Perturbation{"reply"} }},
		{"record 2: offset 4 of t/0 does not ascend", func(c *sinktest.Case) {
			c.Records = []sink.Record{{Topic: "t", Offset: 4}, {Topic: "t", Partition: 1, Offset: 4}, {Topic: "t", Offset: 4}}
		}},
		{"run Setup: ERROR: syntax error", func(c *sinktest.Case) { c.Setup = "creat table t ()" }},
		{"it leaves a transaction open", func(c *sinktest.Case) { c.Setup += "begin" }},
		{"there is no table to compare", func(c *sinktest.Case) {
			c.Setup = ""
			c.Config.Handlers = []sink.Handler{func(context.Context, pgx.Tx, []sink.Record) error { return nil }}
		}},
		{"all tables are empty", func(c *sinktest.Case) {
			c.Config.Handlers = []sink.Handler{func(context.Context, pgx.Tx, []sink.Record) error { return nil }}
		}},
		{"2 records are dead letters, want 0 (Case.DeadLetters), the first: handler 0: no account", func(c *sinktest.Case) {
			c.Config.Handlers = []sink.Handler{func(context.Context, pgx.Tx, []sink.Record) error { return sink.Poison(errors.New("no account")) }}
		}},
		{"halted: handler 0: no idea", func(c *sinktest.Case) {
			c.Config.Handlers = []sink.Handler{func(context.Context, pgx.Tx, []sink.Record) error { return errors.New("no idea") }}
		}},
		{"field Tables names balance: there is no such table", func(c *sinktest.Case) { c.Tables = []string{"balance"} }},
		{"field Ignore names balances.on: no table that is compared has it", func(c *sinktest.Case) { c.Ignore = []string{"balances.on"} }},
		{"table missing does not exist", func(c *sinktest.Case) {
			c.Config.Tables = []sink.TableConfig{{Name: "missing", Topics: []string{"payments"}, Key: []string{"id"}}}
		}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			c := good
			tt.change(&c)
			if err := sinktest.Check(t.Context(), testpg.URL(t), c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if err := sinktest.Check(t.Context(), "postgres://localhost:1/none?connect_timeout=1", good); err == nil {
		t.Error("a server that isn't there is no error")
	}
}
