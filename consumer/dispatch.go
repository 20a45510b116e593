package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// dispatch hands fetched records to their lanes and turns every error that
// could hide a gap into a halt.
func (m *member) dispatch(fetches kgo.Fetches) {
	fetches.EachTopic(func(t kgo.FetchTopic) {
		for _, p := range t.Partitions {
			at := offsets.Partition{Topic: t.Topic, Partition: p.Partition}
			l := m.lane(at)
			if p.Err != nil {
				m.fetchError(at, l, p.Err)
				continue
			}
			if l == nil {
				continue // revoked while the records waited
			}
			v := l.view()
			if v.state != running || v.aside != nil {
				continue
			}
			if id := offsets.Token(t.TopicID); !id.IsZero() && id != l.topicID {
				m.halt(l, &offsets.TopicChangedError{Group: m.cfg.Group, Partition: at, Was: l.topicID, Is: id})
				continue
			}
			l.hears(p.LastStableOffset)
			// Offsets may have holes, but records below the log's start are gone from it:
			// if we were to read some of those, somebody deleted them unread.
			if len(p.Records) > 0 && p.Records[0].Offset > v.next && p.LogStartOffset > v.next {
				if m.archive != nil {
					m.stray(l)
				} else {
					m.haltBehind(l, m.cfg.outside(at, v.next, kafka.Reach{Start: p.LogStartOffset, End: p.LogStartOffset}))
				}
				continue
			}
			if bound, ok := m.until[at]; ok {
				below := slices.IndexFunc(p.Records, func(r *kgo.Record) bool { return r.Offset >= bound })
				if below >= 0 {
					l.bounded()
					p.Records = p.Records[:below]
					m.suspend(l)
				}
			}
			l.offer(p.Records, &m.cfg, func(l *lane) { m.suspend(l) })
		}
	})
}

// GapError says that records between two offsets can never be read.
type GapError struct {
	offsets.Partition
	Group    string
	From, To int64 // missing: From <= offset < To
	Why      string
}

func (e *GapError) Error() string {
	return fmt.Sprintf("%s: offsets %d to %d are missing: %s. If they can be done without: %s",
		e.Partition, e.From, e.To-1, e.Why, offsets.Remedy("accept_gap", e.Group, e.Topic, e.Partition.Partition, e.To))
}

// TooLargeError says that a batch of the log becomes larger than the limit when it is decompressed: a bomb, maybe.
type TooLargeError struct {
	offsets.Partition
	Group    string
	From, To int64 // of the batch: From <= offset < To
	Limit    int   // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: the batch of offsets %d to %d takes more than %d MiB when it is decompressed. Raise limits.decompressed_bytes (Config.MaxDecompressedBytes) and restart; or, if it can be done without: %s",
		e.Partition, e.From, e.To-1, e.Limit>>20, offsets.Remedy("accept_gap", e.Group, e.Topic, e.Partition.Partition, e.To))
}

// TruncatedError says that the log ends before the position: records that were
// applied are no longer in it.
type TruncatedError struct {
	offsets.Partition
	Group         string
	Position, End int64
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("%s: the position %d %s the log was truncated (an unclean leader election, or a restored broker), and the rows of offsets %d to %d are in the tables. "+
		"To read on from the end: %s",
		e.Partition, e.Position, offsets.PastEnd(e.End), e.End, e.Position-1, offsets.Remedy("rewind", e.Group, e.Topic, e.Partition.Partition, e.End))
}

// outside returns what is wrong with a position that can't be read on from; nil if nothing is.
func (c *Config) outside(at offsets.Partition, next int64, r kafka.Reach) error {
	if from, to, missing := r.Missing(next); missing {
		return &GapError{Partition: at, Group: c.Group, From: from, To: to, Why: removed(r)}
	}
	if next > r.End {
		return &TruncatedError{Partition: at, Group: c.Group, Position: next, End: r.End}
	}
	return nil
}

// removed says why records are missing.
func removed(r kafka.Reach) string {
	const why = "retention or DeleteRecords removed them before they were read"
	if r.First == r.Held {
		return why
	}
	return fmt.Sprintf("%s, and the archive has offsets %d to %d", why, r.First, r.Held-1)
}

// fetchError acts on an error that a poll returned for a partition.
func (m *member) fetchError(at offsets.Partition, l *lane, err error) {
	var loss *kgo.ErrDataLoss
	var session *kgo.ErrGroupSession
	var large *kgo.ErrDecompressTooLarge
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrClientClosed):
	case errors.As(err, &session):
		m.log.Warn("group session lost, joining again", "error", err, "steps", docs.Runbook("kafka-is-away"))
	case l == nil:
		m.log.Warn("fetch", "topic", at.Topic, "partition", at.Partition, "error", err)
	case l.view().state != running, l.view().aside != nil:
	case errors.As(err, &loss):
		m.halt(l, &TruncatedError{Partition: at, Group: m.cfg.Group, Position: loss.ConsumedTo, End: loss.ResetTo})
	case errors.Is(err, errLater): // the client fetches it again
	case errors.As(err, &large): // the client gives the partition up
		m.haltBehind(l, &TooLargeError{Partition: at, Group: m.cfg.Group, From: large.Offset, To: large.NextOffset, Limit: m.cfg.MaxDecompressedBytes})
	case errors.Is(err, kerr.OffsetOutOfRange):
		m.stray(l)
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InconsistentTopicID):
		m.suspend(l)
		m.spawn(func() { m.topicGone(l, err) })
	case kerr.IsRetriable(err):
		m.log.Debug("fetch", "topic", at.Topic, "partition", at.Partition, "error", err)
	default:
		m.unreadable(l, err)
	}
}

