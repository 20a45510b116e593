package consumer

import (
	"context"
	"time"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

// lookInterval is how often the ends of the log are asked for where no fetch tells them: of partitions where nothing
// comes, or that are not fetched because they are paused or halted.
const lookInterval = 10 * time.Second

// maxLooks bounds how many partitions are looked at in an interval, so that a thousand that are paused cost little.
const maxLooks = 16

// lookAhead is what a look found between a position and an end.
type lookAhead struct {
	from, to int64
	kafka.Ahead
	looked bool
}

// hears notes the last stable offset that came with records.
func (l *lane) hears(end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end >= 0 {
		l.end, l.heard = end, true
	}
}

// lag is how many offsets lie ahead of the position, and the age of the record that is next; both are negative where they are not
// known. It is called under the lane's lock.
func (l *lane) lag(now time.Time) (records int64, behind time.Duration) {
	if l.end < 0 || l.claim.ID.IsZero() {
		return -1, -1
	}
	position := l.claim.Position.Next
	if l.end <= position {
		return 0, 0
	}
	records, behind = l.end-position, -1
	var next time.Time
	switch found := l.ahead.looked && l.ahead.from == position && l.ahead.to == l.end; {
	case l.inFlight:
		next = l.flyingAt
	case l.part.Len() > 0:
		next = l.part.Records[0].Timestamp
	case l.decoding > 0:
		next = l.decodeAt
	case len(l.raw) > 0:
		next = l.raw[0].Timestamp
	case found && l.ahead.None:
		return 0, 0
	case found:
		next = l.ahead.Time
	}
	if !next.IsZero() {
		behind = max(0, now.Sub(next))
	}
	return records, behind
}

// lookAhead asks for the ends of the log that no fetch told of lately, and looks at the next record where nobody holds it.
func (m *member) lookAhead(ctx context.Context) {
	timer := time.NewTimer(time.Second) // the first assignment is there, mostly
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		m.lookOnce(ctx)
		timer.Reset(m.lookInterval)
	}
}

func (m *member) lookOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookInterval)
	defer cancel()
	var quiet []*lane
	topics := map[string]Start{}
	for _, l := range m.all() {
		if l.quiet() {
			quiet = append(quiet, l)
			topics[l.Topic] = Start{}
		}
	}
	if len(quiet) == 0 {
		return
	}
	ends, err := m.admin.ListCommittedOffsets(ctx, sortedTopics(topics)...)
	if err != nil {
		m.log.Debug("list end offsets", "error", err)
		return
	}
	var stretches []kafka.Stretch
	var lanes []*lane
	for _, l := range quiet {
		if end, ok := ends.Lookup(l.Topic, l.Partition.Partition); ok && end.Err == nil {
			if s, unseen := l.stretch(end.Offset); unseen && len(lanes) < maxLooks {
				stretches, lanes = append(stretches, s), append(lanes, l)
			}
		}
	}
	if len(lanes) > 0 {
		m.lookAt(ctx, lanes, stretches)
	}
}

// lookAt looks at the next records of lanes.
func (m *member) lookAt(ctx context.Context, lanes []*lane, stretches []kafka.Stretch) {
	meta, err := m.admin.Metadata(ctx, topicsOfLanes(lanes)...)
	if err != nil {
		m.log.Debug("look ahead", "error", err)
		return
	}
	for i, l := range lanes {
		t, ok := meta.Topics[l.Topic]
		if !ok || t.Err != nil || t.Partitions[l.Partition.Partition].Err != nil || offsets.Token(t.ID) != l.id() {
			continue
		}
		s := stretches[i]
		s.TopicID, s.Leader = t.ID, t.Partitions[l.Partition.Partition].Leader
		found, err := kafka.LookBelow(ctx, m.client, m.archive, s)
		if err != nil {
			m.log.Debug("look ahead", "error", err)
			continue
		}
		l.found(lookAhead{from: s.From, to: s.To, Ahead: found, looked: true})
	}
}

func topicsOfLanes(lanes []*lane) []string {
	topics := map[string]Start{}
	for _, l := range lanes {
		topics[l.Topic] = Start{}
	}
	return sortedTopics(topics)
}

// quiet reports whether no fetch told of the lane's end since it was asked last.
func (l *lane) quiet() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	heard := l.heard
	l.heard = false
	return !heard && l.state != closed && !l.claim.ID.IsZero()
}

// stretch notes the end of the log, and returns what lies ahead of the position, if there is something of which the lane has nothing
// in its hands and which was not looked at yet.
func (l *lane) stretch(end int64) (s kafka.Stretch, unseen bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.heard {
		l.end = end
	}
	position := l.claim.Position.Next
	if l.end <= position || l.inFlight || l.part.Len() > 0 || l.decoding > 0 || len(l.raw) > 0 {
		return s, false
	}
	return kafka.Stretch{Topic: l.Topic, Partition: l.Partition.Partition, From: position, To: l.end},
		!l.ahead.looked || l.ahead.from != position || l.ahead.to != l.end
}

// found notes what a look found.
func (l *lane) found(a lookAhead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead = a
}

// id is the topic's, as of the first claim.
func (l *lane) id() offsets.Token {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.topicID
}
