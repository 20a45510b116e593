package archive

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// draw makes records as the client reads them from a broker: offsets with holes, each timestamp type and leader epoch for a while.
func (r *rig) draw(rng *rand.Rand, first int64, n int) (out []*kgo.Record) {
	anyBytes := func(most int) []byte {
		switch rng.IntN(5) {
		case 0:
			return nil
		case 1:
			return []byte{}
		case 2:
			most *= 50
		}
		return bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(most))
	}
	epoch := int32(rng.IntN(3)) - 1
	for offset := first; n > 0; n-- {
		if rng.IntN(10) == 0 {
			epoch++
		}
		if rng.IntN(6) == 0 {
			offset += rng.Int64N(100)
		}
		if rng.IntN(50) == 0 {
			offset += 1 << 32 // compaction can leave such
		}
		k := &kgo.Record{Offset: offset, Key: anyBytes(20), Value: anyBytes(2000), LeaderEpoch: epoch, Timestamp: time.UnixMilli(rng.Int64N(1 << 42))}
		switch rng.IntN(20) {
		case 0:
			k.Timestamp = time.UnixMilli(-1)
		case 1:
			k.Value = bytes.Repeat([]byte("huge"), 500_000)
		}
		for range rng.IntN(4) {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: []string{"", "a", "b"}[rng.IntN(3)], Value: anyBytes(5)})
		}
		out = append(out, k)
		offset++
	}
	return r.asRead(rng, out)
}

// asRead is what the client makes of records that lie at a broker, some with the time of their arrival.
func (r *rig) asRead(rng *rand.Rand, records []*kgo.Record) (out []*kgo.Record) {
	for len(records) > 0 {
		n := min(1+rng.IntN(5), len(records))
		log := encode(nil, records[:n])
		if rng.IntN(3) == 0 { // a batch each, as those of the broker's time would be
			log = nil
			for _, k := range records[:n] {
				b := encode(nil, []*kgo.Record{k})
				b[batchAttributes+1] |= logAppendTime
				sum(b)
				log = append(log, b...)
			}
		}
		got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: r.s.Partition.Topic, Partition: r.s.Partition.Partition},
			&kmsg.FetchResponseTopicPartition{Partition: r.s.Partition.Partition, RecordBatches: log}, kgo.DefaultDecompressor(), nil)
		r.must(got.Err)
		if len(got.Records) != n {
			r.Fatalf("%d records of %d", len(got.Records), n)
		}
		out, records = append(out, got.Records...), records[n:]
	}
	return out
}

// same reports whether two records are: nil is not empty.
func same(x, y *kgo.Record) bool {
	return x.Topic == y.Topic && x.Partition == y.Partition && x.Offset == y.Offset && x.LeaderEpoch == y.LeaderEpoch && x.Timestamp.Equal(y.Timestamp) &&
		x.Attrs.TimestampType() == y.Attrs.TimestampType() && !y.Attrs.IsControl() &&
		reflect.DeepEqual(x.Key, y.Key) && reflect.DeepEqual(x.Value, y.Value) && reflect.DeepEqual(x.Headers, y.Headers)
}

// Records come back as they were written, whatever is in them, from any offset.
func TestRoundTrip(t *testing.T) {
	rng := random(t)
	onBoth(t, func(t *testing.T, r *rig) {
		next := rng.Int64N(1000)
		first := next
		var want []*kgo.Record
		for range 4 { // files
			begin := next
			w, err := r.a.Begin(t.Context(), r.s, begin)
			r.must(err)
			for range 1 + rng.IntN(3) {
				records := r.draw(rng, next, 30)
				want = append(want, records...)
				next = records[len(records)-1].Offset + 1 + rng.Int64N(2)*7 // up to a marker, or some
				r.must(w.Records(records, next))
			}
			_, err = w.Finish(t.Context())
			r.must(err)
		}
		next++
		r.file(next-1, next) // an aborted transaction alone
		if got := r.spans(); len(got) != 1 || got[0] != (Span{first, next}) {
			t.Fatalf("spans %v, want %d to %d", got, first, next)
		}
		for i := 0; i < 6; i++ {
			from := first
			if i > 0 {
				from = want[rng.IntN(len(want))].Offset + rng.Int64N(2)
			}
			got, err := r.read(from)
			r.must(err)
			expected := want
			for len(expected) > 0 && expected[0].Offset < from {
				expected = expected[1:]
			}
			if len(got) != len(expected) {
				t.Fatalf("from %d: %d records, want %d", from, len(got), len(expected))
			}
			for i := range got {
				if !same(expected[i], got[i]) {
					t.Fatalf("from %d:\n got %+v\nwant %+v", from, got[i], expected[i])
				}
			}
		}
	})
}

// What a broker sends is kept as it is, whatever it is compressed with, without what was aborted and without markers.
func TestBatchesOfABroker(t *testing.T) {
	r := newRig(t, t.TempDir(), Options{})
	next := int64(0)
	w, err := r.a.Begin(t.Context(), r.s, 0)
	r.must(err)
	var want []*kgo.Record
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		records := r.some(next, next+100)
		want = append(want, records...)
		next += 100
		c, err := kgo.DefaultCompressor(codec)
		r.must(err)
		b := encode(nil, records)
		packed, kind := b[batchHead:], kgo.CodecNone
		if c != nil {
			packed, kind = c.Compress(&bytes.Buffer{}, packed)
		}
		b = append(b[:batchHead:batchHead], packed...)
		b[batchAttributes+1] |= byte(kind)
		putLength(b)
		got, err := w.Fetched(&kmsg.FetchResponseTopicPartition{RecordBatches: b}, kgo.DefaultDecompressor())
		r.must(err)
		if got.Records != 100 || got.Next != next {
			t.Errorf("codec %d: %+v, want 100 records up to %d", kind, got, next)
		}
	}
	_, err = w.Finish(t.Context())
	r.must(err)
	got, err := r.read(0)
	r.must(err)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if !same(want[i], got[i]) {
			t.Fatalf("\n got %+v\nwant %+v", got[i], want[i])
		}
	}
}

// Offsets have to ascend.
func TestOrder(t *testing.T) {
	r := newRig(t, t.TempDir(), Options{})
	w, err := r.a.Begin(t.Context(), r.s, 10)
	r.must(err)
	defer w.Abort()
	if err := w.Records(r.some(9, 12), 12); err == nil {
		t.Error("an offset below the file's first is taken")
	}
	if err := w.Records(r.some(10, 12), 11); err == nil {
		t.Error("an offset at the end is taken")
	}
	r.must(w.Records(r.some(10, 12), 12))
	if err := w.Records(r.some(11, 13), 13); err == nil {
		t.Error("an offset is taken twice")
	}
	if _, err := r.write(10, 10); err == nil {
		t.Error("a file with nothing in it appears")
	}
	var none *NotHeldError
	if _, err := r.read(10); !errors.As(err, &none) {
		t.Errorf("of nothing: %v", err)
	}
}
