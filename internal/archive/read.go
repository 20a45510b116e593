package archive

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// readFile yields the records of a file at and above an offset. more is false if yield returned false.
func (a *Archive) readFile(ctx context.Context, f File, from int64, yield func([]*kgo.Record) bool) (more bool, err error) {
	err = a.blocks(ctx, f, from, func(r *fileReader) (bool, error) {
		records, rest, err := r.block(from)
		more = err == nil && (len(records) == 0 || yield(records))
		return rest && more, err
	})
	return more && err == nil, err
}

// blocks calls next for each block of a file, from the one with an offset on or from one before it, until it returns false or an error. Each call reads one from r.
func (a *Archive) blocks(ctx context.Context, f File, from int64, next func(r *fileReader) (more bool, err error)) error {
	at := a.marks.before(f, from)
	in, err := a.place.open(ctx, f.Name(), at.byte)
	if err != nil {
		return fmt.Errorf("read %s: %w", a.path(f), err)
	}
	defer in.Close()
	r := newFileReader(in, a.dec, f)
	r.note = func(m mark) { a.marks.add(f, m) }
	if at.byte > 0 {
		r.read, r.next, r.within = at.byte, at.offset, true
	} else if err := r.head(); err != nil {
		return a.damaged(f, err)
	}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		begun := r.next
		more, err = next(r)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil && at.byte > 0 && begun == at.offset: // another file of this name may have come in its place
			a.marks.forget(f)
			return a.blocks(ctx, f, from, next)
		case err != nil:
			return a.damaged(f, err)
		}
	}
	return nil
}

// path is where a file lies, for people.
func (a *Archive) path(f File) string { return a.place.path(f.Name()) }

// unread is an error of the place, not of the file.
type unread struct{ error }

func (e unread) Unwrap() error { return e.error }

// damaged says what is wrong with a file, unless it could not be read to that point.
func (a *Archive) damaged(f File, err error) error {
	var place unread
	if errors.As(err, &place) {
		return fmt.Errorf("read %s: %w", a.path(f), place.error)
	}
	return &DamagedError{File: a.path(f), Problem: err.Error()}
}

// fileReader reads the frames of a file in order.
type fileReader struct {
	in      *bufio.Reader
	file    File
	next    int64 // the offset at which the next block begins
	records int64
	blocks  int64
	read    int64 // bytes
	dec     *zstd.Decoder
	sum     hash.Hash // of all before the last frame; nil: nobody wants to know
	cluster string
	end     foot
	note    func(mark) // where blocks begin; nil: nobody wants to know
	within  bool       // it was not read from its beginning
}

func newFileReader(in io.Reader, dec *zstd.Decoder, f File) *fileReader {
	return &fileReader{in: bufio.NewReaderSize(in, int(min(256<<10, f.Bytes+1))), dec: dec, file: f, next: f.First}
}

// take reads n bytes.
func (r *fileReader) take(n int) ([]byte, error) {
	out := make([]byte, n)
	got, err := io.ReadFull(r.in, out)
	r.read += int64(got)
	var place unread
	switch {
	case err == nil:
		return out, nil
	case errors.As(err, &place):
		return nil, err
	case err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, unread{err}
	case r.read < r.file.Bytes:
		return nil, unread{fmt.Errorf("%d of %d bytes came", r.read, r.file.Bytes)}
	}
	return nil, fmt.Errorf("it ends after %d bytes, within a frame", r.read)
}

// frame reads a skippable frame whole.
func (r *fileReader) frame() (magic uint32, frame []byte, err error) {
	lead, err := r.take(skippable)
	if err != nil {
		return 0, nil, err
	}
	size := binary.LittleEndian.Uint32(lead[4:])
	if size > maxText {
		return 0, nil, fmt.Errorf("the frame at byte %d has no length that makes sense", r.read-skippable)
	}
	rest, err := r.take(int(size))
	frame, magic = append(lead, rest...), binary.LittleEndian.Uint32(lead)
	if r.sum != nil && magic != footMagic {
		r.sum.Write(frame)
	}
	return magic, frame, err
}

