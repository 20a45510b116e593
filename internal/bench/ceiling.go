package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// The ceilings: what PostgreSQL takes when rows, guard columns included, are already in memory, in the
// form in which they go over the wire. 5,000 rows and an update of a position are a transaction.
const ceilingBatch = 5000

// raw is a way to write rows without a program around it.
type raw struct {
	name  string
	loads []string // in order
	write func(ctx context.Context, conn *pgx.Conn, b *ceilingData) error
}

// ceilingData is one transaction's rows, prepared.
type ceilingData struct {
	values [][]byte // of text arrays, then source and offset
	text   []byte   // the same as COPY takes it
}

const (
	unnestRows = `(select a.c1::bigint as order_id, a.c2::bigint as customer_id, a.c3 as status, a.c4::numeric as amount, a.c5 as currency, a.c6 as country, a.c7 as note,
		a.c8::timestamptz as placed_at, a.c9::timestamptz as updated_at, a.s as _oncesink_source, a.o as _oncesink_offset
		from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::int[], $11::bigint[]) as a(c1, c2, c3, c4, c5, c6, c7, c8, c9, s, o)) e`
	rawColumns = "order_id, customer_id, status, amount, currency, country, note, placed_at, updated_at, _oncesink_source, _oncesink_offset"
	onConflict = ` on conflict (order_id) do update set customer_id = excluded.customer_id, status = excluded.status, amount = excluded.amount, currency = excluded.currency,
		country = excluded.country, note = excluded.note, placed_at = excluded.placed_at, updated_at = excluded.updated_at,
		_oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
		where (t.updated_at, t._oncesink_offset) < (excluded.updated_at, excluded._oncesink_offset)`
	rawUpsert = "insert into orders as t (" + rawColumns + ") select * from " + unnestRows + onConflict
	prefilter = "insert into orders as t (" + rawColumns + ") select e.* from " + unnestRows +
		" left join orders o on o.order_id = e.order_id where o.order_id is null or (o.updated_at, o._oncesink_offset) < (e.updated_at, e._oncesink_offset)" + onConflict
	rawCopy = "copy orders (" + rawColumns + ") from stdin"
)

func statement(sql string) func(context.Context, *pgx.Conn, *ceilingData) error {
	return func(ctx context.Context, conn *pgx.Conn, d *ceilingData) error {
		oids := make([]uint32, len(d.values))
		formats := make([]int16, len(d.values))
		for i := range oids {
			oids[i], formats[i] = pgtype.TextArrayOID, pgx.BinaryFormatCode
		}
		oids[len(oids)-2], oids[len(oids)-1] = pgtype.Int4ArrayOID, pgtype.Int8ArrayOID
		return conn.PgConn().ExecParams(ctx, sql, d.values, oids, formats, nil).Read().Err
	}
}

var raws = []raw{
	{"upsert", []string{"fresh", "updates", "replay"}, statement(rawUpsert)},
	{"upsert, prefiltered", []string{"fresh", "updates", "replay"}, statement(prefilter)},
	{"COPY", []string{"fresh"}, func(ctx context.Context, conn *pgx.Conn, d *ceilingData) error {
		_, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(d.text), rawCopy)
		return err
	}},
}

// ceiling measures one way on some connections, each with the keys of its own.
func (b *bench) ceiling(ctx context.Context, way raw, connections int, loads ...load) ([]result, error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	conns := []*pgx.Conn{conn}
	for len(conns) < connections {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return nil, err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		conns = append(conns, conn)
	}
	if _, err := conns[0].Exec(ctx, narrow.create("orders")+`; alter table orders add _oncesink_source int, add _oncesink_offset bigint;
		create table positions (id int primary key, n bigint not null) with (fillfactor = 10); insert into positions select i, 0 from generate_series(0, 9) i`); err != nil {
		return nil, err
	}
	var out []result
	for _, name := range way.loads {
		l := loads[0]
		if name != "fresh" {
			l = loads[1]
		}
		work := prepare(l, connections)
		wal, err := logPosition(ctx, conns[0])
		if err != nil {
			return nil, err
		}
		before, err := ownAndServer(conns[0])
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := parallel(connections, func(i int) error {
			for k := range work[i] {
				if err := transact(ctx, conns[i], i, way, &work[i][k]); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("ceiling %s, %s: %w", way.name, name, err)
		}
		took := time.Since(began)
		after, err := ownAndServer(conns[0])
		if err != nil {
			return nil, err
		}
		each := float64(len(l.events)) / 1e6
		end, err := logPosition(ctx, conns[0])
		if err != nil {
			return nil, err
		}
		out = append(out, result{Who: "PostgreSQL alone", Variant: fmt.Sprintf("%s, %d connection(s)", way.name, connections), Load: name,
			Rows: len(l.events), Seconds: took.Seconds(), CPU: (after[0] - before[0]).Seconds() / each, Server: (after[1] - before[1]).Seconds() / each, WAL: float64(end-wal) / float64(len(l.events))})
		if err := verify(ctx, conns[0], narrow, loads[:min(len(out), 2)]...); err != nil {
			return nil, err
		}
		if _, err := conns[0].Exec(ctx, "vacuum analyze orders"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ownAndServer is the processor time of this process, which is the client, and of the server, so far.
func ownAndServer(conn *pgx.Conn) (at [2]time.Duration, err error) {
	own, err := statOf(os.Getpid())
	if err != nil {
		return at, err
	}
	server, err := serverCPU(conn.PgConn().PID())
	return [2]time.Duration{own.own, server}, err
}

func transact(ctx context.Context, conn *pgx.Conn, position int, way raw, d *ceilingData) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, "update positions set n = n + $1 where id = $2", ceilingBatch, position); err != nil {
		return err
	}
	if err := way.write(ctx, conn, d); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = f(i)
		}()
	}
	wg.Wait()
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

// prepare cuts a load into transactions for each connection, sorted by key as oncesink does.
func prepare(l load, connections int) [][]ceilingData {
	out := make([][]ceilingData, connections)
	types := pgtype.NewMap()
	for c := range out {
		var mine []event
		for _, e := range l.events {
			if e.id%int64(connections) == int64(c) {
				mine = append(mine, e)
			}
		}
		offset := int64(0)
		for chunk := range slices.Chunk(mine, ceilingBatch) {
			slices.SortFunc(chunk, func(a, b event) int { return int(a.id - b.id) })
			columns := make([][]string, 9)
			sources, offsets := make([]int32, len(chunk)), make([]int64, len(chunk))
			var text []byte
			for i, e := range chunk {
				v := e.values(narrow, nil)
				for k := range columns {
					columns[k] = append(columns[k], v[k])
				}
				sources[i], offsets[i] = int32(c), offset
				text = fmt.Appendf(text, "%s\t%d\t%d\n", strings.Join(v, "\t"), c, offset)
				offset++
			}
			d := ceilingData{text: text}
			for _, col := range columns {
				d.values = append(d.values, encode(types, pgtype.TextArrayOID, col))
			}
			d.values = append(d.values, encode(types, pgtype.Int4ArrayOID, sources), encode(types, pgtype.Int8ArrayOID, offsets))
			out[c] = append(out[c], d)
		}
	}
	return out
}

func encode(types *pgtype.Map, oid uint32, v any) []byte {
	b, err := types.Encode(oid, pgx.BinaryFormatCode, v, nil)
	if err != nil {
		panic(err) // slices of strings and integers
	}
	return b
}
