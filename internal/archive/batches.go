package archive

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What is in a block is what Kafka has in a segment of a log: record batches, of format 2, whose records are not compressed. Here they are made of
// records; batches that a broker sent are kept as they are.

// Where fields of a batch lie.
const (
	batchLength     = 8
	batchEpoch      = 12
	batchFormat     = 16
	batchSum        = 17
	batchSummed     = 21 // what the checksum is of begins here
	batchAttributes = 21
	batchLastDelta  = 23
	batchBaseTime   = 27
	batchMaxTime    = 35
	batchProducer   = 43
	batchCount      = 57
	batchHead       = 61 // then come the records

	// Of the attributes.
	compression   = 7
	logAppendTime = 1 << 3
	transactional = 1 << 4
	control       = 1 << 5
)

// batchBytes is about how large a batch is made.
const batchBytes = 64 << 10

// encode appends records, whose offsets ascend, as batches.
func encode(dst []byte, records []*kgo.Record) []byte {
	for len(records) > 0 {
		first, n := records[0], 0
		start, size, latest := len(dst), 0, int64(math.MinInt64)
		dst = append(dst, make([]byte, batchHead)...)
		for _, r := range records {
			if n > 0 && (size > batchBytes || r.LeaderEpoch != first.LeaderEpoch || r.Attrs.TimestampType() != first.Attrs.TimestampType() ||
				r.Offset-first.Offset > math.MaxInt32 || first.Attrs.TimestampType() == 1 && millis(r) != millis(first)) {
				break
			}
			before := len(dst)
			dst = encodeRecord(dst, r, first)
			size += len(dst) - before
			latest = max(latest, millis(r))
			n++
		}
		b := dst[start:]
		binary.BigEndian.PutUint64(b, uint64(first.Offset))
		binary.BigEndian.PutUint32(b[batchEpoch:], uint32(first.LeaderEpoch))
		b[batchFormat] = 2
		if first.Attrs.TimestampType() == 1 {
			binary.BigEndian.PutUint16(b[batchAttributes:], logAppendTime)
		}
		binary.BigEndian.PutUint32(b[batchLastDelta:], uint32(records[n-1].Offset-first.Offset))
		binary.BigEndian.PutUint64(b[batchBaseTime:], uint64(millis(first)))
		binary.BigEndian.PutUint64(b[batchMaxTime:], uint64(latest))
		for i := batchProducer; i < batchCount; i++ {
			b[i] = 0xff // no producer: id, epoch and sequence are -1
		}
		binary.BigEndian.PutUint32(b[batchCount:], uint32(n))
		putLength(b)
		records = records[n:]
	}
	return dst
}

// putLength sets a batch's length, and its checksum.
func putLength(batch []byte) {
	binary.BigEndian.PutUint32(batch[batchLength:], uint32(len(batch)-batchEpoch))
	sum(batch)
}

// sum sets a batch's checksum.
func sum(batch []byte) {
	binary.BigEndian.PutUint32(batch[batchSum:], crc32.Checksum(batch[batchSummed:], castagnoli))
}

func millis(r *kgo.Record) int64 {
	if r.Timestamp.IsZero() {
		return -1 // as Kafka has it for none
	}
	return r.Timestamp.UnixMilli()
}

func encodeRecord(dst []byte, r, first *kgo.Record) []byte {
	var room [64]byte
	lead := append(room[:0], 0) // attributes: none are defined
	lead = binary.AppendVarint(lead, millis(r)-millis(first))
	lead = binary.AppendVarint(lead, r.Offset-first.Offset)
	size := len(lead) + sizeOf(r.Key) + sizeOf(r.Value) + varintSize(int64(len(r.Headers)))
	for _, h := range r.Headers {
		size += varintSize(int64(len(h.Key))) + len(h.Key) + sizeOf(h.Value)
	}
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, lead...)
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = append(binary.AppendVarint(dst, int64(len(h.Key))), h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

// appendBytes appends bytes with their length, which is -1 for nil.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func sizeOf(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

func varintSize(v int64) int {
	var room [binary.MaxVarintLen64]byte
	return binary.PutVarint(room[:], v)
}
