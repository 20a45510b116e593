package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testconnect"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// debeziumTimeout bounds each wait: Kafka Connect takes half a minute to start where others have the processors.
const debeziumTimeout = 4 * time.Minute

// replica is the whole of it: a source, Debezium, Kafka, and what is made of it.
type replica struct {
	t       *testing.T
	kafka   *testkafka.RealCluster
	server  *testpg.Server
	source  *testpg.Database
	worker  *testconnect.Worker
	offsets string // the file in which the worker notes how far its connectors are
	dml     *dml
	mirrors []*mirror
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := &replica{t: t, kafka: testkafka.Real(t), server: testpg.Start(t, "wal_level=logical")}
	r.source = testpg.Open(t, r.server.URL(), tables(columns, true)...)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r.source.Do(fmt.Sprintf("select setseed(%f)", rnd.Float64()))
	r.dml = &dml{db: r.source, rnd: rnd, keys: 40}
	dir := t.TempDir()
	r.offsets = filepath.Join(dir, "offsets")
	var err error
	if r.worker, err = testconnect.New(t.Context(), dir, r.kafka.Brokers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.worker.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Kafka Connect says:\n%s", r.worker.LogTail())
		}
	})
	return r
}

// topics makes a connector and its topics, of several partitions, with one of Debezium's settings or more.
func (r *replica) topics(base string, settings ...map[string]string) (prefix string) {
	r.t.Helper()
	prefix = strings.ReplaceAll(r.kafka.Name(base), "-", "_")
	for _, table := range []string{"items", "pairs"} {
		r.kafka.CreateTopicAgain(r.t, prefix+".public."+table, 3)
	}
	all, err := testconnect.Postgres(r.server.URL(), prefix)
	if err == nil {
		all["skipped.operations"] = "none"
		for _, s := range settings {
			maps.Copy(all, s)
		}
		err = r.worker.Add(prefix, all)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return prefix
}

// start starts Kafka Connect, which notes how far it is once in so many milliseconds: what was sent since is sent again after a kill.
func (r *replica) start(noteEvery int) {
	r.t.Helper()
	if err := r.worker.Start(map[string]string{"offset.flush.interval.ms": fmt.Sprint(noteEvery)}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) kill() {
	r.t.Helper()
	if err := r.worker.Kill(); err != nil {
		r.t.Fatal(err)
	}
}

// noted waits until Kafka Connect has just noted how far it is.
func (r *replica) noted() {
	r.t.Helper()
	began := time.Now()
	within(r.t, "Kafka Connect notes how far it is", func() bool {
		info, err := os.Stat(r.offsets)
		return err == nil && info.ModTime().After(began)
	})
}

// log reads all records of a topic that are there now.
func (r *replica) log(topic string) (records []*kgo.Record) {
	r.t.Helper()
	client := r.kafka.Client(r.t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), debeziumTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	behind := map[int32]bool{}
	ends.Each(func(o kadm.ListedOffset) {
		if begin, _ := starts.Lookup(topic, o.Partition); o.Offset > begin.Offset {
			behind[o.Partition] = true
		}
	})
	for len(behind) > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			r.t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			records = append(records, rec)
			if end, _ := ends.Lookup(topic, rec.Partition); rec.Offset >= end.Offset-1 {
				delete(behind, rec.Partition)
			}
		})
	}
	return records
}

// repeated counts events of a topic that were sent more than once, and withheld those that lack a value.
func (r *replica) repeated(topic string) (again, withheld int) {
	r.t.Helper()
	seen := map[string]bool{}
	for _, rec := range r.log(topic) {
		if rec.Value == nil {
			continue
		}
		var e struct {
			Payload struct {
				Op     string
				Source struct{ LSN json.Number }
			}
		}
		if err := json.Unmarshal(rec.Value, &e); err != nil {
			r.t.Fatal(err)
		}
		event := e.Payload.Op + string(e.Payload.Source.LSN) + string(rec.Key)
		if seen[event] {
			again++
		}
		seen[event] = true
		if strings.Contains(string(rec.Value), placeholder) {
			withheld++
		}
	}
	return again, withheld
}

