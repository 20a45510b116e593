package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

// part is a partition that is archived. It belongs to one worker while it is busy, else to the loop.
type part struct {
	a      *archiver
	source archive.Source
	leader atomic.Int32
	end    int64 // up to which it is to be archived now
	did    Done

	w     *archive.Writer // of the file that is begun; nil: none is
	since time.Time       // when it was begun

	busy   bool
	last   time.Time // turn
	failed int       // turns in a row that failed
	after  time.Time // the next turn
}

// Bounds of the wait between turns that fail.
const (
	shortWait = 100 * time.Millisecond
	longWait  = 5 * time.Second
)

// stubborn is an error that is a partition's problem where it does not pass.
type stubborn struct{ error }

// patience is how often that is seen.
const patience = 8

// fetchWait is how long a broker may look for records that it does not have at hand.
const fetchWait = time.Second

// ready says whether a turn has something to do.
func (p *part) ready(now time.Time) bool {
	return !p.busy && p.did.Problem == nil && now.After(p.after) && (p.did.Next < p.end || p.old(now))
}

func (p *part) old(now time.Time) bool { return p.w != nil && now.Sub(p.since) >= p.a.FileAge }

// turn archives up to the end, or a file.
func (p *part) turn(ctx context.Context) {
	for p.did.Next < p.end && ctx.Err() == nil {
		err := p.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, new(stubborn)) && p.failed >= patience:
			p.leave(err)
			p.finish(ctx)
			return
		case err != nil:
			p.failed++
			p.after = time.Now().Add(min(shortWait<<min(p.failed, 10), longWait))
			p.a.Logger.Warn("a partition can't be read now: it is tried again", "partition", p.did.Partition.String(), "offset", p.did.Next, "error", err)
			p.a.lead(ctx, p)
			return
		case p.did.Problem != nil:
			p.finish(ctx)
			return
		}
		p.failed = 0
		if p.w != nil && p.w.Bytes() >= p.a.FileBytes {
			p.finish(ctx)
			return
		}
	}
	if p.old(time.Now()) {
		p.finish(ctx)
	}
	if p.w != nil {
		if err := p.w.Rest(buffered / int(p.a.known.Load())); err != nil {
			p.a.breaks(err)
		}
	}
}

// lead finds the leader anew.
func (a *archiver) lead(ctx context.Context, p *part) {
	ctx, cancel := context.WithTimeout(ctx, longWait)
	defer cancel()
	name := p.did.Partition
	meta, err := a.admin.Metadata(ctx, name.Topic)
	if err == nil {
		if at, ok := meta.Topics[name.Topic].Partitions[name.Partition]; ok && at.Err == nil {
			p.leader.Store(at.Leader)
		}
	}
}

// fetch archives what one request brings. Its error passes; what does not is the partition's problem.
func (p *part) fetch(ctx context.Context) error {
	s := kafka.Stretch{Topic: p.did.Partition.Topic, TopicID: p.source.TopicID, Partition: p.did.Partition.Partition, Leader: p.leader.Load()}
	answer, throttled, err := kafka.Fetch(ctx, p.a.Client, s, p.did.Next, p.a.FetchBytes, fetchWait)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return p.outOfRange(ctx)
	}
	if err != nil {
		return p.gone(ctx, err)
	}
	switch {
	case len(answer.RecordBatches) == 0 && throttled:
		return errors.New("the broker's quota is used up")
	case len(answer.RecordBatches) == 0: // that there is nothing it does not say
		err := fmt.Errorf("%s: the broker sends nothing from offset %d on, where its log goes up to %d", p.did.Partition, p.did.Next, p.end-1)
		if p.a.UntilEnd {
			err = stubborn{err}
		}
		return err
	}
	if p.w == nil {
		if p.w, err = p.a.Archive.Begin(ctx, p.source, p.did.Next); err != nil {
			p.a.breaks(err)
			return nil
		}
		p.since = time.Now()
		if p.a.Schemas.of(p.did.Partition.Topic) {
			p.w.Look(p.a.Schemas.see)
		}
	}
	got, err := p.w.Fetched(answer, p.a.decompressor)
	p.did.Next = got.Next
	p.did.Records += int64(got.Records)
	p.did.Fetched += int64(len(answer.RecordBatches))
	switch {
	case errors.Is(err, kgo.ErrMaxDecompress):
		p.leave(fmt.Errorf("%s: the batch at offset %d takes more than %d MiB when it is decompressed: raise limits.decompressed_bytes", p.did.Partition, got.Next, p.a.MaxDecompressedBytes>>20))
	case err != nil && archive.IsWrite(err):
		p.a.breaks(err)
	case err != nil:
		return stubborn{err}
	}
	return nil
}

