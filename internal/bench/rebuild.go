package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// rebuilds is the plan of -rebuild: what it costs to load a table anew beside the live sink, against loading
// it live and against a plain COPY with an index built afterwards; and for how long the live sink stands still.
func (p plan) rebuilds(b *bench) []step {
	var out []step
	for _, n := range []int{1, 4} {
		name := fmt.Sprintf("%d version(s) a key", n)
		out = append(out, step{name: "rebuild, " + name, run: func(ctx context.Context) ([]result, error) {
			l := versions(p.records, n)
			t, err := b.fill(ctx, fmt.Sprintf("versions-%d", n), 6, narrow, l)
			if err != nil {
				return nil, err
			}
			var out []result
			for connections := range 2 {
				ceiling, err := b.copyThenIndex(ctx, name, connections+1, l)
				if err != nil {
					return nil, err
				}
				out = append(out, ceiling)
			}
			rs, err := b.rebuild(ctx, name, t)
			return append(out, rs...), err
		}})
	}
	return append(out, step{name: "rebuild, frozen", run: func(ctx context.Context) ([]result, error) { return b.frozen(ctx, p.records/4, 5000, 20, false) }})
}

// versions has n events in all, of n/each keys: pass by pass, each newer.
func versions(n, each int) load {
	l := load{name: "fresh"}
	for v := range each {
		for id := range n / each {
			l.events = append(l.events, event{int64(id), v})
		}
	}
	return l
}

// copyThenIndex is the ceiling: rows that are in memory go into a table without an index, by one connection or two,
// and the index is built afterwards.
func (b *bench) copyThenIndex(ctx context.Context, name string, connections int, l load) (r result, err error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return r, err
	}
	defer drop()
	second, err := pgx.Connect(ctx, url)
	if err != nil {
		return r, err
	}
	defer func() { _ = second.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, narrow.create("orders")+`; alter table orders drop constraint orders_pkey, add _oncesink_source int, add _oncesink_offset bigint`); err != nil {
		return r, err
	}
	conns, work := []*pgx.Conn{conn, second}, prepare(l, connections)
	began := time.Now()
	if err := parallel(connections, func(i int) error {
		for k := range work[i] {
			if _, err := conns[i].PgConn().CopyFrom(ctx, bytes.NewReader(work[i][k].text), rawCopy); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return r, err
	}
	if _, err := conn.Exec(ctx, "set maintenance_work_mem = '256MB'; create index on orders (order_id)"); err != nil {
		return r, err
	}
	return result{Who: "PostgreSQL alone", Variant: fmt.Sprintf("COPY, then index, %s, %d connection(s)", name, connections), Load: "rebuild", Rows: len(l.events), Seconds: time.Since(began).Seconds()}, nil
}

// rebuild loads a topic live, and then anew over the right table and over one that was emptied.
func (b *bench) rebuild(ctx context.Context, name string, t topic) ([]result, error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	live, err := measure(ctx, url, len(t.load.events), visible(t), func() (*process, error) { return b.startOncesink(ctx, options{}, t, url) })
	if err != nil {
		return nil, err
	}
	live.Who, live.Variant, live.Load, live.Rows = "oncesink", name, "live", t.load.rows()
	each := float64(len(t.load.events)) / float64(live.Rows)
	live.CPU, live.WAL = live.CPU*each, live.WAL*each
	out := []result{live}
	for _, x := range []struct {
		load, before string
		swap         bool
	}{{"undamaged", "", false}, {"emptied", "truncate orders", false}, {"swapped", "truncate orders", true}} {
		if t.load.lines && x.before != "" {
			x.before += ", lines"
		}
		for _, sql := range []string{"vacuum analyze", x.before, "checkpoint"} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return nil, err
			}
		}
		var extra []string
		if x.swap {
			extra = append(extra, "--swap")
		}
		said, r, err := b.runRebuild(ctx, t, url, extra...)
		if err != nil {
			return nil, err
		}
		r.Who, r.Variant, r.Load = "oncesink", name, x.load
		r.Rows, r.Seconds = t.load.rows(), said.Seconds
		r.CPU /= float64(r.Rows) / 1e6
		out = append(out, r)
		if err := verify(ctx, conn, t.shape, t.load); err != nil {
			return nil, err
		}
		if t.load.lines {
			if err := verifyLines(ctx, conn, t.load); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// rebuilt is what `oncesink rebuild --json` says.
type rebuilt struct {
	Seconds float64 `json:"seconds"`
	Frozen  float64 `json:"frozen_seconds"`
	Changed int64   `json:"changed"`
}

// runRebuild runs the command to its end. CPU is in seconds.
func (b *bench) runRebuild(ctx context.Context, t topic, url string, extra ...string) (said rebuilt, r result, err error) {
	config, err := b.configure(options{}, t)
	if err != nil {
		return said, r, err
	}

	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "oncesink"), append([]string{"rebuild", "orders", "-c", config, "--json"}, extra...)...)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+url)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		return said, r, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case err = <-done:
			waiting = false
		case <-tick.C:
			r.Peak = max(r.Peak, float64(peakOf(cmd.Process.Pid))/(1<<20))
		}
	}
	if err != nil {
		return said, r, fmt.Errorf("oncesink rebuild: %w\n%s", err, log.String())
	}
	r.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return said, r, json.Unmarshal(out.Bytes(), &said)
}

