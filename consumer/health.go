package consumer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Health says when a consumer showed its last signs of life, and what it has in its hands. Whether that is well is its reader's to say: a
// process without partitions, or one that can't reach a server, is alive. Times are zero before the first sign.
type Health struct {
	// Polled and Watched are when the two loops last turned that everything hangs on: both turn each second, whatever servers do.
	Polled, Watched time.Time
	// Postgres and Kafka are when the database, and a broker, last answered. Both are asked every few seconds where there is nothing to do.
	Postgres, Kafka time.Time
	// Joined: the group has taken this process as a member, once at least; or its partitions are assigned by hand.
	Joined bool
	// Draining: Run was told to end.
	Draining bool
	// Buffered are the bytes that records take which are not written yet, as in [PartitionStatus].Bytes; BufferLimit is Config.BufferBytes.
	Buffered, BufferLimit int64
	// Writers are Config.Writers; Busy is how many of them have a transaction at hand.
	Writers, Busy int
}

// signs are when something was last seen, as time since a beginning, so that no clock that is set moves them.
type signs struct {
	began                             time.Time
	polled, watched, postgres, broker atomic.Int64
	joined, draining                  atomic.Bool
	busy                              atomic.Int32
}

func (s *signs) note(sign *atomic.Int64) { sign.Store(max(1, int64(time.Since(s.began)))) }

func (s *signs) at(sign *atomic.Int64) time.Time {
	if d := sign.Load(); d > 0 {
		return s.began.Add(time.Duration(d))
	}
	return time.Time{}
}

// Health returns the signs of life of this moment. It is safe for concurrent use, and asks no server.
func (c *Consumer) Health() Health {
	s := &c.signs
	h := Health{Polled: s.at(&s.polled), Watched: s.at(&s.watched), Postgres: s.at(&s.postgres), Kafka: s.at(&s.broker),
		Joined: s.joined.Load(), Draining: s.draining.Load(), BufferLimit: c.cfg.BufferBytes, Writers: c.cfg.Writers, Busy: int(s.busy.Load())}
	c.mu.Lock()
	m := c.member
	c.mu.Unlock()
	if m != nil {
		for _, l := range m.all() {
			h.Buffered += l.memory()
		}
	}
	return h
}

// contactInterval is after how long the database is asked for a sign of life if nothing else was.
const contactInterval = 5 * time.Second

// touch asks the database for a sign of life, unless it gave one lately.
func (m *member) touch(ctx context.Context) {
	if time.Since(m.signs.at(&m.signs.postgres)) < contactInterval {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := m.sink.Ping(ctx); err != nil {
		m.log.Debug("ask the database for a sign of life", "error", err)
		return
	}
	m.signs.note(&m.signs.postgres)
}

// seeJoined notes that the group has taken this process as a member.
func (m *member) seeJoined() {
	if m.signs.joined.Load() {
		return
	}
	if len(m.cfg.Assign) == 0 {
		if _, generation := m.client.GroupMetadata(); generation < 0 {
			return
		}
	}
	m.signs.joined.Store(true)
}

// contact is the client's hook that notes when a broker last answered.
type contact struct{ signs *signs }

var _ kgo.HookBrokerRead = contact{}

// OnBrokerRead implements [kgo.HookBrokerRead].
func (c contact) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err == nil {
		c.signs.note(&c.signs.broker)
	}
}
