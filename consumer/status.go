package consumer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oncesink/oncesink/sink"
)

// State of a partition in a consumer.
type State string

// The states.
const (
	// Claiming: it was assigned, or has to be claimed again, and the ledger is asked for it.
	Claiming State = "claiming"
	// Waiting for what is asked for again and again; Err says for what. A claim was refused or came to nothing: another session holds
	// the row, the group has not confirmed the membership, a server does not answer. Or records can't be read without a schema that is
	// not there yet, or have fields for which their table waits for a column; or the archive that alone has them can't be read.
	Waiting State = "waiting"
	// Running: records are read and written.
	Running State = "running"
	// Paused by oncesink.pause; oncesink.resume lets it run.
	Paused State = "paused"
	// Halted until a person has acted: Err says on what, and often by which statement.
	Halted State = "halted"
)

// PartitionStatus is what a consumer knows of one of its partitions.
type PartitionStatus struct {
	Topic     string
	Partition int32
	State     State
	// Since is when the partition came to this state, or to the one that it waits in.
	Since time.Time
	// Reason is the kind of Err of a partition that is halted; empty otherwise.
	Reason Reason
	// Err is why the partition is halted or waiting; nil otherwise.
	Err error
	// Position is the offset of the next record to apply, as last committed; -1 before the first claim.
	Position int64
	// Assigned is since when this process has the partition.
	Assigned time.Time
	// Committed is when the last transaction with records of it was committed by this process since the partition was assigned; zero: none was.
	Committed time.Time
	// Lag is how many offsets lie between the position and the last stable offset of the log, as of some seconds ago; 0 where
	// nothing of them is a record to apply; -1 if it is not known yet.
	Lag int64
	// Behind is the age of the next record to apply; 0 where there is none; negative if it is not known: the
	// record was not looked at yet, or has no timestamp.
	Behind time.Duration
	// Records were fetched and wait to be written: those of the transaction in flight, and some hundred that are being decoded, come on top.
	Records int
	// Bytes is roughly the memory that the partition's records take, those in flight included.
	Bytes int64
	// InFlight says that a transaction with records of it is running.
	InFlight bool
}

// Status returns the partitions that this process has at the moment, by topic and number; none before and after Run.
// It is a snapshot, safe for concurrent use, asks no server, and is cheap enough to be called every second.
// What the whole group is about, and partitions of other processes, [offsets.Ledger.Rows] tells.
func (c *Consumer) Status() []PartitionStatus {
	c.mu.Lock()
	m := c.member
	c.mu.Unlock()
	if m == nil {
		return nil
	}
	var all []PartitionStatus
	for _, l := range m.all() {
		if s, ok := l.status(); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b PartitionStatus) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return all
}

// Stats returns what was committed since New, by all partitions that this process had meanwhile, and what became of those. It is a
// snapshot, safe for concurrent use, and cheap.
func (c *Consumer) Stats() sink.Stats {
	s := c.sink.Stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Fenced, s.Claims, s.Rebalances = maps.Clone(c.counts.Fenced), maps.Clone(c.counts.Claims), maps.Clone(c.counts.Rebalances)
	s.StuckSessions = c.counts.StuckSessions
	return s
}

// Routes say by which ways rows get into each table and why, as `oncesink check` does, by the table's qualified name. It is safe for concurrent use,
// and asks no server.
func (c *Consumer) Routes() map[string]string { return c.sink.Routes() }

// Findings are what `oncesink check` finds of the tables: what keeps the same events from giving the same rows, and what is right and surprising; in
// words, by the table's qualified name. It reads the catalog, in a transaction of its own, and fails where PostgreSQL does. Safe for concurrent use.
func (c *Consumer) Findings(ctx context.Context) (map[string][]string, error) {
	return c.sink.Findings(ctx)
}

// setMember notes the life that Status tells of; nil: none.
func (c *Consumer) setMember(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.member = m
}

// status tells of a lane, unless it is closed.
func (l *lane) status() (PartitionStatus, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := PartitionStatus{
		Topic: l.Topic, Partition: l.Partition.Partition, Err: l.cause, Position: l.claim.Position.Next,
		Since: l.since, Assigned: l.assigned, Committed: l.committed, Records: len(l.raw) + l.part.Len(), Bytes: l.held(), InFlight: l.inFlight,
	}
	if l.claim.ID.IsZero() {
		s.Position = -1
	}
	s.Lag, s.Behind = l.lag(time.Now())
	switch {
	case l.state == claiming && l.cause != nil:
		s.State = Waiting
	case l.state == claiming:
		s.State = Claiming
	case l.state == running && l.wait != nil:
		s.State, s.Err = Waiting, l.wait
	case l.state == running && l.aside != nil && l.aside.err != nil:
		s.State, s.Err = Waiting, l.aside.err
	case l.state == running:
		s.State = Running
	case l.state == paused:
		s.State = Paused
	case l.state == halted:
		s.State, s.Reason = Halted, ReasonOf(l.cause)
	}
	return s, l.state != closed
}

// waits notes why a claim came to nothing, unless the lane has left its state since it was asked for.
func (l *lane) waits(turns int, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == claiming && l.turns == turns {
		l.cause = why
	}
}

// tellHalt calls Config.OnHalt for a lane that has halted just now.
func (m *member) tellHalt(l *lane) {
	if m.cfg.OnHalt == nil {
		return
	}
	if s, ok := l.status(); ok && s.State == Halted {
		m.spawn(func() { m.cfg.OnHalt(s) })
	}
}