const placeholder = "__debezium_unavailable_value"

// TestDebezium: what a real Debezium tells of a real PostgreSQL makes a table like the source's, while both are killed and started again; reading it
// all again changes nothing, and a rebuild puts right what somebody has changed.
func TestDebezium(t *testing.T) {
	r := newReplica(t)
	full := r.topics("full", map[string]string{"interval.handling.mode": "string"})
	first := r.mirror("plainest", full, how{topic: "{envelope: debezium}", truncates: refused, columns: columns})
	if testenv.Times(0, 1) == 1 {
		r.others(full)
	}
	n := testenv.Times(40, 300)
	r.dml.transactions(20) // a snapshot has them

	const noteEvery = 4000
	r.start(noteEvery)
	for _, m := range r.mirrors {
		m.start()
	}
	r.same("after the snapshot")
	again, withheld := 0, 0
	for range testenv.Times(1, 3) {
		// On a machine that is too slow everything may be noted between the last event and the kill.
		for before := again; again == before; again, withheld = r.repeated(full + ".public.items") {
			r.noted()
			r.dml.transactions(n)
			r.sameAs(first, "before a kill")
			r.kill() // what has come since is sent again
			r.dml.transactions(n / 4)
			r.start(noteEvery)
			r.sameAs(first, "after a kill")
		}
	}
	for _, m := range r.mirrors {
		m.stop(syscall.SIGKILL)
		r.dml.transactions(n / 4)
		m.start()
	}
	r.same("after everything was killed")
	t.Logf("%d events came again, %d lack a value", again, withheld)
	if withheld == 0 {
		t.Error("no event lacks a value: this proves nothing")
	}
	for _, m := range r.mirrors {
		m.unchanged()
		m.rebuilt()
	}
	r.same("after everything was read again")
	if testenv.Times(0, 1) == 1 {
		r.atLength()
	}
	r.withoutItsValues(first)
	r.truncated()
}

// withoutItsValues: an event of a row under another key lacks the large values that the statement left alone, and the row that has them goes by the event
// before. Nothing is made up: it is a dead letter, until the source writes them again.
func (r *replica) withoutItsValues(m *mirror) {
	r.t.Helper()
	r.source.Do("insert into items (id, big) values (901, repeat('x', 5000))")
	r.same("with a row more")
	r.source.Do("update items set id = 902 where id = 901")
	within(r.t, "the row under another key is a dead letter", func() bool {
		return m.Lines(`select count(*) from oncesink.dead_letters where code = 'ONS30' and convert_from(key, 'UTF8') like '%902%'`) == "1"
	})
	within(r.t, "the row is gone, whose deletion is in another partition", func() bool { return m.Lines("select count(*) from items where id in (901, 902)") == "0" })
	r.source.Do("update items set big = big || '' where id = 902")
	r.same("after the large value was written again")
}

// truncated: that a table was emptied by truncate at the source is a dead letter, or nothing; no row goes.
func (r *replica) truncated() {
	r.t.Helper()
	was := r.source.Lines("select count(*) from pairs")
	r.source.Do("truncate pairs")
	r.source.Do("insert into items (id) values (903)")
	for _, m := range r.mirrors {
		within(r.t, m.name+" has what came after the truncate", func() bool { return m.Lines("select count(*) from items where id = 903") == "1" })
		m.stop(syscall.SIGTERM)
		m.run("run", "--until-end", "--allow-dead-letters")
		m.Want(was, "select count(*) from pairs")
		m.Want(m.truncates, "select code, target from oncesink.dead_letters where target = 'public.pairs'")
	}
}

// within waits for a condition.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testenv.Eventually(t, debeziumTimeout, what, ok)
}
