package archiver

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
)

var seed = flag.Uint64("seed", 0, "of the random tests; 0 draws one")

// random prints the seed of what it draws.
func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 1))
}

// rig is a topic, and an archive.
type rig struct {
	*testing.T
	brokers    []string
	topic      string
	partitions int32
	client     *kgo.Client
	admin      *kadm.Client
	location   string
	committed  map[int32][]*kgo.Record // what was written, by partition
}

func newRig(t *testing.T, brokers []string, topic string, partitions int32) *rig {
	r := &rig{T: t, brokers: brokers, topic: topic, partitions: partitions, location: t.TempDir(), committed: map[int32][]*kgo.Record{}}
	r.client = r.connect()
	r.admin = kadm.NewClient(r.client)
	r.create()
	return r
}

func (r *rig) create() {
	r.Helper()
	resp, err := r.admin.CreateTopic(r.Context(), r.partitions, 1, nil, r.topic)
	r.must(errors.Join(err, resp.Err))
}

func (r *rig) connect(opts ...kgo.Opt) *kgo.Client {
	r.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.brokers...), kgo.DisableClientMetrics(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(r.topic),
		kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	r.must(err)
	r.Cleanup(c.Close)
	return c
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) archive() *archive.Archive {
	r.Helper()
	a, err := archive.Open(r.Context(), r.location, archive.Options{})
	r.must(err)
	return a
}

func (r *rig) config() Config {
	return Config{Archive: r.archive(), Client: r.client, Topics: []string{r.topic}, FileBytes: 20 << 10, FetchBytes: 8 << 10, UntilEnd: true, Logger: slog.New(slog.DiscardHandler)}
}

// run archives up to the end.
func (r *rig) run() []Done {
	r.Helper()
	done, err := Run(r.Context(), r.config())
	r.must(err)
	return done
}

func (r *rig) id() offsets.Token {
	r.Helper()
	meta, err := r.admin.Metadata(r.Context(), r.topic)
	r.must(errors.Join(err, meta.Topics[r.topic].Err))
	return offsets.Token(meta.Topics[r.topic].ID)
}