// gone finds out whether the topic is there no more, or is another one. Then that is the partition's problem; other errors it returns.
func (p *part) gone(ctx context.Context, err error) error {
	name := p.did.Partition
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		p.leave(fmt.Errorf("%s: allow the user to read the topic (READ)", name))
		return nil
	case !errors.Is(err, kerr.UnknownTopicID) && !errors.Is(err, kerr.InconsistentTopicID) && !errors.Is(err, kerr.UnknownTopicOrPartition):
		return err
	}
	meta, unknown := p.a.admin.Metadata(ctx, name.Topic)
	if unknown != nil {
		return errors.Join(err, unknown)
	}
	topic := meta.Topics[name.Topic]
	if topic.Err == nil && offsets.Token(topic.ID) == p.source.TopicID || topic.Err != nil && !errors.Is(topic.Err, kerr.UnknownTopicOrPartition) {
		return errors.Join(err, topic.Err)
	}
	p.leave(fmt.Errorf("%s: the topic was deleted, or deleted and created again: a new one is archived apart, once the command is run again", name))
	return nil
}

// outOfRange says what is gone.
func (p *part) outOfRange(ctx context.Context) error {
	starts, err := p.a.admin.ListStartOffsets(ctx, p.did.Partition.Topic)
	if err != nil {
		return err
	}
	start, ok := starts.Lookup(p.did.Partition.Topic, p.did.Partition.Partition)
	switch {
	case !ok || start.Err != nil:
		return errors.Join(errors.New("the log's start is not known"), start.Err)
	case start.Offset <= p.did.Next:
		return p.beyondEnd(ctx)
	case !p.a.AcceptGap:
		p.leave(&GapError{p.did.Partition, p.did.Next, start.Offset - 1})
		return nil
	}
	p.a.Logger.Warn("the archive has a gap from here on", "partition", p.did.Partition.String(), "first", p.did.Next, "last", start.Offset-1)
	p.finish(ctx)
	p.did.Next = start.Offset
	return nil
}

// beyondEnd sees whether the log ends below what was read of it.
func (p *part) beyondEnd(ctx context.Context) error {
	ends, err := p.a.admin.ListEndOffsets(ctx, p.did.Partition.Topic)
	if err != nil {
		return err
	}
	end, ok := ends.Lookup(p.did.Partition.Topic, p.did.Partition.Partition)
	if !ok || end.Err != nil || end.Offset >= p.did.Next {
		return errors.Join(errors.New("the broker says that the offset is out of its range"), end.Err)
	}
	p.leave(lost(p.did.Partition, p.did.Next, end.Offset))
	return nil
}

// leave notes why the partition is archived no further.
func (p *part) leave(problem error) {
	p.did.Problem = problem
	p.a.Logger.Error("a partition is archived no further", "partition", p.did.Partition.String(), "offset", p.did.Next, "error", problem)
}

// finish has the file that is begun appear.
func (p *part) finish(ctx context.Context) {
	w := p.w
	if w == nil {
		return
	}
	p.w = nil
	ctx, cancel := p.a.lasting(ctx)
	defer cancel()
	if w.Next() == w.First() {
		w.Abort()
		return
	}
	if err := p.a.Schemas.keep(ctx); err != nil { // the records are archived nevertheless: they are what retention deletes
		p.a.Logger.Error("archive schemas: it is tried again with the next file", "error", err)
	}
	err := p.alone(ctx, w)
	if err == nil {
		var f archive.File
		if f, err = w.Finish(ctx); err == nil {
			p.did.Files++
			p.did.Bytes += f.Bytes
			p.a.Logger.Info("archived", "partition", p.did.Partition.String(), "first", f.First, "last", f.End-1, "bytes", f.Bytes)
			return
		}
	}
	w.Abort()
	p.a.breaks(err)
}

// alone sees that nobody else has written what is to be written.
func (p *part) alone(ctx context.Context, w *archive.Writer) error {
	files, err := p.a.Archive.Files(ctx, p.source.TopicID, p.did.Partition)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.End > w.First() {
			return fmt.Errorf("%s: the archive has got %s meanwhile: another `oncesink archive run` writes the same partition. Leave one of them; what it writes is whole", p.did.Partition, f.Name())
		}
	}
	return nil
}

// abort leaves nothing of the file that is begun.
func (p *part) abort() {
	if p.w != nil {
		p.w.Abort()
		p.w = nil
	}
}
