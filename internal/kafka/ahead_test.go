package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// onBoth runs a test against the fake broker, and against a real Apache Kafka.
func onBoth(t *testing.T, test func(t *testing.T, l *log)) {
	t.Run("kfake", func(t *testing.T) { test(t, newLog(t, testkafka.Fake(t).ListenAddrs(), "orders")) })
	t.Run("Apache Kafka", func(t *testing.T) {
		kafka := testkafka.Real(t)
		test(t, newLog(t, kafka.Brokers, kafka.Name("orders")))
	})
}

// log is a topic of one partition, and those who write to it.
type log struct {
	t        *testing.T
	topic    string
	client   *kgo.Client
	admin    *kadm.Client
	producer *kgo.Client // with transactions
}

func newLog(t *testing.T, brokers []string, topic string) *log {
	l := &log{t: t, topic: topic}
	var err error
	l.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic))
	l.must(err)
	t.Cleanup(l.client.Close)
	l.producer, err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.TransactionalID(topic))
	l.must(err)
	t.Cleanup(l.producer.Close)
	l.admin = kadm.NewClient(l.client)
	return l
}

func (l *log) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *log) create(config map[string]*string) {
	l.t.Helper()
	resp, err := l.admin.CreateTopic(l.t.Context(), 1, 1, config, l.topic)
	l.must(errors.Join(err, resp.Err))
}

func (l *log) produce(records ...*kgo.Record) {
	l.t.Helper()
	l.must(l.client.ProduceSync(l.t.Context(), records...).FirstErr())
}

// transact writes records in one transaction.
func (l *log) transact(end kgo.TransactionEndTry, n int) {
	l.t.Helper()
	l.must(l.producer.BeginTransaction())
	for i := range n {
		l.must(l.producer.ProduceSync(l.t.Context(), &kgo.Record{Key: fmt.Append(nil, "t", i), Value: []byte("t")}).FirstErr())
	}
	l.end(end)
}

// end ends the transaction, and waits for its marker, which Kafka writes a moment later.
func (l *log) end(end kgo.TransactionEndTry) {
	l.t.Helper()
	l.must(l.producer.EndTransaction(l.t.Context(), end))
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	l.must(testenv.Await(ctx, func() bool {
		stable, err1 := l.admin.ListCommittedOffsets(ctx, l.topic)
		ends, err2 := l.admin.ListEndOffsets(ctx, l.topic)
		l.must(errors.Join(err1, err2, stable.Error(), ends.Error()))
		s, _ := stable.Lookup(l.topic, 0)
		e, _ := ends.Lookup(l.topic, 0)
		return s.Offset == e.Offset
	}))
}

// stretch is the log from an offset to the last stable one.
func (l *log) stretch(from int64) Stretch {
	l.t.Helper()
	meta, err := l.admin.Metadata(l.t.Context(), l.topic)
	l.must(err)
	ends, err := l.admin.ListCommittedOffsets(l.t.Context(), l.topic)
	l.must(errors.Join(err, ends.Error()))
	end, _ := ends.Lookup(l.topic, 0)
	topic := meta.Topics[l.topic]
	return Stretch{Topic: l.topic, TopicID: topic.ID, Partition: 0, Leader: topic.Partitions[0].Leader, From: from, To: end.Offset}
}

func (l *log) look(from int64) Ahead {
	l.t.Helper()
	got, err := Look(l.t.Context(), l.client, l.stretch(from))
	l.must(err)
	return got
}

