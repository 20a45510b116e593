package metrics

import (
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/sink"
)

// topic sums up the partitions of one topic.
type topic struct {
	states       map[consumer.State]int
	lag, most    int64
	known, timed bool // of one partition at least
	behind       time.Duration
}

// partitions tells of the partitions of this moment: each by itself, unless there are too many, and by topic.
func (s *scrape) partitions(all []consumer.PartitionStatus) {
	topics := map[string]*topic{}
	each := len(all) <= s.m.o.Partitions
	for i := range all {
		p := &all[i]
		t := topics[p.Topic]
		if t == nil {
			t = &topic{states: map[consumer.State]int{}}
			topics[p.Topic] = t
		}
		t.add(p)
		if each || p.State == consumer.Halted {
			s.partition(p)
		}
	}
	for name, t := range topics {
		for _, state := range states {
			s.gauge("partitions", float64(t.states[state]), name, string(state))
		}
		if t.known {
			s.gauge("topic_lag_records", float64(t.lag), name)
			s.gauge("topic_lag_records_max", float64(t.most), name)
		}
		if t.timed {
			s.gauge("topic_lag_seconds_max", t.behind.Seconds(), name)
		}
	}
}

func (t *topic) add(p *consumer.PartitionStatus) {
	t.states[p.State]++
	if p.Lag >= 0 {
		t.known = true
		t.lag += p.Lag
		t.most = max(t.most, p.Lag)
	}
	if p.Behind >= 0 {
		t.timed = true
		t.behind = max(t.behind, p.Behind)
	}
}

func (s *scrape) partition(p *consumer.PartitionStatus) {
	n := strconv.Itoa(int(p.Partition))
	if p.Position >= 0 {
		s.gauge("partition_position", float64(p.Position), p.Topic, n)
	}
	if p.Lag >= 0 {
		s.gauge("partition_lag_records", float64(p.Lag), p.Topic, n)
	}
	if p.Behind >= 0 {
		s.gauge("partition_lag_seconds", p.Behind.Seconds(), p.Topic, n)
	}
	last := p.Committed
	if last.IsZero() {
		last = p.Assigned
	}
	s.gauge("partition_last_commit_timestamp_seconds", seconds(last), p.Topic, n)
	if p.State == consumer.Halted {
		s.gauge("partition_halted", 1, p.Topic, n, string(p.Reason))
	}
}

// stats tells what was counted.
func (s *scrape) stats(x sink.Stats) {
	for _, t := range x.Topics {
		s.counter("records_total", float64(t.Records), t.Topic)
		s.counter("record_bytes_total", float64(t.Bytes), t.Topic)
	}
	s.counter("unmatched_records_total", float64(x.Unmatched))
	for _, t := range x.Tables {
		for _, row := range []struct {
			route, result string
			n             int64
		}{
			{"copy", "written", t.Copied}, {"upsert", "written", t.Upserted}, {"upsert", "unchanged", t.UnchangedByStatement}, {"look", "unchanged", t.UnchangedByLook},
			{"delete", "written", t.Tombstones - t.TombstonesWithoutRow}, {"delete", "unchanged", t.TombstonesWithoutRow},
		} {
			s.counter("rows_total", float64(row.n), t.Table, row.route, row.result)
		}
	}
	for _, cause := range []string{sink.FencedByOperator, sink.FencedByClaim, sink.FencedByLock} {
		s.counter("fenced_total", float64(x.Fenced[cause]), cause)
	}
	s.counter("unknown_commits_total", float64(x.UnknownCommitted), "committed")
	s.counter("unknown_commits_total", float64(x.UnknownRolledBack), "rolled_back")
	s.gauge("unknown_commits_pending", float64(x.UnknownPending))
	for class, n := range x.RetriedStates {
		s.counter("retries_total", float64(n), class)
	}
	s.counter("foreign_key_waits_total", float64(x.Retries["parent"]))
	s.counter("bisections_total", float64(x.Bisections))
	s.counter("stuck_sessions_ended_total", float64(x.StuckSessions))
	for _, outcome := range []string{sink.ClaimWon, sink.ClaimHeld, sink.ClaimRefused, sink.ClaimFailed} {
		s.counter("claims_total", float64(x.Claims[outcome]), outcome)
	}
	for _, kind := range []string{sink.Assigned, sink.Revoked, sink.Lost} {
		s.counter("rebalances_total", float64(x.Rebalances[kind]), kind)
	}
	type kind struct{ topic, code string }
	letters := map[kind]int64{}
	for _, r := range x.Refused {
		letters[kind{r.Topic, r.Code}] += r.DeadLetters
	}
	for k, n := range letters {
		s.counter("dead_letters_total", float64(n), k.topic, k.code)
	}
	s.counter("dead_letters_resolved_total", float64(x.Resolved))
}

// health tells of signs of life, and of what is at hand.
func (s *scrape) health(h consumer.Health) {
	for server, at := range map[string]time.Time{"postgres": h.Postgres, "kafka": h.Kafka} {
		if !at.IsZero() {
			s.gauge("last_contact_timestamp_seconds", seconds(at), server)
		}
	}
	s.gauge("buffer_bytes", float64(h.Buffered))
	s.gauge("buffer_limit_bytes", float64(h.BufferLimit))
	s.gauge("writers", float64(h.Writers))
	s.gauge("writers_busy", float64(h.Busy))
}

func (s *scrape) pool(p *pgxpool.Stat) {
	s.gauge("pool_connections", float64(p.AcquiredConns()), "acquired")
	s.gauge("pool_connections", float64(p.IdleConns()), "idle")
	s.gauge("pool_connections", float64(p.ConstructingConns()), "constructing")
	s.gauge("pool_connections_limit", float64(p.MaxConns()))
	s.counter("pool_acquires_total", float64(p.AcquireCount()))
	s.counter("pool_acquire_seconds_total", p.AcquireDuration().Seconds())
}

// ledger tells what the database was asked for lately, if it answered.
func (s *scrape) ledger(c *cached) {
	a := c.lately(s.now)
	if a == nil {
		return
	}
	if a.unownedKnown {
		for _, name := range c.topics {
			s.gauge("unowned_partitions", float64(a.unowned[name]), name)
		}
	}
	for _, name := range a.letterTopics(c.topics) {
		for _, status := range []string{"new", "retry"} {
			s.gauge("dead_letters", float64(a.letters[letterKind{name, status}]), name, status)
		}
		if at := a.oldest[name]; !at.IsZero() {
			s.gauge("dead_letters_oldest_age_seconds", max(0, s.now.Sub(at).Seconds()), name)
		}
	}
	for i := range a.verified {
		v := &a.verified[i]
		for _, kind := range verify.Kinds {
			s.gauge("verify_mismatches", float64(v.Mismatches[kind]), v.Table, kind)
		}
		if v.Looked != nil {
			s.gauge("verify_look_timestamp_seconds", seconds(*v.Looked), v.Table)
		}
		if v.Finished != nil {
			s.gauge("verify_pass_timestamp_seconds", seconds(*v.Finished), v.Table)
		}
	}
}
