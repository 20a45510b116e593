package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/orders"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// newOrders is a job whose topic holds n events of the generator: several versions of each order,
// repeated and late ones, tombstones, and orders that come back after those.
func newOrders(t *testing.T, brokers []string, topic string, seed uint64, n int64) *job {
	t.Helper()
	j := &job{t: t, binary: binary(t), brokers: brokers, topic: topic, config: filepath.Join(t.TempDir(), "oncesink.yaml")}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	j.must(err)
	defer client.Close()
	_, err = orders.CreateTopic(t.Context(), client, topic, 4)
	j.must(err)
	sent, err := orders.Produce(t.Context(), client, orders.New(seed), orders.Feed{Topic: topic, Count: n})
	j.must(err)
	if sent != n {
		t.Fatalf("%d events sent, want %d", sent, n)
	}
	j.must(os.WriteFile(j.config, fmt.Appendf(nil, `
kafka: {brokers: ["%s"], group: %s-sink}
postgres: {url: "${DATABASE_URL}"}
limits: {batch_records: 500}
tables:
  - name: orders
    topic: %s
    key: [order_id]
    version: updated_at
    record_key: {order_id: $key}
    columns: {customer_id: customer.id, country: customer.country}
    create: |
      %s
`, strings.Join(brokers, `","`), topic, topic, strings.ReplaceAll(orders.CreateTable, "\n", "\n      ")), 0o600))
	url := testpg.URL(t)
	t.Setenv("DATABASE_URL", url)
	j.pool, err = pgxpool.New(t.Context(), url)
	j.must(err)
	t.Cleanup(j.pool.Close)
	j.run("init")
	return j
}

func (j *job) text(sql string, args ...any) (s string) {
	j.t.Helper()
	j.must(j.pool.QueryRow(j.t.Context(), sql, args...).Scan(&s))
	return s
}

func (j *job) exec(sql string, args ...any) {
	j.t.Helper()
	_, err := j.pool.Exec(j.t.Context(), sql, args...)
	j.must(err)
}

// read is how many offsets of the topic the group has applied.
func (j *job) read() (n int64) {
	j.t.Helper()
	j.must(j.pool.QueryRow(j.t.Context(), `select coalesce(sum(next_offset), 0) from oncesink.offsets`).Scan(&n))
	return n
}

// Rule 11: while the group reads its topic again, and again, a reader that asks for the whole table in
// one statement never sees it other than it was before.
func TestReplayIsInvisible(t *testing.T) {
	const events, replays = 12_000, 4
	kafka := testkafka.Real(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	j := newOrders(t, kafka.Brokers, kafka.Name("orders"), seed, events)
	p := start(t, j.command("run"))
	eventually(t, "everything is applied", func() bool { return j.read() == events })
	const remembered = `select string_agg(m::text, ';' order by m::text) from oncesink."public.orders deletes" m`
	before, rows := j.hash(), j.count()
	memory := j.text(remembered)
	// Every version of a row has its own transaction and place.
	const versions = `select string_agg(xmin::text || ctid::text, ';' order by order_id) from orders`
	physically := j.text(versions)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var samples atomic.Int64
	reader := make(chan error, 1)
	go func() { reader <- j.watch(ctx, before, &samples) }()
	for i := range replays {
		seen := samples.Load()
		out, err := j.command("replay", "--wait").CombinedOutput()
		if err != nil {
			t.Fatalf("replay %d: %v\n%s", i+1, err, out)
		}
		if !strings.Contains(string(out), "back where it stood") {
			t.Errorf("replay %d had nothing to read again:\n%s", i+1, out)
		}
		if samples.Load() == seen {
			t.Errorf("nobody looked at the table during replay %d", i+1)
		}
		// And one that is killed on its way, or just after it.
		j.kill(start(t, j.command("replay")), time.Duration(rnd.Int64N(int64(150*time.Millisecond))))
		eventually(t, "only the group is left in the database", func() bool {
			return j.text(`select (count(distinct application_name) = 1)::text from pg_stat_activity where datname = current_database() and application_name like 'oncesink%'`) == "true"
		})
		eventually(t, "everything is applied", func() bool { return j.read() == events })
	}
	stop()
	if err := <-reader; err != nil {
		t.Error(err)
	}
	if j.text(remembered) != memory {
		t.Error("the replays changed what is remembered of deleted orders")
	}
	if j.text(versions) != physically {
		t.Error("the replays wrote rows, even if with what was in them")
	}
	j.must(p.Process.Signal(syscall.SIGTERM))
	wait(t, p)
	t.Logf("%d samples of %d rows that were right, during %d replays of %d events", samples.Load(), rows, replays, events)
}

// watch compares the table with what it was, over and over, each time in one statement.
func (j *job) watch(ctx context.Context, want string, samples *atomic.Int64) error {
	conn, err := j.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for {
		var got string
		err := conn.QueryRow(ctx, `select md5(string_agg(o::text, E'\n' order by order_id)) from orders o`).Scan(&got)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if got != want {
			return errors.New("a reader saw the table as it was never meant to be")
		}
		samples.Add(1)
	}
}

// kill ends a process with SIGKILL after a while, and waits until it is gone from the database, too.
func (j *job) kill(p *process, after time.Duration) (early bool) {
	j.t.Helper()
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
		_ = p.Process.Kill()
		early = true
	case <-p.done:
	}
	<-p.done
	return early && p.ProcessState.ExitCode() == -1
}

