// Package archiver moves the records of topics from Kafka into an archive.
//
// It has no state of its own: where a partition goes on is where its files end. Records are in memory, and in drafts that nobody sees, until
// a file is whole.
package archiver

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

// Config says what is archived, and within which bounds.
type Config struct {
	Archive *archive.Archive
	Client  *kgo.Client
	Topics  []string
	// FileBytes is about how large a file becomes, and FileAge how old one grows that is not so large. Default to 64 MiB and one hour.
	FileBytes int64
	FileAge   time.Duration
	// UntilEnd stops where the topics end at the start.
	UntilEnd bool
	// AcceptGap goes on where offsets are gone from the log that the archive does not have.
	AcceptGap bool
	// AtOnce is for how many partitions records are fetched at a time. Defaults to 4.
	AtOnce int
	// Schemas that records name are archived with them; nil: they are not.
	Schemas *Schemas
	// FetchBytes is how much is asked for at a time. Defaults to 4 MiB.
	FetchBytes int32
	// MaxDecompressedBytes bounds what one batch of the log becomes. Defaults to 64 MiB.
	MaxDecompressedBytes int
	// StopTimeout bounds how long the files that are begun may take at the end. Defaults to 20 s.
	StopTimeout time.Duration
	// Logger; nil discards.
	Logger *slog.Logger
}

// How often the ends of the topics are looked for, and how often their partitions.
const (
	endsInterval  = time.Second
	topicInterval = 30 * time.Second
)

// buffered bounds what partitions that are not fetched from keep in memory, all together, in bytes.
const buffered = 32 << 20

// BytesEach is about how much memory a partition takes that is fetched from, of batches that are no larger than what is asked for at a time.
const BytesEach = 16 << 20

// Done is what was archived of a partition.
type Done struct {
	Partition   offsets.Partition
	TopicID     offsets.Token
	First, Next int64 // offsets: First <= offset < Next
	Records     int64
	Files       int
	Bytes       int64 // of the files
	Fetched     int64 // bytes that the broker sent
	// Problem is why no more of it is; nil: nothing is wrong.
	Problem error
}

// archiver is one run.
type archiver struct {
	Config
	admin        *kadm.Client
	decompressor kgo.Decompressor
	parts        map[offsets.Partition]*part // of the loop alone
	known        atomic.Int32                // how many these are
	broken       chan error                  // of the archive; the first one ends the run
}

