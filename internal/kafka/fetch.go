package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch asks the leader of a stretch, once, for so many bytes from an offset on, of which the first batch comes whole, at isolation level
// read_committed. Where there is nothing the broker waits for so long; it may have nothing to give yet although the log has records, as where these lie in tiered storage.
// throttled says that the broker's quota held it up. An error that the broker has for the partition is a *kerr.Error.
func Fetch(ctx context.Context, client *kgo.Client, s Stretch, from int64, bytes int32, wait time.Duration) (p *kmsg.FetchResponseTopicPartition, throttled bool, err error) {
	return fetch(ctx, client, s, from, bytes, wait, readCommitted)
}

// Isolation levels of a request.
const (
	readUncommitted int8 = iota
	readCommitted
)

func fetch(ctx context.Context, client *kgo.Client, s Stretch, from int64, bytes int32, wait time.Duration, isolation int8) (p *kmsg.FetchResponseTopicPartition, throttled bool, err error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.IsolationLevel = math.MaxInt32, isolation // the partition's bound is the one that counts: kfake forgets to tell aborted transactions at the other
	req.MaxWaitMillis, req.MinBytes = int32(wait.Milliseconds()), 1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = s.Topic, s.TopicID
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.Partition, partition.FetchOffset, partition.PartitionMaxBytes = s.Partition, from, bytes
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	answer, err := client.Broker(int(s.Leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, false, err
	}
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, false, errors.Join(errors.New("no answer for the partition"), kerr.ErrorForCode(resp.ErrorCode))
	}
	p = &resp.Topics[0].Partitions[0]
	return p, resp.ThrottleMillis > 0, errors.Join(kerr.ErrorForCode(resp.ErrorCode), kerr.ErrorForCode(p.ErrorCode))
}

// Decompressor is the client's own, with a bound of bytes on what one batch becomes. The error of a larger one is [kgo.ErrMaxDecompress].
func Decompressor(limit int) (kgo.Decompressor, error) {
	client, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(limit)) // it connects to nobody
	if err != nil {
		return nil, err
	}
	own, ok := client.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	client.Close()
	if !ok {
		return nil, errors.New("the client has no decompressor")
	}
	return bounded{own}, nil
}

type bounded struct{ kgo.Decompressor }

func (b bounded) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	out, err := b.Decompressor.Decompress(src, codec)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) { // the client does not know it for what it is
		err = fmt.Errorf("%w: %w", kgo.ErrMaxDecompress, err)
	}
	return out, err
}
