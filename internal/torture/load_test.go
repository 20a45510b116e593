package torture

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/torture/checker"
)

// producer makes the row's own producer, which goes to the brokers past the wire and waits for all replicas.
func (r *rig) producer(opts ...kgo.Opt) {
	var err error
	r.client, err = kgo.NewClient(append([]kgo.Opt{kgo.DisableClientMetrics(), kgo.SeedBrokers(r.kafka.Brokers...), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(2000), kgo.ProducerBatchMaxBytes(900_000)}, opts...)...)
	r.must(err)
}

// event is one that is to be produced.
type event struct {
	kind      checker.Kind // default: an upsert
	key       int64
	partition int32  // -1: the key's
	version   int64  // 0: the next one
	raw       string // default: what the kind says
	noKey     bool   // the record has none
	null      bool   // the record has no value
	headers   []kgo.RecordHeader
}

// send produces an event, and records it once it is acknowledged. client is the row's own, or one with a transaction, whose producer
// records what it sends when it knows the outcome: record is nil then for the row's history.
func (r *rig) send(client *kgo.Client, e event, record func(checker.Op)) {
	if e.kind == "" {
		e.kind = checker.Upsert
	}
	if e.partition < 0 {
		e.partition = int32(e.key % int64(r.partitions))
	}
	if record == nil {
		record = func(op checker.Op) { r.history.Add(op) }
	}
	r.mu.Lock() // versions of a key are in the order of its log
	defer r.mu.Unlock()
	r.version++
	op := checker.Op{Kind: e.kind, Topic: r.name, Partition: e.partition, Key: e.key, Version: e.version, Begun: time.Since(r.began).Nanoseconds()}
	if op.Version == 0 {
		op.Version = r.version
	}
	rec := &kgo.Record{Topic: r.name, Partition: e.partition, Key: strconv.AppendInt(nil, e.key, 10), Headers: e.headers}
	if e.noKey {
		rec.Key = nil
	}
	switch {
	case e.raw != "":
		rec.Value = []byte(e.raw)
	case e.kind != checker.Tombstone && !e.null:
		op.Value = fmt.Sprintf("value %x of %d", r.version*2654435761, e.key)
		rec.Value, _ = json.Marshal(map[string]any{"id": e.key, "version": op.Version, "value": op.Value})
	}
	r.sent++
	client.Produce(context.Background(), rec, func(rec *kgo.Record, err error) {
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.answered++
			if err != nil {
				r.failed = fmt.Errorf("produce: %w", err)
			}
		}()
		if err != nil {
			return
		}
		op.Offset, op.Ended = rec.Offset, time.Since(r.began).Nanoseconds()
		record(op)
		if op.Kind != checker.Aborted {
			r.mu.Lock()
			r.last[rec.Partition] = max(r.last[rec.Partition], rec.Offset)
			r.mu.Unlock()
		}
	})
}

// produce produces n events of random keys, and waits until they are acknowledged.
func (r *rig) produce(n int) {
	r.Helper()
	for i := range n {
		r.send(r.client, event{key: 1 + r.rnd.Int64N(r.keys), partition: -1}, nil)
		if i%1000 == 999 {
			r.acknowledged() // a producer whose buffer is full would wait for acknowledgements, which wait for send
		}
	}
	r.acknowledged()
}

// acknowledged waits until as many events are acknowledged as were produced by now.
func (r *rig) acknowledged() {
	r.Helper()
	r.mu.Lock()
	sent := r.sent
	r.mu.Unlock()
	var err error
	r.eventually("records are acknowledged", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		err = r.failed
		return err != nil || r.answered >= sent
	})
	r.must(err)
}

// load produces events at a rate (a second) until it is stopped, or the row ends.
func (r *rig) load(rate int) (stop func()) {
	seed := r.rnd.Uint64()
	return r.background(func(ctx context.Context) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		at := seed
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for range max(1, rate/50) {
				at = at*6364136223846793005 + 1442695040888963407
				r.send(r.client, event{key: 1 + int64(at>>33)%r.keys, partition: -1}, nil)
			}
		}
	})
}