func newArchiver(c Config) (*archiver, error) {
	def(&c.FileBytes, 64<<20)
	def(&c.FileAge, time.Hour)
	def(&c.AtOnce, 4)
	def(&c.FetchBytes, 4<<20)
	def(&c.MaxDecompressedBytes, 64<<20)
	def(&c.StopTimeout, 20*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	d, err := kafka.Decompressor(c.MaxDecompressedBytes)
	if err != nil {
		return nil, err
	}
	return &archiver{Config: c, admin: kadm.NewClient(c.Client), decompressor: d, parts: map[offsets.Partition]*part{}, broken: make(chan error, 1)}, nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Plan says what a run that begins now would do, by topic and partition. It writes nothing.
func Plan(ctx context.Context, c Config) ([]Task, error) {
	a, err := newArchiver(c)
	if err != nil {
		return nil, err
	}
	tasks, _, err := a.plan(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Task, 0, len(tasks))
	for _, t := range tasks {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(x, y Task) int { return compare(x.Partition, y.Partition) })
	return out, nil
}

// Run archives until ctx ends, which is no error, or until the end. A partition that can't be archived is left, with its problem in the log and in what is done, and the others go
// on; then the error joins the problems. An error of the archive itself ends the run. Files that are begun are finished.
func Run(ctx context.Context, c Config) ([]Done, error) {
	a, err := newArchiver(c)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(a.Schemas.begin(ctx), a.extend(ctx)); err != nil {
		return nil, err
	}
	err = a.loop(ctx)
	var done []Done
	var problems []error
	var finishing sync.WaitGroup
	room := make(chan struct{}, a.AtOnce)
	for _, p := range a.parts {
		room <- struct{}{}
		finishing.Go(func() {
			defer func() { <-room }()
			if err == nil {
				p.finish(ctx)
			} else {
				p.abort()
			}
		})
	}
	finishing.Wait()
	if len(a.parts) > 0 && err == nil {
		keeping, cancel := a.lasting(ctx)
		defer cancel()
		err = a.Schemas.keep(keeping)
	}
	for _, p := range a.parts {
		done = append(done, p.did)
	}
	slices.SortFunc(done, func(x, y Done) int { return compare(x.Partition, y.Partition) })
	for _, d := range done {
		problems = append(problems, d.Problem)
	}
	select {
	case e := <-a.broken:
		err = errors.Join(err, e)
	default:
	}
	return done, errors.Join(append(problems, err)...)
}

// extend takes up partitions that are not known yet.
func (a *archiver) extend(ctx context.Context) error {
	tasks, meta, err := a.plan(ctx)
	if err != nil {
		return err
	}
	for name, t := range tasks {
		leader := meta.Topics[name.Topic].Partitions[name.Partition].Leader
		if p, ok := a.parts[name]; ok {
			p.leader.Store(leader)
			continue
		}
		p := &part{a: a, end: t.End, did: Done{Partition: name, TopicID: t.TopicID, First: t.Next, Next: t.Next}}
		p.leader.Store(leader)
		p.source = archive.Source{Cluster: meta.Cluster, TopicID: t.TopicID, Partition: name}
		a.parts[name] = p
		a.known.Add(1)
		if len(t.Earlier) > 0 && name.Partition == 0 {
			a.Logger.Info("the archive also has files of an earlier topic of this name, which stay apart", "topic", name.Topic, "topic_id", t.TopicID.String())
		}
		if n := len(t.Held); n > 0 && t.Held[n-1].End < t.Next {
			a.Logger.Warn("the archive has a gap from here on", "partition", name.String(), "first", t.Held[n-1].End, "last", t.Next-1)
		}
		if t.Problem != nil {
			p.leave(t.Problem)
		}
	}
	return nil
}

// loop has partitions archived in turns, until all is done.
func (a *archiver) loop(ctx context.Context) error {
	turns, done := make(chan *part), make(chan *part)
	var workers sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		close(turns)
		go func() {
			workers.Wait()
			close(done)
		}()
		for p := range done {
			p.busy = false
		}
	}()
	for range a.AtOnce {
		workers.Go(func() {
			for p := range turns {
				p.turn(working)
				done <- p
			}
		})
	}
	ends, topics := time.NewTicker(endsInterval), time.NewTicker(topicInterval)
	defer ends.Stop()
	defer topics.Stop()
	for {
		next := a.next()
		if next == nil && a.idle() && (a.UntilEnd || a.all(func(p *part) bool { return p.did.Problem != nil })) {
			return nil
		}
		give := turns
		if next == nil {
			give = nil
		}
		select {
		case give <- next:
			next.busy = true
		case p := <-done:
			p.busy, p.last = false, time.Now()
		case err := <-a.broken:
			return err
		case <-ends.C:
			a.look(ctx)
		case <-topics.C:
			if err := a.extend(ctx); err != nil && ctx.Err() == nil && !a.UntilEnd {
				a.Logger.Warn("look for the topics' partitions", "error", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// next is the partition that had its last turn longest ago, of those that have something to do.
func (a *archiver) next() (out *part) {
	now := time.Now()
	for _, p := range a.parts {
		if p.ready(now) && (out == nil || p.last.Before(out.last)) {
			out = p
		}
	}
	return out
}

// idle says that nobody is at work, nor waits to try again.
func (a *archiver) idle() bool {
	return a.all(func(p *part) bool { return !p.busy && (p.did.Problem != nil || p.did.Next >= p.end) })
}

func (a *archiver) all(of func(*part) bool) bool {
	for _, p := range a.parts {
		if !of(p) {
			return false
		}
	}
	return true
}

// look notes where the topics end now, unless they are read up to an end.
func (a *archiver) look(ctx context.Context) {
	if a.UntilEnd {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, 10*endsInterval)
	defer cancel()
	ends, err := a.admin.ListCommittedOffsets(bounded, a.Topics...)
	if err != nil && ctx.Err() == nil {
		a.Logger.Warn("look for the topics' ends", "error", err)
	}
	for name, p := range a.parts {
		if end, ok := ends.Lookup(name.Topic, name.Partition); ok && end.Err == nil && !p.busy {
			p.end = max(p.end, end.Offset)
		}
	}
}

// lasting is a context for what is to be done when ctx has ended, too, within the stop timeout then.
func (a *archiver) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(a.StopTimeout, cancel) })
	return out, func() {
		stop()
		cancel()
	}
}

// breaks ends the run.
func (a *archiver) breaks(err error) {
	select {
	case a.broken <- err:
	default:
	}
}

func compare(x, y offsets.Partition) int {
	return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
}
