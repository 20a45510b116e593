package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// blockBytes is how much of a log is compressed at a time.
const blockBytes = 1 << 20

// Writer makes one file. It is not safe for concurrent use. The file appears with Finish; until then, or after Abort, there is none.
type Writer struct {
	a       *Archive
	source  Source
	first   int64 // the file's first offset
	from    int64 // and that of the block that is being filled
	next    int64 // the offset after what was added
	records int   // of the block
	log     []byte
	stored  []byte // the block before, compressed: its memory is used again
	look    func([]*kgo.Record)

	draft draft
	sum   hash.Hash
	foot  foot
	bytes int64 // that were written
}

// Begin makes a file that begins with an offset.
func (a *Archive) Begin(ctx context.Context, s Source, first int64) (*Writer, error) {
	if first < 0 || s.TopicID.IsZero() {
		return nil, fmt.Errorf("archive %s: from offset %d, with topic id %s: an offset and an id are needed", s.Partition, first, s.TopicID)
	}
	d, err := a.place.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin a file in the archive %s: %w", a.location, err)
	}
	w := &Writer{a: a, source: s, first: first, from: first, next: first, draft: d, sum: sha256.New()}
	w.foot.MinTime, w.foot.MaxTime = math.MaxInt64, math.MinInt64
	text, err := head{s.Cluster, s.Partition.Topic, s.TopicID.String(), s.Partition.Partition, first}.append()
	if err == nil {
		err = w.write(text)
	}
	if err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// Records adds records, whose offsets ascend and lie at or above those that were added before, and below next. All offsets below next are then held.
func (w *Writer) Records(records []*kgo.Record, next int64) error {
	for len(records) > 0 {
		n := 1
		for size := 0; n < len(records) && size < blockBytes; n++ {
			size += len(records[n].Key) + len(records[n].Value)
		}
		if records[0].Offset < w.next || records[n-1].Offset >= next {
			return fmt.Errorf("archive %s: offsets %d to %d after %d and below %d: they have to ascend", w.source.Partition, records[0].Offset, records[n-1].Offset, w.next, next)
		}
		for _, r := range records[:n] {
			w.foot.MinTime, w.foot.MaxTime = min(w.foot.MinTime, millis(r)), max(w.foot.MaxTime, millis(r))
		}
		w.log = encode(w.log, records[:n])
		w.records += n
		w.next = records[n-1].Offset + 1
		records = records[n:]
		if err := w.full(); err != nil {
			return err
		}
	}
	w.next = max(w.next, next)
	return nil
}

// full writes the block that is being filled if it is large enough.
func (w *Writer) full() error {
	if len(w.log) < blockBytes {
		return nil
	}
	return w.flush()
}

// Rest gives back the memory for a block that is not full, unless it is smaller than that: the block is written as it is.
func (w *Writer) Rest(most int) error {
	if len(w.log) < most {
		return nil
	}
	err := w.flush()
	w.log, w.stored = nil, nil
	return err
}

// Look has f see all records that come from now on, before they are in the file. They are valid until it returns. That costs time: otherwise nobody looks at what a broker sends.
func (w *Writer) Look(f func([]*kgo.Record)) { w.look = f }

// First is the file's first offset.
func (w *Writer) First() int64 { return w.first }

// Next is the offset after what was added.
func (w *Writer) Next() int64 { return w.next }

// Bytes is about how large the file is so far.
func (w *Writer) Bytes() int64 { return w.bytes }

// flush writes the block that is being filled.
func (w *Writer) flush() error {
	if len(w.log) == 0 {
		return nil
	}
	w.stored = w.a.enc.EncodeAll(w.log, w.stored[:0])
	stored := w.stored
	b := block{stored: len(stored), raw: len(w.log), first: w.from, end: w.next, records: w.records, sum: crc32.Checksum(stored, castagnoli)}
	if err := errors.Join(w.write(b.append()), w.write(stored)); err != nil {
		return err
	}
	w.foot.Blocks++
	w.foot.Records += int64(w.records)
	w.foot.LogBytes += int64(len(w.log))
	w.log, w.records, w.from = w.log[:0], 0, w.next
	return nil
}

func (w *Writer) write(b []byte) error {
	w.sum.Write(b)
	n, err := w.draft.Write(b)
	w.bytes += int64(n)
	if err != nil {
		return &writeError{w.a.location, err}
	}
	return nil
}

// writeError is an error of where drafts are written.
type writeError struct {
	location string
	err      error
}

func (e *writeError) Error() string {
	return fmt.Sprintf("write into the archive %s: %v", e.location, e.err)
}
func (e *writeError) Unwrap() error { return e.err }

// IsWrite reports whether an error of a Writer is of the archive, such as a full disk, and not of the records.
func IsWrite(err error) bool {
	var e *writeError
	return errors.As(err, &e)
}

// Finish has the file appear, whole and durable. It is an error if nothing was added, or if there is a file of that name.
func (w *Writer) Finish(ctx context.Context) (File, error) {
	f := File{TopicID: w.source.TopicID, Partition: w.source.Partition, First: w.first, End: w.next}
	err := w.finish(ctx, f.Name())
	f.Bytes = w.bytes
	if err != nil {
		w.Abort()
		return File{}, fmt.Errorf("write %s into the archive %s: %w", f.Name(), w.a.location, err)
	}
	return f, nil
}

func (w *Writer) finish(ctx context.Context, name string) error {
	if w.next == w.first {
		return errors.New("nothing is in it")
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.foot.Records == 0 {
		w.foot.MinTime, w.foot.MaxTime = -1, -1
	}
	w.foot.End, w.foot.SHA256 = w.next, hex.EncodeToString(w.sum.Sum(nil))
	text, err := w.foot.append()
	if err != nil {
		return err
	}
	if err := w.write(text); err != nil {
		return err
	}
	return w.draft.publish(ctx, name)
}

// Abort leaves nothing behind. After Finish it does nothing.
func (w *Writer) Abort() { w.draft.discard() }
