package offsets

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Claim takes the partitions: in one transaction, with synchronous_commit on,
// it locks the rows in order, inserts those that are missing (Want.Start),
// draws new fences and returns the final positions. It answers every Want, in
// their order. Rows locked by someone else are waited for at most 3 s, then
// their holder, if it is a session of ours, is terminated; a row that is not won
// in 5 s comes back with a *HeldError, and the caller tries again later. The
// other rows are won, and committed, before that wait begins.
// The error is for the whole call: no connection, no ledger.
func (l *Ledger) Claim(ctx context.Context, wants []Want) ([]Claimed, error) {
	start := time.Now()
	answers := make(map[Partition]Claimed, len(wants))
	open := make([]Want, 0, len(wants))
	for _, w := range wants {
		if _, ok := answers[w.Partition]; !ok {
			answers[w.Partition] = Claimed{}
			open = append(open, w)
		}
	}
	if !l.defined.Load() {
		if err := defineMappings(ctx, l.pool, l.opts.Mappings); err != nil {
			return nil, fmt.Errorf("claim partitions: %w", err)
		}
		l.defined.Store(true)
	}
	held, err := l.claimRows(ctx, l.pool, open, 0, answers)
	if err != nil {
		return nil, fmt.Errorf("claim partitions: %w", missingLedger(err))
	}
	if len(held) > 0 {
		l.claimHeld(ctx, start, held, answers)
	}
	claimed := make([]Claimed, len(wants))
	for i, w := range wants {
		claimed[i] = answers[w.Partition]
	}
	return claimed, nil
}

// claimHeld waits for rows that are locked, one at a time, for a second one may
// be held by somebody else; whenever one is won, the others are tried as well.
// What is still held at the end keeps its *HeldError and the position last read.
func (l *Ledger) claimHeld(ctx context.Context, start time.Time, held []Want, answers map[Partition]Claimed) {
	w := l.newWaiter(start)
	defer w.close()
	// Any order does, as no two are waited for at once. A fixed one would starve
	// the rows behind a lock that never ends.
	rand.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
	for len(held) > 0 && w.left() > 0 && ctx.Err() == nil {
		first, rest := held[:1], held[1:]
		timeout := w.left()
		if len(rest) > 0 {
			timeout = min(timeout, w.untilStuck()+500*time.Millisecond)
		}
		won := make(map[Partition]Claimed)
		err := w.run(ctx, func(tx pgx.Tx) (err error) {
			first, err = l.claimRows(ctx, tx, first, timeout, won)
			return err
		})
		if err == nil {
			rest, err = l.claimRows(ctx, w.conn, rest, 0, won)
		}
		for p, c := range won {
			c.WaitedFor = w.waitedFor()
			answers[p] = c
		}
		held = append(rest, first...)
		if err != nil && sqlState(err) != stateLockTimeout {
			w.holder = fmt.Sprintf("another session; waiting for it ended with: %v", err)
			break
		}
	}
	for _, want := range held {
		c := answers[want.Partition]
		c.Err = &HeldError{Holder: w.holder}
		answers[want.Partition] = c
	}
}

// claimRows claims what it can: rows that are locked are left out if timeout is
// 0, else waited for, each that long. It stores an answer for every want once
// the statement has ended, and returns the wants whose rows are held.
func (l *Ledger) claimRows(ctx context.Context, q querier, wants []Want, timeout time.Duration, answers map[Partition]Claimed) (held []Want, err error) {
	if len(wants) == 0 {
		return nil, nil
	}
	n := len(wants)
	topics, partitions := split(wants, func(w Want) Partition { return w.Partition })
	ids, starts, epochs := make([]*string, n), make([]*int64, n), make([]int32, n)
	byPartition := make(map[Partition]Want, n)
	for i, w := range wants {
		ids[i], epochs[i] = uuid(w.TopicID), -1
		if w.Start != nil {
			starts[i], epochs[i] = &w.Start.Next, w.Start.Epoch
		}
		byPartition[w.Partition] = w
	}
	mapTopics, targets, fingerprints := mappingColumns(l.opts.Mappings)
	rows, err := q.Query(ctx, `
		select topic, partition, outcome, coalesce(detail, ''), next_offset, leader_epoch, last_timestamp,
		       claim, fence, topic_id, generation, coalesce(source, 0), paused
		  from oncesink.claim($1::text, $2::text, $3::text, $4::text, $5::text, $6::text[], $7::int[], $8::text[]::uuid[], $9::bigint[], $10::int[],
		                      $11::text[], $12::text[], $13::text[], $14::int)`,
		l.group, l.opts.ClusterID, l.owner, l.instance, l.opts.ReplayRefused, topics, partitions, ids, starts, epochs,
		mapTopics, targets, fingerprints, timeout.Milliseconds())
	if err != nil {
		return wants, err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Claimed, error) {
		var c Claimed
		var outcome, detail string
		var at *time.Time
		err := row.Scan(&c.Topic, &c.Partition.Partition, &outcome, &detail, &c.Position.Next, &c.Position.Epoch, &at,
			&c.ID, &c.Fence, &c.TopicID, &c.Generation, &c.Source, &c.Paused)
		c.Position.Time = timeOf(at)
		c.Err = l.refusal(outcome, detail, c.Claim, byPartition[c.Partition])
		return c, err
	})
	if err != nil {
		return wants, err
	}
	for _, c := range found {
		answers[c.Partition] = c
		if _, ok := c.Err.(*HeldError); ok {
			held = append(held, byPartition[c.Partition])
		}
	}
	return held, nil
}

// refusal is the error of a claim's outcome, nil if it was won.
func (l *Ledger) refusal(outcome, detail string, row Claim, want Want) error {
	p := row.Partition
	switch outcome {
	case "claimed":
		return nil
	case "held":
		return &HeldError{Holder: "another session"}
	case "missing":
		return fmt.Errorf("%s: %w", p, ErrNoPosition)
	case "topic":
		return &TopicChangedError{Group: l.group, Partition: p, Was: row.TopicID, Is: want.TopicID}
	case "cluster":
		return &ClusterChangedError{Group: l.group, Partition: p, Was: detail, Is: l.opts.ClusterID, TopicID: want.TopicID}
	case "mapping", "dropped":
		return &MappingError{Partition: p, Target: detail, Dropped: outcome == "dropped"}
	}
	return fmt.Errorf("%s: the ledger answers %q: it is newer than this program", p, outcome)
}
