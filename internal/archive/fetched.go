package archive

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetched is what became of a fetch's answer.
type Fetched struct {
	Records int   // that were added
	Next    int64 // the offset to fetch from next; all below it are held
}

// Fetched adds what a broker has answered to a fetch from the offset after what was added before, at isolation level read_committed: its batches as
// they are, but not compressed; those of aborted transactions, and markers, are left out.
func (w *Writer) Fetched(p *kmsg.FetchResponseTopicPartition, d kgo.Decompressor) (Fetched, error) {
	aborts := slices.Clone(p.AbortedTransactions)
	slices.SortFunc(aborts, func(x, y kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Compare(x.FirstOffset, y.FirstOffset)
	})
	c := &copier{w: w, d: d, aborts: aborts, aborted: map[int64]bool{}}
	for in := p.RecordBatches; len(in) > batchFormat; {
		length := int(int32(binary.BigEndian.Uint32(in[batchLength:]))) + batchEpoch
		if length > len(in) {
			break // brokers cut the last one off
		}
		if length <= batchFormat {
			return c.did(), fmt.Errorf("a batch of %s has a length of %d", w.source.Partition, length)
		}
		if err := c.batch(in[:length]); err != nil {
			return c.did(), fmt.Errorf("a batch of %s, at offset %d: %w", w.source.Partition, int64(binary.BigEndian.Uint64(in)), err)
		}
		in = in[length:]
	}
	if len(p.RecordBatches) > 0 && !c.any {
		return c.did(), fmt.Errorf("the broker sent no whole batch of %s for offset %d", w.source.Partition, w.next)
	}
	return c.did(), nil
}

// copier takes batches of one answer.
type copier struct {
	w       *Writer
	d       kgo.Decompressor
	aborts  []kmsg.FetchResponseTopicPartitionAbortedTransaction // that begin further on
	aborted map[int64]bool                                       // producers, of which the next batches are of an aborted transaction
	records int
	any     bool
}

func (c *copier) did() Fetched { return Fetched{c.records, c.w.next} }

func (c *copier) batch(in []byte) error {
	c.any = true
	if in[batchFormat] < 2 { // of Kafka 0.10 and before; there is no transaction in it
		return c.again(in, int64(binary.BigEndian.Uint64(in))+1)
	}
	if in[batchFormat] > 2 || len(in) < batchHead {
		return fmt.Errorf("format %d is not known", in[batchFormat])
	}
	if crc32.Checksum(in[batchSummed:], castagnoli) != binary.BigEndian.Uint32(in[batchSum:]) {
		return errChecksum
	}
	first := int64(binary.BigEndian.Uint64(in))
	next := first + int64(int32(binary.BigEndian.Uint32(in[batchLastDelta:]))) + 1
	if next <= c.w.next {
		return nil
	}
	attributes, producer := binary.BigEndian.Uint16(in[batchAttributes:]), int64(binary.BigEndian.Uint64(in[batchProducer:]))
	for len(c.aborts) > 0 && c.aborts[0].FirstOffset < next {
		c.aborted[c.aborts[0].ProducerID] = true
		c.aborts = c.aborts[1:]
	}
	n := int(int32(binary.BigEndian.Uint32(in[batchCount:])))
	switch {
	case n < 0:
		return fmt.Errorf("it has %d records", n)
	case attributes&control != 0:
		if aborts, err := c.isAbort(in); err != nil {
			return err
		} else if aborts {
			delete(c.aborted, producer)
		}
	case n == 0 || attributes&transactional != 0 && c.aborted[producer]:
	case first < c.w.next:
		return c.again(in, next)
	default:
		return c.keep(in, next)
	}
	return c.w.Records(nil, next)
}

// keep adds a batch, decompressed.
func (c *copier) keep(in []byte, next int64) error {
	attributes := binary.BigEndian.Uint16(in[batchAttributes:])
	raw, err := c.d.Decompress(in[batchHead:], kgo.CompressionCodecType(attributes&compression))
	if err != nil {
		return err
	}
	w, start := c.w, len(c.w.log)
	w.log = append(append(w.log, in[:batchHead]...), raw...)
	if b := w.log[start:]; attributes&compression != 0 {
		binary.BigEndian.PutUint16(b[batchAttributes:], attributes&^compression)
		putLength(b)
	}
	least, most := int64(binary.BigEndian.Uint64(in[batchBaseTime:])), int64(binary.BigEndian.Uint64(in[batchMaxTime:]))
	if attributes&logAppendTime != 0 {
		least = most
	}
	w.foot.MinTime, w.foot.MaxTime = min(w.foot.MinTime, least), max(w.foot.MaxTime, most)
	if w.look != nil {
		got := c.decode(w.log[start:], false)
		if got.Err != nil {
			return got.Err
		}
		w.look(got.Records)
	}
	n := int(binary.BigEndian.Uint32(in[batchCount:]))
	w.records, c.records, w.next = w.records+n, c.records+n, next
	return w.full()
}

// again adds the records of a batch that can't be kept as it is.
func (c *copier) again(in []byte, next int64) error {
	got := c.decode(in, false)
	if got.Err != nil {
		return got.Err
	}
	c.records += len(got.Records)
	if c.w.look != nil {
		c.w.look(got.Records)
	}
	return c.w.Records(got.Records, max(next, c.w.next))
}

// isAbort reports whether a control batch aborts a transaction.
func (c *copier) isAbort(in []byte) (bool, error) {
	got := c.decode(in, true)
	if got.Err != nil || len(got.Records) == 0 { // compaction has left an empty one
		return false, got.Err
	}
	key := got.Records[0].Key
	if len(key) < 4 {
		return false, errors.New("a marker has no type")
	}
	return binary.BigEndian.Uint16(key[2:]) == 0, nil
}

func (c *copier) decode(in []byte, markers bool) kgo.FetchPartition {
	p := c.w.source.Partition
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: c.w.next, Topic: p.Topic, Partition: p.Partition, KeepControlRecords: markers},
		&kmsg.FetchResponseTopicPartition{Partition: p.Partition, RecordBatches: in}, c.d, nil)
	return got
}
