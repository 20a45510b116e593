package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

// topicLog is a topic as the brokers have it.
type topicLog struct {
	id        string
	compacted bool
	stretches map[int32]kafka.Stretch // of partitions: what may be read
	reach     map[int32]kafka.Reach   // the same, with what an archive has
	missing   bool
}

// kafkaPatience is for how long a broker's errors are taken for ones that pass.
const kafkaPatience = time.Minute

// patiently calls f until it succeeds, with what is known of the topics read anew before each further attempt.
func (c *checker) patiently(ctx context.Context, f func() error) error {
	b := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(kafkaPatience)), ctx)
	return backoff.Retry(func() error {
		if c.topics == nil {
			if err := c.readTopics(ctx); err != nil {
				return err
			}
		}
		err := f()
		if err != nil {
			c.topics = nil
		}
		return passes(err)
	}, b)
}

// passes marks an error of an archive that another attempt would meet again.
func passes(err error) error {
	var lasting kafka.Lasting
	if errors.As(err, &lasting) {
		return backoff.Permanent(err)
	}
	return err
}

// readTopics asks the brokers where the logs begin and end, and what may be missing in between.
func (c *checker) readTopics(ctx context.Context) error {
	var names []string
	for _, f := range c.feeds {
		names = append(names, f.Topic)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	admin := c.admin()
	meta, err := admin.Metadata(ctx, names...)
	if err != nil {
		return fmt.Errorf("read the topics: %w", err)
	}
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return fmt.Errorf("list end offsets: %w", err)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return fmt.Errorf("read the topics' configuration: %w", err)
	}
	topics := map[string]topicLog{}
	for _, name := range names {
		t := meta.Topics[name]
		if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			topics[name] = topicLog{missing: true}
			continue
		}
		if t.Err != nil {
			return fmt.Errorf("read topic %s: %w", name, t.Err)
		}
		l := topicLog{stretches: map[int32]kafka.Stretch{}, reach: map[int32]kafka.Reach{}}
		if id := offsets.Token(t.ID); !id.IsZero() {
			l.id = id.String()
		}
		conf, err := configs.On(name, nil)
		if err = errors.Join(err, conf.Err); err != nil {
			return fmt.Errorf("read the configuration of topic %s, to know whether it is compacted: %w", name, err)
		}
		for _, kv := range conf.Configs {
			if kv.Key == "cleanup.policy" {
				l.compacted = strings.Contains(kv.MaybeValue(), "compact")
			}
		}
		for n, p := range t.Partitions {
			start, ok1 := starts.Lookup(name, n)
			end, ok2 := ends.Lookup(name, n)
			if err := errors.Join(p.Err, start.Err, end.Err); err != nil || !ok1 || !ok2 {
				return fmt.Errorf("read partition %s/%d: %w", name, n, cmp.Or(err, errors.New("no answer")))
			}
			l.stretches[n] = kafka.Stretch{Topic: name, TopicID: t.ID, Partition: n, Leader: p.Leader, From: start.Offset, To: end.Offset}
		}
		for _, f := range c.feeds {
			s, ok := l.stretches[f.Partition.Partition]
			if f.Topic != name || !ok {
				continue
			}
			var err error
			if l.reach[f.Partition.Partition], err = kafka.ReachOf(ctx, c.Archive, s.TopicID, f.Partition, s.From, s.To); err != nil {
				return err
			}
		}
		topics[name] = l
	}
	c.topics = topics
	return nil
}

// stretch is what can be read of the feed's partition; none, and why, if it is another topic by now.
func (c *checker) stretch(f *feed) (s kafka.Stretch, ok bool) {
	l := c.topics[f.Topic]
	s, ok = l.stretches[f.Partition.Partition]
	return s, ok && (l.id == "" || f.topicID == "" || l.id == f.topicID)
}

// archived is what the archive alone has of the feed's partition: from <= offset < to.
func (c *checker) archived(f *feed) (from, to int64) {
	r := c.topics[f.Topic].reach[f.Partition.Partition]
	return r.First, max(r.First, min(r.Held, r.Start))
}