const (
	// unreadableQuiet is how far apart warnings of one partition are that can't be fetched.
	unreadableQuiet = 10 * time.Second
	// unreadableStuck is after how long that is told as what holds it up.
	unreadableStuck = 2 * time.Minute
)

// unreadable is what fetches of a partition fail with, again and again: nobody knows whether it passes, as it does when a replica
// that is damaged loses its leadership.
type unreadable struct {
	next        int64     // where the partition stands
	since, told time.Time // first seen there, and told last
	noted       bool      // in the ledger, for status
}

// unreadable tells of a fetch that failed for a reason that may not pass: seldom, and after a while in the ledger, too.
func (m *member) unreadable(l *lane, err error) {
	u, v, now := &l.unreadable, l.view(), time.Now()
	if u.since.IsZero() || u.next != v.next {
		*u = unreadable{next: v.next, since: now}
	}
	if now.Sub(u.told) >= unreadableQuiet {
		u.told = now
		m.log.Warn("fetch", "topic", l.Topic, "partition", l.Partition.Partition, "offset", v.next, "error", err)
	}
	if !u.noted && now.Sub(u.since) >= unreadableStuck {
		u.noted = true
		m.spawn(func() {
			why := fmt.Sprintf("fetch from offset %d: %v, again and again since %s", v.next, err, u.since.UTC().Format(time.RFC3339))
			if err := m.ledger.Stuck(m.work, []offsets.Claim{v.claim}, why); err != nil {
				m.log.Warn("note what partitions are stuck at", "error", err)
			}
		})
	}
}

// topicGone halts a lane whose topic was deleted or recreated.
func (m *member) topicGone(l *lane, cause error) {
	for attempt := 0; m.pause(attempt); attempt++ {
		ids, err := m.topicIDs(m.work, []string{l.Topic})
		if err != nil {
			m.log.Warn("look up topic", "topic", l.Topic, "error", err)
			continue
		}
		switch id := ids[l.Topic]; {
		case l.view().state != running:
		case id.IsZero():
			m.halt(l, &goneError{fmt.Errorf("%s: the topic is gone: %v. Create it again, and adopt it by the statement that `oncesink check` then prints; or remove it from the configuration", l.Partition, cause)})
		case id != l.topicID:
			m.halt(l, &offsets.TopicChangedError{Group: m.cfg.Group, Partition: l.Partition, Was: l.topicID, Is: id})
		default:
			m.lose(l)
		}
		return
	}
}

// haltBehind is halt for what stands behind the records that the lane holds: they are written first. Where they were dropped, the
// statement that goes past the cause would go past them.
func (m *member) haltBehind(l *lane, cause error) {
	turns := l.view().turns
	if l.written() {
		m.halt(l, cause)
		return
	}
	m.suspend(l)
	m.spawn(func() {
		if l.waitWritten(m.work, turns) {
			m.halt(l, cause)
		}
	})
}

// halt stops one lane until a person has acted; the others go on.
func (m *member) halt(l *lane, cause error) { m.haltAt(l, cause, sight{}) }

// haltAt is halt because of what the lane's row says.
func (m *member) haltAt(l *lane, cause error, seen sight) {
	from := l.leaveAt(halted, cause, seen)
	if from == closed {
		return
	}
	if from != halted {
		m.tellHalt(l)
	}
	m.suspend(l)
	m.log.Error("partition halted", "topic", l.Topic, "partition", l.Partition.Partition, "error", cause, "steps", docs.Runbook(string(ReasonOf(cause))))
	as := l.view()
	m.spawn(func() {
		for attempt := 0; m.pause(attempt); attempt++ {
			v := l.view()
			if v.state == closed {
				break
			}
			if v.turns != as.turns || v.state != halted {
				return
			}
			err := m.noteHalt(v)
			if err == nil {
				return
			}
			m.log.Warn("note the halt in the ledger", "topic", l.Topic, "partition", l.Partition.Partition, "error", err)
		}
		// The process stops, perhaps because of this halt: whoever asks afterwards is told of it.
		if m.life.Err() != nil {
			return
		}
		if err := m.noteHalt(as); err != nil {
			m.log.Warn("note the halt in the ledger", "topic", l.Topic, "partition", l.Partition.Partition, "error", err)
		}
	})
}

// noteHalt writes the reason into the ledger, for people: into the row that the lane
// claimed, or, if a claim was refused, into the row as it was. Whoever has claimed the row
// since, this process too, is named by it, and it stays as it is.
func (m *member) noteHalt(v view) error {
	claim := v.claim
	if v.sight.known {
		if v.sight.row == nil {
			return nil
		}
		claim = offsets.Claim{Partition: v.sight.row.Partition, ID: v.sight.row.ClaimID}
	}
	ctx, cancel := context.WithTimeout(m.life, 10*time.Second)
	defer cancel()
	cause := v.cause
	var halt *sink.HaltError
	if errors.As(cause, &halt) {
		cause = halt.Err // that it halted is what the row says
	}
	return m.ledger.Halt(ctx, claim, string(ReasonOf(v.cause))+": "+cause.Error())
}