// The next record is the first that a reader of committed ones is given, and there is none behind the last of them.
func TestLook(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		l.create(nil)
		at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		l.produce(&kgo.Record{Value: []byte("0"), Timestamp: at}, &kgo.Record{Value: []byte("1"), Timestamp: at.Add(time.Minute)}, &kgo.Record{Value: []byte("2"), Timestamp: time.UnixMilli(-1)})
		l.transact(kgo.TryAbort, 3)                                                             // 3 to 5, marker 6
		l.transact(kgo.TryCommit, 1)                                                            // 7, marker 8
		l.produce(&kgo.Record{Value: []byte("9"), Timestamp: at}, &kgo.Record{Value: []byte{}}) // 9, 10
		l.transact(kgo.TryAbort, 2)                                                             // 11, 12, marker 13
		for from, want := range map[int64]int64{0: 0, 1: 1, 2: 2, 3: 7, 4: 7, 6: 7, 7: 7, 8: 9, 9: 9, 10: 10, 11: -1, 12: -1, 13: -1, 14: -1} {
			got := l.look(from)
			if got.None != (want < 0) || !got.None && got.Offset != want {
				t.Errorf("from %d: %+v, want %d", from, got, want)
			}
		}
		if got := l.look(1); !got.Time.Equal(at.Add(time.Minute)) {
			t.Errorf("the record's time is %v, want %v", got.Time, at.Add(time.Minute))
		}
		if got := l.look(2); !got.Time.IsZero() {
			t.Errorf("a record without a time has %v", got.Time)
		}

		// What an open transaction has is not there yet.
		l.must(l.producer.BeginTransaction())
		began := at.Add(10 * time.Minute)
		l.must(l.producer.ProduceSync(t.Context(), &kgo.Record{Value: []byte("open"), Timestamp: began}, &kgo.Record{Value: []byte("too")}).FirstErr())
		if got := l.look(14); !got.None {
			t.Errorf("a record of an open transaction is there: %+v", got)
		}
		if since, err := OpenSince(t.Context(), l.client, l.stretch(14)); err != nil || !since.Equal(began) {
			t.Errorf("it is open since %v (%v), want %v", since, err, began)
		}
		l.end(kgo.TryAbort)
		if since, err := OpenSince(t.Context(), l.client, l.stretch(14)); err != nil || !since.IsZero() {
			t.Errorf("no transaction is open since %v (%v)", since, err)
		}

		// Records that are gone.
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: l.topic, At: 2})
		resp, err := l.admin.DeleteRecords(t.Context(), o)
		l.must(errors.Join(err, resp.Error()))
		if got, err := Look(t.Context(), l.client, l.stretch(0)); !errors.Is(err, kerr.OffsetOutOfRange) {
			t.Errorf("below the log's start: %+v, %v", got, err)
		}
		// An archive has them, or some: a record, an offset without one, none that is looked for.
		a := shelf{spanned{first: 0, end: 2}, &kgo.Record{Offset: 0, Timestamp: at}}
		if got, err := LookBelow(t.Context(), l.client, a, l.stretch(0)); err != nil || got.Offset != 0 || !got.Time.Equal(at) {
			t.Errorf("in the archive: %+v, %v", got, err)
		}
		if got, err := LookBelow(t.Context(), l.client, a, l.stretch(1)); err != nil || got.None || got.Offset != 2 {
			t.Errorf("behind the archive's last record: %+v, %v", got, err)
		}
		if got, err := LookBelow(t.Context(), l.client, shelf{spanned: spanned{first: 1, end: 2}}, l.stretch(0)); !errors.Is(err, kerr.OffsetOutOfRange) {
			t.Errorf("below the archive: %+v, %v", got, err)
		}
	})
}

// A record behind many aborted ones is found, and one that is larger than a request asks for.
func TestLookFar(t *testing.T) {
	onBoth(t, func(t *testing.T, l *log) {
		l.create(nil)
		l.must(l.producer.BeginTransaction())
		for range 20 {
			l.producer.Produce(t.Context(), &kgo.Record{Value: make([]byte, 10<<10)}, func(_ *kgo.Record, err error) { l.must(err) })
			l.must(l.producer.Flush(t.Context()))
		}
		l.end(kgo.TryAbort)
		if got := l.look(0); !got.None {
			t.Errorf("of aborted records: %+v", got)
		}
		l.produce(&kgo.Record{Value: make([]byte, 5*lookBytes)})
		if got := l.look(0); got.None || got.Offset != 21 {
			t.Errorf("got %+v, want offset 21", got)
		}
	})
}

// A log whose records above the position were compacted away, up to an aborted transaction, has nothing to apply.
func TestLookAtCompacted(t *testing.T) {
	kafka := testkafka.Real(t)
	l := newLog(t, kafka.Brokers, kafka.Name("compacted"))
	text := func(s string) *string { return &s }
	l.create(map[string]*string{"cleanup.policy": text("compact"), "segment.ms": text("100"), "min.cleanable.dirty.ratio": text("0.0"),
		"delete.retention.ms": text("0"), "min.compaction.lag.ms": text("0"), "segment.bytes": text("1048576")})
	l.produce(&kgo.Record{Key: []byte("a"), Value: []byte("1")})
	for range 5 {
		l.produce(&kgo.Record{Key: []byte("b"), Value: []byte("1")}, &kgo.Record{Key: []byte("b")})
	}
	// A transaction rolls the segment, which the cleaner then takes; it leaves the first record alone.
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		l.transact(kgo.TryAbort, 1)
		if l.look(1).None {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the log is not compacted within 90 s: %+v", l.look(1))
		case <-tick.C:
		}
	}
	if got := l.look(0); got.None || got.Offset != 0 {
		t.Errorf("the record that is left: %+v", got)
	}
}
