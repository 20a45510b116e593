package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// look is the ledger at one moment.
type look struct {
	rows    []offsets.Row
	applied int64 // sum of the positions: the topic begins at 0 and has no holes
}

// owned are the positions of the partitions that a process owns.
func (l look) owned(instance string) map[int32]int64 {
	at := map[int32]int64{}
	for _, r := range l.rows {
		if r.Instance == instance {
			at[r.Partition.Partition] = r.Position.Next
		}
	}
	return at
}

func (d *demo) look(ctx context.Context) (look, error) {
	rows, err := d.ledger.Rows(ctx)
	if err != nil {
		return look{}, err
	}
	l := look{rows: rows}
	for _, r := range rows {
		l.applied += r.Position.Next
		if r.Halted != "" {
			return l, fmt.Errorf("partition %s halted: %s", r.Partition, r.Halted)
		}
	}
	return l, nil
}

// until waits for a condition on the ledger, within a limit. It shows the
// progress, and ends early when a worker has ended.
func (d *demo) until(ctx context.Context, what string, limit time.Duration, met func(look) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s: not within %v", what, limit))
	defer cancel()
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := d.look(ctx)
		if err == nil {
			d.progress(l.applied)
			var ok bool
			if ok, err = met(l); ok && err == nil {
				return nil
			}
		}
		for _, w := range d.workers {
			err = errors.Join(err, w.alive())
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
}

// shared waits until both workers own partitions.
func (d *demo) shared(ctx context.Context) error {
	return d.until(ctx, "both workers own partitions", 40*time.Second, func(l look) (bool, error) {
		for _, w := range d.workers {
			if len(l.owned(w.instance)) == 0 {
				return false, nil
			}
		}
		return true, nil
	})
}

// wait waits until everything is sent.
func (f *flow) wait(ctx context.Context, d *demo) error {
	err := d.until(ctx, "all orders are sent", 60*time.Second, func(look) (bool, error) {
		select {
		case <-f.done:
			return true, nil
		default:
			return false, nil
		}
	})
	if err != nil {
		return err
	}
	return f.err
}

// drained waits until all positions are at the topic's end.
func (d *demo) drained(ctx context.Context, meanwhile func() error) error {
	ends, err := topicEnds(ctx, d.client)
	if err != nil {
		return err
	}
	return d.until(ctx, "every position is at the topic's end", 60*time.Second, func(l look) (bool, error) {
		if meanwhile != nil {
			if err := meanwhile(); err != nil {
				return false, err
			}
		}
		for _, r := range l.rows {
			if r.Position.Next < ends[r.Partition.Partition] {
				return false, nil
			}
		}
		return len(l.rows) == len(ends), nil
	})
}

// topicEnds returns the end offset of every partition.
func topicEnds(ctx context.Context, client *kgo.Client) (map[int32]int64, error) {
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, listed.Error()); err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}