// Rule 8: a replay that is killed has sent back all partitions or none, and one that runs after it
// leaves the ledger as a single one does; then the group reads on, and the table is what it was.
func TestReplayKilled(t *testing.T) {
	const events, points = 2000, 50
	broker := testkafka.Fake(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	j := newOrders(t, broker.ListenAddrs(), "orders", seed, events)
	j.run("run", "--until-end")
	hash := j.hash()
	const ledger = `select string_agg(concat_ws(' ', topic, partition, next_offset, first_offset, paused, halted, claim, topic_id, source), '; ' order by partition) from oncesink.offsets`
	stood := j.text(ledger)
	j.exec(`create table stood as select * from oncesink.offsets`)
	// forth is the group's work: everything is applied, again.
	const forth = `update oncesink.offsets o set next_offset = s.next_offset from stood s where (o.sink_group, o.topic, o.partition) = (s.sink_group, s.topic, s.partition)`
	began := time.Now()
	j.run("replay")
	took := time.Since(began)
	once := j.text(ledger)
	if once == stood || j.read() != 0 {
		t.Fatalf("a replay left the ledger at %s", once)
	}

	var tries, killed, none, all int
	for span := took; killed < points && tries < 2*points; tries++ {
		j.exec(forth)
		switch p := start(t, j.command("replay")); {
		case tries%5 == 0: // inside the transaction: it waits for the last row, with the others locked
			tx, err := j.pool.Begin(t.Context())
			j.must(err)
			_, err = tx.Exec(t.Context(), `select from oncesink.offsets where partition = 3 for update`)
			j.must(err)
			eventually(t, "the replay waits for a row, or is done", func() bool {
				return j.text(`select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')::text`) == "true" || ended(p)
			})
			if j.kill(p, 0) {
				killed++
			}
			j.must(tx.Rollback(t.Context()))
		default:
			// The time that a replay takes depends on what else runs: the kills keep to it.
			if j.kill(p, time.Duration(rnd.Int64N(int64(span)))) {
				killed++
				span = span * 11 / 10
			} else {
				span = span * 7 / 10
			}
		}
		eventually(t, "the server has noticed", func() bool {
			return j.text(`select exists (select from pg_stat_activity where datname = current_database() and application_name like 'oncesink%')::text`) == "false"
		})
		switch after := j.text(ledger); after {
		case stood:
			none++
		case once:
			all++
		default:
			t.Fatalf("try %d: the killed replay left the ledger at\n%s\nwant\n%s\nor\n%s", tries, after, stood, once)
		}
		j.run("replay")
		if after := j.text(ledger); after != once {
			t.Fatalf("try %d: replayed again, the ledger is\n%s\nwant\n%s", tries, after, once)
		}
	}
	t.Logf("%d of %d replays were killed: %d had sent back all partitions, %d none", killed, tries, all, none)
	if killed < points {
		t.Errorf("%d replays were killed on their way, want %d", killed, points)
	}
	j.run("run", "--until-end")
	const positions = `select string_agg(concat_ws(' ', topic, partition, next_offset, first_offset, paused, halted, topic_id, source), '; ' order by partition) from `
	if got, want := j.text(positions+"oncesink.offsets"), j.text(positions+"stood"); got != want {
		t.Errorf("read again, the ledger is\n%s\nwant\n%s", got, want)
	}
	if j.hash() != hash {
		t.Error("the replay changed the table")
	}
}

// ended reports whether a process has.
func ended(p *process) bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
