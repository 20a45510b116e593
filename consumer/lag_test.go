package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The lag that Status tells is that of the next record to apply: nothing behind aborted transactions, and the age of the first
// record that waits where the partition is paused.
func TestLagOfStatus(t *testing.T) { onBoth(t, lagOfStatus) }

func lagOfStatus(t *testing.T, brokers []string, topic string) {
	r := newRig(t, brokers, topic, 2)
	producer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.TransactionalID(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	r.must(err)
	defer producer.Close()
	r.produce(0, 0, 10)
	abort := func() {
		r.must(producer.BeginTransaction())
		r.must(producer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(`{"id":99,"v":"x"}`)}).FirstErr())
		r.must(producer.EndTransaction(t.Context(), kgo.TryAbort))
	}
	abort()
	p := r.start()
	lag := func(partition int) string {
		for _, s := range p.Status() {
			if int(s.Partition) == partition {
				return fmt.Sprintf("%s %d %d", s.State, s.Lag, s.Behind/(10*time.Minute)) // of some minutes: 0; unknown: -0
			}
		}
		return ""
	}
	behind := func(partition int) time.Duration {
		for _, s := range p.Status() {
			if int(s.Partition) == partition {
				return s.Behind
			}
		}
		return -1
	}
	eventually(t, "there is no lag", func() bool {
		return lag(0) == "running 0 0" && behind(0) == 0 && lag(1) == "running 0 0" && behind(1) == 0
	})

	// A transaction is aborted while the partition is paused: there is still nothing to apply.
	r.exec(`select oncesink.pause($1, $2)`, group, topic)
	eventually(t, "it is paused", func() bool { return lag(0) == "paused 0 0" })
	abort()
	r.must(r.client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: 1, Value: []byte(`{"id":100,"v":"x"}`), Timestamp: time.Now().Add(-time.Hour)},
		&kgo.Record{Topic: topic, Partition: 1, Value: []byte(`{"id":101,"v":"x"}`)}).FirstErr())
	eventually(t, "the lag is told", func() bool { return lag(1) == "paused 2 6" })
	eventually(t, "nothing but an aborted transaction ahead is no lag", func() bool { return lag(0) == "paused 0 0" && behind(0) == 0 })
	r.exec(`select oncesink.resume($1, $2)`, group, topic)
	eventually(t, "there is no lag", func() bool { return lag(0) == "running 0 0" && lag(1) == "running 0 0" && behind(1) == 0 })
}
