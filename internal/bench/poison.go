package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// refusals are what a table refuses of one record in a hundred: each has a value for the column that the table does not take.
var refusals = []struct {
	name, constraint string
	column           int
	value            string
	before           string // SQL
	share            int    // of the records, one in so many is sent: some tables are slow by themselves
}{
	{name: "a text that is too long", column: 4, value: "EURO", share: 1},
	{name: "a date that is none", column: 7, value: "2026-02-30T03:04:05Z", share: 1},
	{name: "a check", constraint: ", check (amount >= 0)", column: 3, value: "-1", share: 1},
	{name: "not null", column: 3, value: "null", share: 1},
	{name: "a foreign key", constraint: ", foreign key (customer_id) references customers", column: 1, value: "-1",
		before: "create table customers (id bigint primary key); insert into customers select generate_series(0, 199999); analyze customers", share: 1},
	{name: "another unique index", constraint: ", unique (note)", column: 6, value: "taken", share: 20},
}

const inHundred = "1 % refused"

// poisoned has one event in a hundred that a table refuses, and none among the last of a partition.
func poisoned(l load, column int, value string) load {
	l.name, l.poison = inHundred, func(e event, v []string) {
		if e.id%100 == 37 && e.id < int64(len(l.events))-100 {
			v[column] = value
		}
	}
	return l
}

// refused is the plan of -poison: what is left of the throughput where a table refuses one record in a hundred, for each reason.
func (p plan) refused(b *bench) []step {
	var out []step
	for i, r := range refusals {
		out = append(out, step{name: "refused by " + r.name, run: func(ctx context.Context) ([]result, error) {
			clean := fresh(0, p.records/r.share)
			var all []result
			for _, l := range []load{clean, poisoned(clean, r.column, r.value)} {
				name := fmt.Sprintf("taken-%d", len(l.events))
				if l.poison != nil {
					name = fmt.Sprintf("refused-%d", i)
				}
				t, err := b.fill(ctx, name, 6, narrow, l)
				if err != nil {
					return nil, err
				}
				o := options{constraint: r.constraint, limits: p.limits, parents: "1ms"}
				x, err := b.refuse(ctx, o, r.before, t)
				if err != nil {
					return nil, fmt.Errorf("refused by %s, %s: %w", r.name, l.name, err)
				}
				x.Who, x.Variant, x.Load = "oncesink", r.name, l.name
				all = append(all, x)
			}
			return all, nil
		}})
	}
	return out
}

// refuse reads a topic into a table, and counts the rows and the dead letters.
func (b *bench) refuse(ctx context.Context, o options, before string, t topic) (r result, err error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return r, err
	}
	defer drop()
	if _, err := conn.Exec(ctx, before, pgx.QueryExecModeSimpleProtocol); err != nil {
		return r, err
	}
	if r, err = measure(ctx, url, len(t.load.events), positions(t), func() (*process, error) { return b.startOncesink(ctx, o, t, url) }); err != nil {
		return r, err
	}
	bad, v := 0, []string(nil)
	for _, e := range t.load.events {
		v = e.values(t.shape, v)
		was := strings.Join(v, "|")
		if t.load.poison != nil {
			if t.load.poison(e, v); strings.Join(v, "|") != was {
				bad++
			}
		}
	}
	var rows, letters int
	if err := conn.QueryRow(ctx, "select (select count(*) from orders), (select count(*) from oncesink.dead_letters)").Scan(&rows, &letters); err != nil {
		return r, err
	}
	if strings.Contains(o.constraint, "unique") && bad > 0 {
		bad-- // the first one takes the value
	}
	if rows+letters != len(t.load.events) || letters != bad {
		return r, fmt.Errorf("%d rows and %d dead letters of %d events, of which %d are bad", rows, letters, len(t.load.events), bad)
	}
	return r, nil
}
