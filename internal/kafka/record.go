// Package kafka has the words of Kafka as the sink takes them, and looks at what lies ahead of a position.
package kafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/sink"
)

// noTimestamp is what Kafka has for a record without a time, in milliseconds since 1970.
const noTimestamp = -1

// Record is a record of the client as the sink takes it. Its slices are the record's own. A record
// without a time has the zero time.
func Record(r *kgo.Record) sink.Record {
	rec := sink.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Epoch: r.LeaderEpoch,
		Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Control: r.Attrs.IsControl(),
	}
	if r.Timestamp.UnixMilli() == noTimestamp {
		rec.Timestamp = time.Time{}
	}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, sink.Header{Key: h.Key, Value: h.Value})
	}
	return rec
}
