package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// applied waits until so many events are applied.
func (d *demo) applied(ctx context.Context, n int64) error {
	return d.until(ctx, grouped(n)+" events are applied", 60*time.Second, func(l look) (bool, error) { return l.applied >= n, nil })
}

// compareLive compares the table and the counter with the topic, before any replay.
func (d *demo) compareLive(ctx context.Context) error {
	ends, err := topicEnds(ctx, d.client)
	if err != nil {
		return err
	}
	f, err := foldTopic(ctx, d.servers.brokers, topic, ends)
	if err != nil {
		return err
	}
	d.truth = f.rows()
	d.events = f.events
	if f.events != d.Orders {
		return fmt.Errorf("the topic holds %d events instead of %d: the comparison would prove nothing", f.events, d.Orders)
	}
	n, err := d.counter(ctx)
	if err != nil {
		return err
	}
	d.report.section("after the crash and the zombie")
	d.report.number("counter: one per event", f.events, n)
	if err := d.compareRows(ctx, true); err != nil {
		return err
	}
	d.say("compared with a fold of the topic by other code: %s rows", grouped(int64(len(d.truth))))
	return nil
}

// compareRows compares the table with what the topic says, row by row; full
// reports the sums, too.
func (d *demo) compareRows(ctx context.Context, full bool) error {
	table, err := readTable(ctx, d.pool)
	if err != nil {
		return err
	}
	want, got := summarize(d.truth), summarize(table)
	if full {
		d.report.number("rows", want.rows, got.rows)
		d.report.add("sum of amounts", money(want.cents), money(got.cents))
		d.report.add("hash of all rows", want.digest[:12], got.digest[:12])
	}
	found := differences(d.truth, table)
	d.report.number("rows that differ from the topic", 0, int64(len(found)))
	for _, x := range found[:min(3, len(found))] {
		d.note("%s", x)
	}
	if err := d.compareDerived(ctx); err != nil {
		return err
	}
	var dead int64
	if err := d.pool.QueryRow(ctx, "select count(*) from oncesink.dead_letters").Scan(&dead); err != nil {
		return fmt.Errorf("count dead letters: %w", err)
	}
	d.report.number("dead letters", 0, dead)
	return nil
}

// replay sends the running workers back to offset zero, over the full table, and
// compares again.
func (d *demo) replay(ctx context.Context) error {
	before, err := everything(ctx, d.pool)
	if err != nil {
		return err
	}
	counted, err := d.counter(ctx)
	if err != nil {
		return err
	}
	const rewind = "select oncesink.rewind('" + group + "', '" + topic + "', null, 0)"
	rows, err := d.pool.Query(ctx, rewind)
	if err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	moved, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	if len(moved) != partitions {
		return fmt.Errorf("rewind: %d partitions moved, want %d", len(moved), partitions)
	}
	began := time.Now()
	d.say("replay: %s", rewind)
	d.track("replayed", d.Orders, nil)
	var looks, changed int64
	err = d.drained(ctx, func() error {
		now, err := everything(ctx, d.pool)
		looks++
		if now != before {
			changed++
		}
		return err
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	d.say("the workers read all of it again, in %s; the table was looked at %d times meanwhile", seconds(took), looks)
	after, err := everything(ctx, d.pool)
	if err != nil {
		return err
	}
	n, err := d.counter(ctx)
	if err != nil {
		return err
	}
	d.report.section("after the replay from offset zero")
	d.report.add("hash of orders with their guard columns, items and sales", before[:12], after[:12])
	d.report.number(fmt.Sprintf("other hashes, in %d looks meanwhile", looks), 0, changed)
	if err := d.compareRows(ctx, false); err != nil {
		return err
	}
	d.report.number("counter: twice as much, by definition", 2*counted, n)
	return nil
}

func (d *demo) counter(ctx context.Context) (n int64, err error) {
	if err := d.pool.QueryRow(ctx, "select n from counter").Scan(&n); err != nil {
		return 0, fmt.Errorf("read the counter: %w", err)
	}
	return n, nil
}

// lesson says what the counter is there for.
func (d *demo) lesson() {
	d.plain(fmt.Sprintf(`
Every event counted once, through a crash, a zombie and a replay:
proved in %s.

Why did the counter double? A row says what is true of an order: writing it
again changes nothing, for it carries its version and its event's place, and an
event that is not newer writes nothing. A counter says how often something
happened. Live it is exact, through the crash and the zombie, because it moves
in the transaction that moves the positions. A replay makes it happen again, and
no guard can know better. A handler like that must not be declared replay-safe
(this demo lied, to show it): oncesink.rewind then refuses. The totals of
daily_sales did not double: a rollup follows what the rows are, and what they
were.`, seconds(time.Since(d.began))))
}
