package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// nearBytes is how much one request of At asks for where the next record that is wanted is near. Where it is far, the batch of the
// first one is enough.
const nearBytes = 64 << 10

// near is up to how many offsets away the next record is near.
const near = 500

// Fetched is what it took to read records.
type Fetched struct{ Requests, Records, Bytes int64 }

// At reads the committed records that stand at the given offsets, which ascend, and calls take for each that is there. Offsets that lie
// outside of the stretch are left out. Those that lie near to each other share a request. It leaves no trace: the broker knows no reader.
func At(ctx context.Context, client *kgo.Client, s Stretch, offsets []int64, take func(*kgo.Record)) (all Fetched, err error) {
	for len(offsets) > 0 && offsets[0] < s.From {
		offsets = offsets[1:]
	}
	for len(offsets) > 0 && offsets[0] < s.To {
		from, most := offsets[0], int32(1)
		if len(offsets) > 1 && offsets[1]-from <= near {
			most = nearBytes
		}
		got, next, bytes, err := committed(ctx, client, s, from, most)
		if err != nil {
			return all, fmt.Errorf("read offset %d of %s/%d: %w", from, s.Topic, s.Partition, err)
		}
		all.Requests, all.Records, all.Bytes = all.Requests+1, all.Records+int64(len(got)), all.Bytes+bytes
		if bytes == 0 && next <= from {
			return all, &SilentError{s.Topic, s.Partition, from}
		}
		for _, r := range got {
			for len(offsets) > 0 && offsets[0] < r.Offset {
				offsets = offsets[1:]
			}
			if len(offsets) > 0 && offsets[0] == r.Offset {
				take(r)
			}
		}
		next = max(next, from+1)
		for len(offsets) > 0 && offsets[0] < next {
			offsets = offsets[1:]
		}
	}
	return all, nil
}

// Some reads committed records from the stretch's beginning on, one request's worth and n of them at most, and says where the next ones
// begin: that is the stretch's end where there are no more.
func Some(ctx context.Context, client *kgo.Client, s Stretch, n int) (got []*kgo.Record, next int64, all Fetched, err error) {
	got, next, bytes, err := committed(ctx, client, s, s.From, nearBytes*4)
	if err != nil {
		return nil, 0, all, fmt.Errorf("read %s/%d from offset %d: %w", s.Topic, s.Partition, s.From, err)
	}
	all = Fetched{1, int64(len(got)), bytes}
	if next <= s.From { // there is nothing more to be had
		next = s.To
	}
	if len(got) > n {
		got, next = got[:n], got[n].Offset
	}
	for len(got) > 0 && got[len(got)-1].Offset >= s.To {
		got = got[:len(got)-1]
	}
	return got, min(next, s.To), all, nil
}

// SilentError says that a broker gave nothing at an offset that lies below the last stable one. Where compaction took all
// that stood behind it, that is as it should be.
type SilentError struct {
	Topic     string
	Partition int32
	Offset    int64
}

func (e *SilentError) Error() string {
	return fmt.Sprintf("the broker gives nothing of %s/%d at offset %d, which lies below the end", e.Topic, e.Partition, e.Offset)
}

// committed is one request, for so many bytes; the first batch comes whole, whatever its size. It returns the records that are there for
// readers of committed ones, where the next request begins, and how many bytes came.
func committed(ctx context.Context, client *kgo.Client, s Stretch, from int64, most int32) ([]*kgo.Record, int64, int64, error) {
	p, throttled, err := Fetch(ctx, client, s, from, most, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	if len(p.RecordBatches) == 0 && throttled {
		return nil, 0, 0, errors.New("the broker's quota is used up")
	}
	bytes := int64(len(p.RecordBatches))
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: from, IsolationLevel: kgo.ReadCommitted(), Topic: s.Topic, Partition: s.Partition,
	}, p, kgo.DefaultDecompressor(), nil)
	return got.Records, next, bytes, got.Err
}