// patience is how long a rebuild beside a load may take.
const patience = 90 * time.Second

// frozen measures, while so many events a second go through the live sink, for how long rebuilds hold its
// positions, and how old the last applied event is at worst.
func (b *bench) frozen(ctx context.Context, backlog, rate, runs int, lines bool) ([]result, error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	first := fresh(0, besides)
	first.lines = lines
	t, err := b.fill(ctx, fmt.Sprintf("frozen%d", b.dbs), 6, narrow, first)
	if err != nil {
		return nil, err
	}
	p, err := b.startOncesink(ctx, options{}, t, url)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	send, flush, err := b.sender(ctx, t.name, 5*time.Millisecond, lines)
	if err != nil {
		return nil, err
	}
	defer flush()
	for i := range backlog {
		send(int64(besides + i))
	}
	if err := flush(); err != nil {
		return nil, err
	}
	if send, flush, err = b.sender(ctx, t.name, 5*time.Millisecond, lines); err != nil {
		return nil, err
	}
	defer flush()
	w := visible(topic{t.name, 6, narrow, fresh(0, besides+backlog)})
	if err := within(ctx, 5*time.Minute, glance, p, func() (bool, error) {
		done, err := w.done(ctx, conn)
		return done && err == nil, nil // the table may not be there yet
	}); err != nil {
		return nil, err
	}
	loading, endLoad := context.WithCancel(ctx)
	defer endLoad()
	beside := make(chan int, 1)
	go func() {
		beside <- background(loading, rate, func(id int64) { send(id + int64(backlog)) })
	}()
	lags := make(chan []float64, 1)
	go func() { lags <- watchLag(loading, url) }()
	var held []float64
	for range runs {
		near, cancel := context.WithTimeout(ctx, patience)
		said, _, err := b.runRebuild(near, t, url)
		late := near.Err() != nil && ctx.Err() == nil
		cancel()
		if late {
			say("    the stage does not come near to the live sink at %d events/s within %v", rate, patience)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if said.Changed > 0 {
			return nil, fmt.Errorf("a rebuild changed %d rows that were right", said.Changed)
		}
		say("    frozen for %.0f ms, after %.0f s", said.Frozen*1000, said.Seconds)
		held = append(held, said.Frozen*1000)
	}
	endLoad()
	sent := <-beside
	lag := <-lags
	if err := flush(); err != nil {
		return nil, err
	}
	if err := complete(ctx, conn, p, t.name, besides, backlog+sent); err != nil {
		return nil, err
	}
	pace := fmt.Sprintf("beside %d,%03d events/s", rate/1000, rate%1000)
	variant := "rebuild " + pace
	if lines {
		variant = fmt.Sprintf("rebuild of %d %s %s", backlog, withChildren, pace)
	}
	one := func(load string, v []float64) result {
		slices.Sort(v)
		at := func(q float64) float64 { return v[int(q*float64(len(v)-1)+0.5)] }
		return result{Who: "oncesink", Variant: variant, Load: load, Rows: len(v), Seconds: 1, P50: at(0.5), P99: at(0.99)}
	}
	return []result{one("frozen", held), one("lag", lag)}, nil
}

// watchLag samples how many milliseconds the last applied event of the slowest partition is old.
func watchLag(ctx context.Context, url string) (lags []float64) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return []float64{-1}
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return append(lags, 0)
		case <-tick.C:
		}
		var ms float64
		if conn.QueryRow(ctx, "select 1000 * extract(epoch from clock_timestamp() - min(last_timestamp))::float8 from oncesink.offsets where sink_group = 'bench'").Scan(&ms) == nil {
			lags = append(lags, ms)
		}
	}
}
