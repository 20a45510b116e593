package orders

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// CreateTopic makes the topic, unless it is there; made says which. The brokers'
// default replication applies.
func CreateTopic(ctx context.Context, client *kgo.Client, topic string, partitions int32) (made bool, err error) {
	resp, err := kadm.NewClient(client).CreateTopic(ctx, partitions, -1, nil, topic)
	if err == nil {
		err = resp.Err
	}
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("create topic %s: %w", topic, err)
	}
	return true, nil
}

// Length returns how many records were ever appended to the topic: the sum of
// its end offsets. A topic that doesn't exist is an error.
func Length(ctx context.Context, client *kgo.Client, topic string) (int64, error) {
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return 0, fmt.Errorf("list end offsets of topic %s: %w", topic, err)
	}
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n, nil
}

// Feed says what Produce sends, and how fast.
type Feed struct {
	Topic string
	// Rate in events per second; 0 is as fast as the brokers take them.
	Rate float64
	// Count of events to send; 0 is without end.
	Count int64
	// Sent is told how many events the brokers have acknowledged so far, by one
	// goroutine at a time. It may be nil, and must not block.
	Sent func(total int64)
}

// Produce sends the generator's next events, keyed by order, until the count is
// reached or ctx ends, and then waits for what is on its way. An end of ctx is
// not an error; it returns how many events the brokers acknowledged.
func Produce(ctx context.Context, client *kgo.Client, g *Generator, feed Feed) (int64, error) {
	var (
		mu     sync.Mutex
		acked  int64
		failed error
	)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Records that were begun are finished, even after ctx: a hole in the sequence
	// would make a restarted generator repeat or skip events. So the wait for
	// room in the client's buffer, which only a record's context ends, is ours.
	room := make(chan struct{}, 5000)
	done := func(_ *kgo.Record, err error) {
		<-room
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			acked++
			if feed.Sent != nil {
				feed.Sent(acked)
			}
		case failed == nil:
			failed = err
			stop()
		}
	}
	p := newPacer(feed.Rate)
	for n := int64(0); feed.Count == 0 || n < feed.Count; n++ {
		if !p.wait(ctx) {
			break
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		e := g.Next()
		client.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: feed.Topic, Key: e.Key, Value: e.Value}, done)
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := client.Flush(flush)
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		err = failed
	}
	if err != nil {
		return acked, fmt.Errorf("produce to topic %s: %w", feed.Topic, err)
	}
	return acked, nil
}

// pacer lets events through at a rate, a few at a time.
type pacer struct {
	rate  float64
	began time.Time
	n     int64
}

func newPacer(rate float64) *pacer { return &pacer{rate: rate, began: time.Now()} }

// wait returns when the next event is due, or false when ctx has ended.
func (p *pacer) wait(ctx context.Context) bool {
	if p.rate > 0 {
		due := p.began.Add(time.Duration(float64(p.n) / p.rate * float64(time.Second)))
		if early := time.Until(due); early > 5*time.Millisecond {
			select {
			case <-time.After(early):
			case <-ctx.Done():
			}
		} else if early < -time.Second {
			p.began = p.began.Add(-early) // after a stall: on at the rate, without a burst
		}
	}
	p.n++
	return ctx.Err() == nil
}
