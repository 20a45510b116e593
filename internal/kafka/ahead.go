package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Stretch is a part of a partition's log: from a position up to the last stable offset, at the partition's leader.
type Stretch struct {
	Topic     string
	TopicID   [16]byte
	Partition int32
	Leader    int32
	From, To  int64
}

// Ahead is what a reader of a stretch meets first.
type Ahead struct {
	// None: there is no record. Nothing but markers of transactions, records of aborted ones and what compaction left of
	// others lies there.
	None bool
	// Offset and Time are of the first record. The time is zero if the record has none.
	Offset int64
	Time   time.Time
}

// lookBytes is how much one request of Look asks for. The first batch comes whole, whatever its size.
const lookBytes = 64 << 10

// maxLooks bounds the requests of one Look: behind so much of aborted transactions the first record is not looked for.
const maxLooks = 32

// errTooFar says that a Look gave up.
var errTooFar = errors.New("no record within the reach of a look")

// OpenSince is the time of the first record behind the last stable offset, where the stretch ends: what keeps readers of committed records from it is
// the transaction that it is part of, which is open at least since then. It is zero if there is no such record, or it has no time.
func OpenSince(ctx context.Context, client *kgo.Client, s Stretch) (time.Time, error) {
	p, _, err := fetch(ctx, client, s, s.To, 1, 0, readUncommitted)
	if err != nil {
		return time.Time{}, fmt.Errorf("look at %s/%d from offset %d: %w", s.Topic, s.Partition, s.To, err)
	}
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: s.To, IsolationLevel: kgo.ReadUncommitted(), Topic: s.Topic, Partition: s.Partition,
	}, p, kgo.DefaultDecompressor(), nil)
	if got.Err != nil || len(got.Records) == 0 {
		return time.Time{}, got.Err
	}
	return Record(got.Records[0]).Timestamp, nil
}

// Look finds out which record a reader of committed records meets first. It leaves no trace: the broker knows no reader.
// It asks once where a record is near, and is bounded by ctx.
func Look(ctx context.Context, client *kgo.Client, s Stretch) (Ahead, error) {
	from := s.From
	for range maxLooks {
		if from >= s.To {
			return Ahead{None: true}, nil
		}
		got, next, _, err := committed(ctx, client, s, from, lookBytes)
		if err != nil {
			return Ahead{}, fmt.Errorf("look at %s/%d from offset %d: %w", s.Topic, s.Partition, from, err)
		}
		switch {
		case len(got) > 0 && got[0].Offset >= s.To:
			return Ahead{None: true}, nil
		case len(got) > 0:
			first := Record(got[0])
			return Ahead{Offset: first.Offset, Time: first.Timestamp}, nil
		case next <= from: // the log has nothing more below its end
			return Ahead{None: true}, nil
		}
		from = next
	}
	return Ahead{}, errTooFar
}