// lost reports whether neither the log nor the archive has an offset of the feed's topic any more.
func (c *checker) lost(f *feed, offset int64) bool {
	s, ok := c.stretch(f)
	first, held := c.archived(f)
	return !ok || offset < s.From && (offset < first || offset >= held)
}

// held are the ranges of offsets, from and to, of events of the feed that are in the table and can be read: in the archive, and in the log.
func (c *checker) held(f *feed) (ranges [][2]int64) {
	s, ok := c.stretch(f)
	if !ok {
		return nil
	}
	first, held := c.archived(f)
	for _, r := range [][2]int64{{max(first, f.first), min(held, f.next)}, {max(s.From, f.first), min(s.To, f.next)}} {
		if r[0] < r[1] {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

// at reads the records of a stretch at offsets that ascend, from the archive what lies below the log.
func (c *checker) at(ctx context.Context, f *feed, s kafka.Stretch, list []int64, take func(*kgo.Record)) error {
	below, _ := slices.BinarySearch(list, s.From)
	if from, to := c.archived(f); below > 0 && from < to {
		read, err := c.Archive.At(ctx, s.TopicID, f.Partition, list[:below], take)
		c.result.Archived += read
		if err != nil {
			return fmt.Errorf("read from the archive: %w", err)
		}
	}
	all, err := kafka.At(ctx, c.Client, s, list[below:], take)
	c.count(all)
	var silent *kafka.SilentError
	if errors.As(err, &silent) && c.topics[f.Topic].compacted {
		err = nil
	}
	return err
}

// place is where an event stands.
type place struct {
	source int32
	offset int64
}

// records are what stands at places.
type records struct {
	at   map[offsets.Partition][]*kgo.Record
	lost map[place]string // places of which no record can be had: why, "" if the log says that there is none
}

// fetch reads the records at places, of sources that feeds have.
func (c *checker) fetch(ctx context.Context, wanted []place) (*records, error) {
	byFeed := map[int32][]int64{}
	for _, w := range wanted {
		byFeed[w.source] = append(byFeed[w.source], w.offset)
	}
	r := &records{at: map[offsets.Partition][]*kgo.Record{}, lost: map[place]string{}}
	for source, list := range byFeed {
		slices.Sort(list)
		list = slices.Compact(list)
		f := c.bySource(source)
		var got []*kgo.Record
		err := c.patiently(ctx, func() (err error) {
			got = nil
			s, ok := c.stretch(f)
			if !ok {
				return nil
			}
			// The rows are newer than what is known of the log's end: their records were there before them.
			if list[len(list)-1] >= s.To {
				if err := c.readTopics(ctx); err != nil {
					return err
				}
				if s, ok = c.stretch(f); !ok {
					return nil
				}
			}
			return c.at(ctx, f, s, list, func(r *kgo.Record) { got = append(got, r) })
		})
		if err != nil {
			return nil, err
		}
		r.at[f.Partition] = got
		there := map[int64]bool{}
		for _, r := range got {
			there[r.Offset] = true
		}
		if len(got) == len(list) {
			continue
		}
		// The log may have been cut meanwhile.
		if err := c.patiently(ctx, func() error { return c.readTopics(ctx) }); err != nil {
			return nil, err
		}
		_, ok := c.stretch(f)
		for _, offset := range list {
			at := place{source, offset}
			switch {
			case there[offset]:
			case !ok:
				r.lost[at] = Source
			case c.lost(f, offset):
				r.lost[at] = Retention
			case c.topics[f.Topic].compacted:
				r.lost[at] = Compacted
			default:
				r.lost[at] = ""
			}
		}
	}
	return r, nil
}

// count adds what it took to read records.
func (c *checker) count(all kafka.Fetched) {
	t := &c.result.Tally
	t.Records, t.Bytes, t.Requests = t.Records+all.Records, t.Bytes+all.Bytes, t.Requests+all.Requests
}
