package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
)

// takeoverBound is what a new owner may take, from the moment the old one
// stopped: the session timeout, a rebalance, the 3 s that a claim waits for a
// lock, and slack for a loaded machine.
const takeoverBound = sessionTimeout + 25*time.Second

// Rules 1 and 3: a member stopped past the session timeout holds up nobody for longer
// than the bound, commits nothing when it is woken, and does not take the
// partitions back by itself.
func TestZombie(t *testing.T) {
	kafka := testkafka.Real(t)
	for _, protocol := range []consumer.Protocol{consumer.Cooperative, consumer.KIP848} {
		for _, point := range []freezePoint{freezeBeforeBegin, freezeInTx, freezeInCopy, freezeInPipeline} {
			if protocol == consumer.KIP848 && point != freezeInTx {
				continue // the points differ in PostgreSQL, the protocols in Kafka: not every pair is worth its time
			}
			t.Run(fmt.Sprintf("%s, %s", protocol, point), func(t *testing.T) {
				t.Parallel()
				topic := kafka.CreateTopic(t, "orders", 2)
				db := newDatabase(t, topic)
				sp := spec{Brokers: kafka.Brokers, URL: db.url, Topic: topic, Group: topic + "-sink", Protocol: protocol}
				const first, second = 2000, 2000
				db.produce(kafka.Brokers, topic, 0, first)

				frozen := sp
				frozen.Freeze, frozen.FreezeID = point, first/2
				victim := startWorker(t, frozen)
				eventually(t, "the victim stops itself", victim.stopped)
				began := time.Now()
				fencesBefore := db.int(`select sum(fence_count) from oncesink.offsets where sink_group = $1`, sp.Group)
				startWorker(t, sp)
				db.produce(kafka.Brokers, topic, first, second)
				eventually(t, "the heir applies everything", func() bool {
					return db.int(`select count(*) from applied`) == first+second
				})
				took := time.Since(began)
				t.Logf("stopped %s: everything applied by the new owner %v after it started (session timeout %v)", point, took.Round(10*time.Millisecond), sessionTimeout)
				if took > takeoverBound {
					t.Errorf("the takeover took %v, the bound is %v", took, takeoverBound)
				}
				if got := db.int(`select sum(fence_count) from oncesink.offsets where sink_group = $1`, sp.Group); got <= fencesBefore {
					t.Errorf("no partition was claimed anew: the fault did not fire")
				}

				if err := victim.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the victim runs again", func() bool { return strings.Contains(victim.log.String(), "woken") })
				// It may get a partition back from the group, never by itself: what it claims
				// then, it claims after a join. Nothing may be applied twice either way.
				db.produce(kafka.Brokers, topic, first+second, 1000)
				eventually(t, "everything is applied", func() bool { return db.int(`select count(*) from applied`) == first+second+1000 })
				if got := db.int(`select count(*) from applied where n <> 1`); got != 0 {
					t.Errorf("%d events were applied more than once", got)
				}
				if got := db.int(`select count(*) from events`); got != first+second+1000 {
					t.Errorf("%d rows, want %d", got, first+second+1000)
				}
				if got := db.int(`select count(*) from scratch`); point == freezeInPipeline && got > 1 {
					t.Errorf("%d rows of the stopped pipeline", got)
				}
			})
		}
	}
}

// database is a target with a witness.
type database struct {
	t    *testing.T
	url  string
	pool *pgxpool.Pool
}

func newDatabase(t *testing.T, topic string) *database {
	t.Helper()
	db := &database{t: t, url: testpg.URL(t)}
	ctx := t.Context()
	var err error
	db.pool, err = pgxpool.New(ctx, db.url)
	db.must(err)
	t.Cleanup(db.pool.Close)
	_, err = db.pool.Exec(ctx, `create table events (id bigint primary key, v text);
		create table applied (partition int, "offset" bigint, n int not null, primary key (partition, "offset"));
		create table scratch (v text)`)
	db.must(err)
	conn, err := pgx.Connect(ctx, db.url)
	db.must(err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	db.must(offsets.Init(ctx, conn))
	db.must(schema.Init(ctx, conn, sinkConfig(topic)))
	return db
}

func (db *database) must(err error) {
	db.t.Helper()
	if err != nil {
		db.t.Fatal(err)
	}
}

func (db *database) int(sql string, args ...any) (n int64) {
	db.t.Helper()
	db.must(db.pool.QueryRow(db.t.Context(), sql, args...).Scan(&n))
	return n
}

// produce appends n events from id first on, keyed by id.
func (db *database) produce(brokers []string, topic string, first, n int) {
	db.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	db.must(err)
	defer client.Close()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		id := first + i
		recs[i] = &kgo.Record{Topic: topic, Key: fmt.Append(nil, id), Value: fmt.Appendf(nil, `{"id":%d,"v":"x"}`, id)}
	}
	db.must(client.ProduceSync(db.t.Context(), recs...).FirstErr())
}
