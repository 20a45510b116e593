package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// Held is a file, and what its last frame says of it.
type Held struct {
	File
	Records  int64
	LogBytes int64 // of the log, decompressed
	// From and To are the earliest and the latest time of its records; zero where there are none.
	From, To time.Time
}

func (f foot) of(file File) Held {
	h := Held{File: file, Records: f.Records, LogBytes: f.LogBytes}
	if f.MaxTime >= 0 {
		h.From, h.To = time.UnixMilli(max(f.MinTime, 0)), time.UnixMilli(f.MaxTime)
	}
	return h
}

// atOnce is how many files All asks for at a time.
const atOnce = 16

// Topics are all files, of one topic unless that is "", by topic, topic id, partition and offset. The names say it, no file is read.
func (a *Archive) Topics(ctx context.Context, topic string) ([]File, error) {
	return a.list(ctx, topic)
}

// All is Topics with what the files' last frames say.
func (a *Archive) All(ctx context.Context, topic string) ([]Held, error) {
	files, err := a.Topics(ctx, topic)
	if err != nil {
		return nil, err
	}
	out, errs := make([]Held, len(files)), make([]error, len(files))
	var asking sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for i, f := range files {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			out[i], errs[i] = a.last(ctx, f)
		})
	}
	asking.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// last reads a file's last frame.
func (a *Archive) last(ctx context.Context, f File) (Held, error) {
	const most = skippable + maxText
	content, err := a.place.tail(ctx, f.Name(), min(most, f.Bytes))
	if err != nil {
		return Held{}, fmt.Errorf("read %s: %w", a.path(f), err)
	}
	frame, err := lastFrame(content)
	if err == nil {
		var end foot
		if end, err = parseFoot(frame); err == nil {
			return end.of(f), nil
		}
	}
	return Held{}, a.damaged(f, err)
}

// Cluster reads from which cluster a file's records are.
func (a *Archive) Cluster(ctx context.Context, f File) (string, error) {
	in, err := a.place.open(ctx, f.Name(), 0)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", a.path(f), err)
	}
	defer in.Close()
	r := newFileReader(in, a.dec, f)
	if err := r.head(); err != nil {
		return "", a.damaged(f, err)
	}
	return r.cluster, nil
}

// Verify reads a file whole, and compares it with all that it says of itself: checksums, counts, its SHA-256. What is wrong is a *DamagedError.
func (a *Archive) Verify(ctx context.Context, f File) (Held, error) {
	in, err := a.place.open(ctx, f.Name(), 0)
	if err != nil {
		return Held{}, fmt.Errorf("read %s: %w", a.path(f), err)
	}
	defer in.Close()
	r := newFileReader(in, a.dec, f)
	r.sum = sha256.New()
	err = r.head()
	for more := true; err == nil && more; {
		if err = ctx.Err(); err == nil {
			_, more, err = r.block(f.First)
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return Held{}, ctx.Err()
	case err != nil:
		return Held{}, a.damaged(f, err)
	}
	return r.end.of(f), nil
}

// check compares the SHA-256 of what came before the last frame.
func (f foot) check(sum hash.Hash) error {
	if sum == nil || hex.EncodeToString(sum.Sum(nil)) == f.SHA256 {
		return nil
	}
	return fmt.Errorf("its SHA-256 is not the one that its last frame has")
}

// Partition is what an archive has of a partition of a topic of one id.
type Partition struct {
	TopicID   offsets.Token
	Partition offsets.Partition
	Spans     []Span // without gaps each
	Overlaps  []Span // offsets that more than one file has
	Files     int
	Bytes     int64
}

// Partitions sums up files as Topics returns them.
func Partitions(files []File) (out []Partition) {
	for len(files) > 0 {
		n := 1
		for n < len(files) && files[n].Partition == files[0].Partition && files[n].TopicID == files[0].TopicID {
			n++
		}
		p := Partition{TopicID: files[0].TopicID, Partition: files[0].Partition, Spans: Spans(files[:n]), Files: n}
		for i, f := range files[:n] {
			p.Bytes += f.Bytes
			for _, g := range files[:i] {
				if g.End > f.First {
					p.Overlaps = append(p.Overlaps, Span{f.First, min(f.End, g.End)})
				}
			}
		}
		out, files = append(out, p), files[n:]
	}
	return out
}

// tail reads the end of a stream whose size is known.
func tail(in io.Reader, n int64) ([]byte, error) {
	out := make([]byte, n)
	_, err := io.ReadFull(in, out)
	return out, err
}