func (r *fileReader) head() error {
	magic, frame, err := r.frame()
	if err != nil {
		return err
	}
	if magic != headMagic {
		return errors.New("it does not begin as a file of oncesink")
	}
	h, err := parseHead(frame)
	if err != nil {
		return err
	}
	r.cluster = h.Cluster
	return h.matches(r.file)
}

// block reads the next block, and returns its records at and above an offset. more is false if the file ends, as it should.
func (r *fileReader) block(from int64) (records []*kgo.Record, more bool, err error) {
	at := r.read
	magic, frame, err := r.frame()
	if err != nil {
		return nil, false, err
	}
	if magic == footMagic {
		return nil, false, r.foot(frame)
	}
	b, err := parseBlock(frame)
	if err != nil || magic != blockMagic {
		return nil, false, fmt.Errorf("the frame at byte %d is none that belongs there: %w", at, errors.Join(err, errChecksum))
	}
	if b.first != r.next || b.end > r.file.End {
		return nil, false, fmt.Errorf("the block at byte %d has offsets %d to %d, after %d", at, b.first, b.end-1, r.next-1)
	}
	if r.note != nil {
		r.note(mark{b.first, at})
	}
	stored, err := r.take(b.stored)
	if err != nil {
		return nil, false, err
	}
	if crc32.Checksum(stored, castagnoli) != b.sum {
		return nil, false, fmt.Errorf("the block at byte %d, with offsets %d to %d, has another checksum", at, b.first, b.end-1)
	}
	if r.sum != nil {
		r.sum.Write(stored)
	}
	r.next, r.records, r.blocks = b.end, r.records+int64(b.records), r.blocks+1
	if b.end <= from {
		return nil, true, nil
	}
	if records, err = r.decode(stored, b, from); err != nil {
		return nil, false, fmt.Errorf("the block at byte %d, with offsets %d to %d: %w", at, b.first, b.end-1, err)
	}
	return records, true, nil
}

// decode decompresses a block.
func (r *fileReader) decode(stored []byte, b block, from int64) ([]*kgo.Record, error) {
	raw, err := r.dec.DecodeAll(stored, make([]byte, 0, b.raw))
	if err != nil {
		return nil, err
	}
	if len(raw) != b.raw {
		return nil, fmt.Errorf("%d bytes of the log instead of %d", len(raw), b.raw)
	}
	p := &kmsg.FetchResponseTopicPartition{Partition: r.file.Partition.Partition, RecordBatches: raw}
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: max(from, b.first), Topic: r.file.Partition.Topic, Partition: r.file.Partition.Partition, DisableCRCValidation: true,
	}, p, kgo.DefaultDecompressor(), nil)
	if got.Err != nil {
		return nil, got.Err
	}
	if n := len(got.Records); n > 0 && (got.Records[0].Offset < b.first || got.Records[n-1].Offset >= b.end) || n > b.records || from <= b.first && n != b.records {
		return nil, fmt.Errorf("it has %d records, of which %d are within its offsets", b.records, n)
	}
	return got.Records, nil
}

// foot compares the last frame with what the file had, and wants nothing after it.
func (r *fileReader) foot(frame []byte) error {
	f, err := parseFoot(frame)
	if err != nil {
		return err
	}
	r.end = f
	counted := f.Records == r.records && f.Blocks == r.blocks
	if f.End != r.file.End || !counted && !r.within || r.next > f.End {
		return fmt.Errorf("it has %d records in %d blocks up to offset %d, where its last frame says %d in %d up to %d", r.records, r.blocks, r.file.End, f.Records, f.Blocks, f.End)
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		if err != nil {
			return unread{err}
		}
		return errors.New("something follows its last frame")
	}
	return f.check(r.sum)
}
