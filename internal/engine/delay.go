package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// delayed tells of an error that is expected to pass. One that repeats with the same text for minutes is
// told as what holds the partitions up, in the log and in the ledger's rows, for status; it is tried on.
func (j *job) delayed(ctx context.Context, err error, records spans) {
	j.s.countRetry(err)
	j.s.warn("writing is delayed", err, records)
	text := describe(err)
	switch {
	case text != j.repeats:
		j.repeats, j.since, j.told = text, time.Now(), time.Time{}
		return
	case time.Since(j.since) < j.s.stuckAfter || time.Since(j.told) < j.s.stuckAfter:
		return
	}
	first := records[0].part.Claim
	j.s.log.Error("writing is stuck: the same error again and again", slog.String("error", text), slog.String("for", time.Since(j.since).Round(time.Second).String()),
		slog.String("topic", first.Topic), slog.Int("partition", int(first.Partition.Partition)), slog.Int64("offset", first.Position.Next), slog.Int("partitions", len(records)), slog.String("steps", docs.Runbook("stuck")))
	j.told = time.Now()
	claims := make([]offsets.Claim, len(records))
	for i, x := range records {
		claims[i] = x.part.Claim
	}
	if err := j.s.ledger.Stuck(ctx, claims, fmt.Sprintf("%s, again and again since %s", text, j.since.UTC().Format(time.RFC3339))); err != nil {
		j.s.log.Warn("note what partitions are stuck at", slog.String("error", pgerr.Safe(err)))
	}
}

// quietness is how far apart warnings about one database are.
const quietness = 5 * time.Second

// warn logs what delays the writing, without the values of rows.
func (s *Sink) warn(msg string, err error, records spans) {
	s.warned.Lock()
	defer s.warned.Unlock()
	s.warned.count++
	if time.Since(s.warned.at) < quietness {
		return
	}
	c := records[0].part.Claim
	s.log.Warn(msg, slog.String("error", describe(err)), slog.String("sqlstate", pgerr.SQLState(err)),
		slog.String("topic", c.Topic), slog.Int("partition", int(c.Partition.Partition)), slog.Int64("offset", c.Position.Next),
		slog.Int("partitions", len(records)), slog.Int("records", records.records()), slog.Int("times", s.warned.count))
	s.warned.at, s.warned.count = time.Now(), 0
}

// stop turns an error that retrying can't mend into what a person needs.
func (s *Sink) stop(err error) error {
	if uneven := (*NotUniformError)(nil); errors.As(err, &uneven) {
		return &sink.ConfigError{Problem: uneven.Error(), Cause: uneven}
	}
	if classOf(err) != pgerr.Configuration {
		return &sink.HaltError{Err: fmt.Errorf("%s", describe(err))}
	}
	return &sink.ConfigError{Problem: describe(err), Fix: fix(err), Cause: pgerr.Denied(err)}
}