// positions of the row's topic, by partition.
func (r *rig) positions() map[int32]int64 {
	rows, err := r.db.Query(context.Background(), `select partition, next_offset from oncesink.offsets where sink_group = $1 and topic = $2`, r.name, r.name)
	if err != nil {
		return nil // the database is away
	}
	defer rows.Close()
	at := map[int32]int64{}
	for rows.Next() {
		var p int32
		var next int64
		if rows.Scan(&p, &next) != nil {
			return nil
		}
		at[p] = next
	}
	return at
}

// acked is where the logs end by what was acknowledged so far.
func (r *rig) acked() map[int32]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := map[int32]int64{}
	for p, offset := range r.last {
		ends[p] = offset + 1
	}
	return ends
}

// caughtUp tells whether all that was acknowledged so far is below the positions.
func (r *rig) caughtUp() bool { return reached(r.positions(), r.acked()) }

func reached(have, want map[int32]int64) bool {
	for p, next := range want {
		if have[p] < next {
			return false
		}
	}
	return true
}

// drain waits until the sink has caught up with what is acknowledged by now.
func (r *rig) drain() {
	r.Helper()
	r.acknowledged()
	want := r.acked() // more may come meanwhile
	r.eventually("caught up", func() bool { return reached(r.positions(), want) })
}

// moved waits until n more events lie below the positions.
func (r *rig) moved(n int64) {
	r.Helper()
	sum := func() (s int64) {
		for _, next := range r.positions() {
			s += next
		}
		return s
	}
	first := sum()
	r.eventually("the positions move", func() bool { return sum() >= first+n })
}

// recovered produces an event for each partition, and waits until all are written: since then the row has recovered. It takes down how long
// that was after since.
func (r *rig) recovered(since time.Time) {
	r.Helper()
	for p := range r.partitions {
		r.send(r.client, event{key: 1 + (int64(p)+r.keys*int64(r.partitions)-1)%int64(r.partitions), partition: -1}, nil)
	}
	r.drain()
	r.res.Recovery = append(r.res.Recovery, time.Since(since).Milliseconds())
}

// ends are where the logs end.
func (r *rig) ends() map[checker.Place]int64 {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.kafka.Brokers...), kgo.DisableClientMetrics())
	r.must(err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, r.name)
	r.must(err)
	r.must(listed.Error())
	ends := map[checker.Place]int64{}
	listed.Each(func(l kadm.ListedOffset) { ends[checker.Place{Topic: l.Topic, Partition: l.Partition}] = l.Offset })
	return ends
}

// reader reads some rows again and again, as an application would, and records what it saw.
func (r *rig) reader(ctx context.Context) {
	keys := []int64{1, 2, 3, 4, 5, 6}
	tick := time.NewTicker(cmp.Or(r.readEvery, 40*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		begun := time.Since(r.began).Nanoseconds()
		rows, err := r.db.Query(ctx, `select id, version from latest where id = any($1)`, keys)
		if err != nil {
			continue // the database is away
		}
		var ops []checker.Op
		for rows.Next() {
			op := checker.Op{Kind: checker.Read, Begun: begun}
			if rows.Scan(&op.Key, &op.Version) != nil {
				break
			}
			ops = append(ops, op)
		}
		rows.Close()
		if rows.Err() != nil {
			continue
		}
		ended := time.Since(r.began).Nanoseconds()
		for i := range ops {
			ops[i].Ended = ended
		}
		for _, key := range keys {
			if !slices.ContainsFunc(ops, func(op checker.Op) bool { return op.Key == key }) {
				ops = append(ops, checker.Op{Kind: checker.Read, Key: key, Begun: begun, Ended: ended})
			}
		}
		r.history.Add(ops...)
	}
}

// indent puts more keys below a section.
func indent(yaml string) string {
	if yaml == "" {
		return ""
	}
	return "\n  " + strings.ReplaceAll(strings.TrimSpace(yaml), "\n", "\n  ")
}

func replace(tables, topic string) string { return strings.ReplaceAll(tables, "TOPIC", topic) }
