package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Orders with lines, one to seven of each, with the columns of TPC-H's line items: what a table of children costs.

const createLines = `create table lines (order_id bigint not null, line int not null, part int not null, supplier int not null, quantity numeric(12,2) not null, ` +
	`price numeric(12,2) not null, discount numeric(12,2) not null, tax numeric(12,2) not null, return_flag char(1) not null, line_status char(1) not null, ` +
	`ship_date date not null, commit_date date not null, receipt_date date not null, instructions text not null, mode text not null, comment text not null`

// linesTable is their entry in the configuration.
const linesTable = `  - name: lines
    strategy: children
    parent: orders
    each: lines
    key: [order_id, line]
    create: |
      ` + createLines + `, primary key (order_id, line))
`

var lineFields = []string{`{"line":`, `,"part":`, `,"supplier":`, `,"quantity":`, `,"price":`, `,"discount":`, `,"tax":`, `,"return_flag":"`, `","line_status":"`,
	`","ship_date":"`, `","commit_date":"`, `","receipt_date":"`, `","instructions":"`, `","mode":"`, `","comment":"`}

// lines are the texts of the event's lines, without the order's key.
func (e event) lines() [][]string {
	h := uint64(e.id)*0xd6e8feb86659fd93 ^ uint64(e.version)
	h ^= h >> 31
	out := make([][]string, 1+h%7)
	for i := range out {
		h = h*0x9e3779b97f4a7c15 + 1
		day := func(after uint64) string { return began.AddDate(0, 0, int(h>>40%300+after)).Format(time.DateOnly) }
		out[i] = []string{strconv.Itoa(i + 1), strconv.FormatUint(h>>8%200_000, 10), strconv.FormatUint(h>>16%10_000, 10), strconv.FormatUint(1+h>>24%50, 10),
			cents(h >> 20 % 10_000_000), cents(h >> 30 % 11), cents(h >> 34 % 9), "NAR"[h>>5%3 : h>>5%3+1], "OF"[h>>6%2 : h>>6%2+1],
			day(0), day(17), day(30), "DELIVER IN PERSON", "TRUCK", "carefully packed " + strconv.FormatUint(h, 16)}
	}
	return out
}

// withLines adds the lines to the event's JSON.
func (e event) withLines(b []byte) []byte {
	b = append(b[:len(b)-1], `,"lines":[`...)
	for i, line := range e.lines() {
		if i > 0 {
			b = append(b, ',')
		}
		for k, v := range line {
			b = append(append(b, lineFields[k]...), v...)
		}
		b = append(b, `"}`...)
	}
	return append(b, "]}"...)
}

// verifyLines compares the lines with what the topic says: how many, and their prices.
func verifyLines(ctx context.Context, conn *pgx.Conn, l load) error {
	var count, sum, wantCount, wantSum int64
	for _, e := range l.events {
		for _, line := range e.lines() {
			n, err := strconv.ParseInt(string(bytes.ReplaceAll([]byte(line[4]), []byte("."), nil)), 10, 64)
			if err != nil {
				return err
			}
			wantCount, wantSum = wantCount+1, wantSum+n
		}
	}
	if err := conn.QueryRow(ctx, "select count(*), (100 * sum(price))::bigint from lines").Scan(&count, &sum); err != nil {
		return err
	}
	if count != wantCount || sum != wantSum {
		return fmt.Errorf("verify: %d lines of %d cents, and the topic says %d of %d", count, sum, wantCount, wantSum)
	}
	return nil
}

// withChildren is the name of the runs of orders with their lines.
const withChildren = "orders with lines"

// children is the plan of -children: what it costs to load orders anew with their lines, of so many orders and of a third of them, so that
// memory that grows would be seen; and for how long the live sink stands still.
func (p plan) children(b *bench) []step {
	load := func(orders int, name string) step {
		return step{name: "rebuild, " + name, run: func(ctx context.Context) ([]result, error) { return b.rebuildLines(ctx, orders, name) }}
	}
	var out []step
	for _, rate := range []int{2000, 5000} {
		out = append(out, step{name: fmt.Sprintf("frozen, %s, %d", withChildren, rate), run: func(ctx context.Context) ([]result, error) { return b.frozen(ctx, p.records/10, rate, 5, true) }})
	}
	return append(out, load(p.records/3, "a third of the "+withChildren), load(p.records, withChildren))
}

// rows is how many rows a load makes.
func (l load) rows() int {
	n := len(l.events)
	if l.lines {
		for _, e := range l.events {
			n += len(e.lines())
		}
	}
	return n
}

// copyLines is the ceiling of orders with lines: both tables by COPY without an index, which are built afterwards.
func (b *bench) copyLines(ctx context.Context, name string, l load) (r result, err error) {
	_, conn, drop, err := b.database(ctx)
	if err != nil {
		return r, err
	}
	defer drop()
	if _, err := conn.Exec(ctx, narrow.create("orders")+`; alter table orders drop constraint orders_pkey, add _oncesink_source int, add _oncesink_offset bigint;
		`+createLines+`, _oncesink_source int, _oncesink_offset bigint)`); err != nil {
		return r, err
	}
	var lines [][]byte
	for i, e := range l.events {
		if i%ceilingBatch == 0 {
			lines = append(lines, nil)
		}
		text := &lines[len(lines)-1]
		for _, line := range e.lines() {
			*text = strconv.AppendInt(*text, e.id, 10)
			for _, v := range line {
				*text = append(append(*text, '\t'), v...)
			}
			*text = fmt.Appendf(*text, "\t0\t%d\n", i)
		}
	}
	orders := prepare(l, 1)[0]
	began := time.Now()
	for i := range orders {
		if _, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(orders[i].text), rawCopy); err != nil {
			return r, err
		}
		if _, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(lines[i]), "copy lines from stdin"); err != nil {
			return r, err
		}
	}
	if _, err := conn.Exec(ctx, "set maintenance_work_mem = '256MB'; create index on orders (order_id); create index on lines (order_id, line)"); err != nil {
		return r, err
	}
	return result{Who: "PostgreSQL alone", Variant: "COPY, then index, " + name + ", 1 connection(s)", Load: "rebuild", Rows: l.rows(), Seconds: time.Since(began).Seconds()}, nil
}

// rebuildLines loads orders with lines live, and then anew.
func (b *bench) rebuildLines(ctx context.Context, orders int, name string) ([]result, error) {
	l := fresh(0, orders)
	l.lines = true
	t, err := b.fill(ctx, fmt.Sprintf("lines-%d", orders), 6, narrow, l)
	if err != nil {
		return nil, err
	}
	ceiling, err := b.copyLines(ctx, name, l)
	if err != nil {
		return nil, err
	}
	rs, err := b.rebuild(ctx, name, t)
	return append([]result{ceiling}, rs...), err
}
