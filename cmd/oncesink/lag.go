package main

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/kafka"
)

// What `oncesink status` spends on the next records of partitions with a lag: the rest is left unknown.
const (
	lookTimeout = 3 * time.Second
	lookMost    = 256 // partitions
	lookAtOnce  = 8
)

// lookAhead looks at the next record of each partition that has a lag, and tells what of it is to be applied, and since when it waits; and at the first record
// behind a transaction that is open.
func (s *session) lookAhead(ctx context.Context, all []partitionStatus) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	archive, err := s.archive(ctx)
	if err != nil {
		s.log.Warn("open the archive", "error", err) // what it has is left unknown
	}
	var looking sync.WaitGroup
	defer looking.Wait()
	room := make(chan struct{}, lookAtOnce)
	looks := 0
	for i := range all {
		p := &all[i]
		if p.Lag == nil || *p.Lag == 0 && *cmp.Or(p.Open, new(int64)) == 0 {
			continue
		}
		if looks++; looks > lookMost {
			return
		}
		topic := s.meta.Topics[p.Topic]
		stretch := kafka.Stretch{Topic: p.Topic, TopicID: topic.ID, Partition: p.Partition, Leader: topic.Partitions[p.Partition].Leader,
			From: p.Position, To: p.Position + *p.Lag}
		room <- struct{}{}
		looking.Go(func() {
			defer func() { <-room }()
			if p.Open != nil && *p.Open > 0 {
				if since, err := kafka.OpenSince(ctx, s.client, kafka.Stretch{Topic: stretch.Topic, TopicID: stretch.TopicID, Partition: stretch.Partition, Leader: stretch.Leader, To: p.stable}); err == nil && !since.IsZero() {
					seconds := max(0, time.Since(since).Seconds())
					p.OpenSeconds = &seconds
				}
			}
			if *p.Lag == 0 {
				return
			}
			if found, err := kafka.LookBelow(ctx, s.client, archive, stretch); err == nil {
				p.meets(found, stretch.To, time.Now())
			}
		})
	}
}

// meets tells the lag by the next record.
func (p *partitionStatus) meets(next kafka.Ahead, end int64, now time.Time) {
	lag, seconds := int64(0), 0.0
	switch {
	case next.None:
		p.LagSeconds = &seconds
	case !next.Time.IsZero():
		seconds = max(0, now.Sub(next.Time).Seconds())
		p.LagSeconds = &seconds
		fallthrough
	default:
		lag = end - next.Offset
	}
	p.Lag = &lag
}