// fill writes random records, of which some are of transactions, of which some abort, and notes those that are committed.
func (r *rig) fill(rng *rand.Rand, producer *kgo.Client, n int) {
	r.Helper()
	var mu sync.Mutex // of what producers call
	for n > 0 {
		many := 1 + rng.IntN(40)
		n -= many
		inTransaction := rng.IntN(2) == 0
		through := r.client
		if inTransaction {
			through = producer
			r.must(producer.BeginTransaction())
		}
		var written []*kgo.Record
		for range many {
			k := &kgo.Record{Partition: rng.Int32N(r.partitions), Value: []byte(strings.Repeat(fmt.Sprint(rng.Uint64()), 1+rng.IntN(30))), Key: fmt.Append(nil, rng.IntN(100)), Timestamp: time.UnixMilli(time.Now().UnixMilli() - rng.Int64N(1<<20))}
			if rng.IntN(10) == 0 {
				k.Key, k.Value = nil, []byte{}
				k.Headers = []kgo.RecordHeader{{Key: "h"}, {Key: "h", Value: []byte{}}}
			}
			through.Produce(r.Context(), k, func(k *kgo.Record, err error) {
				if err != nil {
					r.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				written = append(written, k)
			})
		}
		r.must(through.Flush(r.Context()))
		commit := true
		if inTransaction {
			commit = rng.IntN(2) == 0
			r.must(producer.EndTransaction(r.Context(), kgo.TransactionEndTry(commit)))
		}
		if commit {
			for _, k := range written {
				r.committed[k.Partition] = append(r.committed[k.Partition], k)
			}
		}
	}
}

// settled waits for the markers of transactions.
func (r *rig) settled() (ends map[int32]int64) {
	r.Helper()
	testenv.Eventually(r.T, time.Minute, "markers of all transactions", func() bool {
		stable, err1 := r.admin.ListCommittedOffsets(r.Context(), r.topic)
		last, err2 := r.admin.ListEndOffsets(r.Context(), r.topic)
		r.must(errors.Join(err1, err2))
		ends = map[int32]int64{}
		for p := range r.partitions {
			s, _ := stable.Lookup(r.topic, p)
			e, _ := last.Lookup(r.topic, p)
			if s.Offset != e.Offset {
				return false
			}
			ends[p] = e.Offset
		}
		return true
	})
	return ends
}

// compare wants the archive to hold what was written and committed, each once.
func (r *rig) compare(ends map[int32]int64) {
	r.Helper()
	a := r.archive()
	id := r.id()
	for p := range r.partitions {
		name := offsets.Partition{Topic: r.topic, Partition: p}
		first, end, ok, err := a.Span(r.Context(), id, name)
		if err != nil || ok != (ends[p] > 0) || first != 0 || end != ends[p] {
			r.Fatalf("%s: the span is %d to %d, %v, %v; want 0 to %d", name, first, end, ok, err, ends[p])
		}
		if !ok {
			continue
		}
		var got []*kgo.Record
		r.must(a.Read(r.Context(), id, name, 0, func(records []*kgo.Record) bool { got = append(got, records...); return true }))
		want := slices.SortedFunc(slices.Values(r.committed[p]), func(x, y *kgo.Record) int { return cmp.Compare(x.Offset, y.Offset) })
		if len(got) != len(want) {
			r.Fatalf("%s: %d records, want %d", name, len(got), len(want))
		}
		for i, w := range want {
			g := got[i]
			if g.Offset != w.Offset || !g.Timestamp.Equal(w.Timestamp) || g.LeaderEpoch < 0 ||
				!reflect.DeepEqual(g.Key, w.Key) || !reflect.DeepEqual(g.Value, w.Value) || !reflect.DeepEqual(g.Headers, w.Headers) {
				r.Fatalf("%s:\n got %+v\nwant %+v", name, g, w)
			}
		}
	}
	files, err := a.Topics(r.Context(), "")
	r.must(err)
	for _, p := range archive.Partitions(files) {
		if len(p.Spans) != 1 || len(p.Overlaps) != 0 {
			r.Errorf("%s: spans %v, overlaps %v", p.Partition, p.Spans, p.Overlaps)
		}
	}
	for _, f := range files {
		if _, err := a.Verify(r.Context(), f); err != nil {
			r.Error(err)
		}
	}
}

// What a reader of committed records is given is in the archive, each once, over any number of runs.
func TestArchived(t *testing.T) {
	test := func(t *testing.T, r *rig) {
		rng := random(t)
		producer := r.connect(kgo.TransactionalID(r.topic))
		for range 3 {
			r.fill(rng, producer, 500)
			r.settled()
			r.run()
		}
		ends := r.settled()
		for _, d := range r.run() { // again: nothing is left to do
			if d.Records != 0 || d.Files != 0 {
				t.Errorf("again: %+v", d)
			}
		}
		r.compare(ends)
	}
	t.Run("kfake", func(t *testing.T) { test(t, newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 3)) })
	t.Run("Apache Kafka", func(t *testing.T) {
		kafka := testkafka.Real(t)
		test(t, newRig(t, kafka.Brokers, kafka.Name("orders"), 3))
	})
}

// A process that is killed at any moment leaves whole files alone, and the next one goes on.
func TestKilled(t *testing.T) {
	rng := random(t)
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 3)
	producer := r.connect(kgo.TransactionalID(r.topic))
	r.fill(rng, producer, 3000)
	ends := r.settled()
	kills, want := 0, testenv.Times(4, 50)
	for tries := 0; kills < want; tries++ {
		if tries > 5*want {
			t.Fatalf("of %d processes %d were killed before they were done", tries, kills)
		}
		if r.child(rng) {
			kills++
		} else { // there is nothing left to do
			r.fill(rng, producer, 3000)
			ends = r.settled()
		}
		files, err := r.archive().Topics(t.Context(), "")
		r.must(err)
		for _, f := range files {
			if _, err := r.archive().Verify(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.run()
	r.compare(ends)
}

func TestMain(m *testing.M) {
	if brokers := os.Getenv(childBrokers); brokers != "" {
		os.Exit(archiveInChild(brokers))
	}
	os.Exit(testenv.Main(m))
}
