package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

const (
	replayPoll = 200 * time.Millisecond
	// idlePolls is after how many polls somebody looks whether the owners live.
	idlePolls = 50
)

// awaitReplay follows the ledger until every rewound partition is back where it stood.
func (s *session) awaitReplay(ctx context.Context, ledger *offsets.Ledger, moved []offsets.Rewound, stdout, stderr io.Writer, quiet bool) error {
	if len(moved) == 0 {
		return nil
	}
	w := newReplayWait(s.consumer.Group, moved)
	show := newProgress(stderr, s.log)
	began := time.Now()
	err := w.follow(ctx, ledger, s.log, show.tell)
	show.end(err)
	if ctx.Err() != nil {
		return errors.New("interrupted: the partitions were rewound, and are read again; `oncesink status` shows how far they are")
	}
	if err != nil {
		return s.scrub(err)
	}
	if !quiet {
		fmt.Fprintf(stdout, "%d offset(s) read again in %.1f s: every partition is back where it stood\n", w.total, time.Since(began).Seconds())
	}
	return nil
}

// replayWait judges what the ledger says of the partitions that were rewound.
type replayWait struct {
	group      string
	partitions []offsets.Partition
	moved      map[offsets.Partition]offsets.Rewound
	total      int64 // offsets to read again
}

func newReplayWait(group string, moved []offsets.Rewound) *replayWait {
	w := &replayWait{group: group, moved: map[offsets.Partition]offsets.Rewound{}}
	for _, m := range moved {
		w.partitions = append(w.partitions, m.Partition)
		w.moved[m.Partition] = m
		w.total += m.Position.Next - m.To
	}
	return w
}

func (w *replayWait) follow(ctx context.Context, ledger *offsets.Ledger, log *slog.Logger, tell func(rebuild.Progress)) error {
	tick := time.NewTicker(replayPoll)
	defer tick.Stop()
	unreadable, ownerless := false, false
	for poll := 1; ; poll++ {
		rows, err := ledger.Rows(ctx, w.partitions...)
		switch {
		case errors.Is(err, offsets.ErrNoLedger):
			return err
		case err != nil && !unreadable:
			log.Warn("look at the ledger", "error", err) // it may come back: the group waits for it, too
		case err == nil:
			read, back, err := w.judge(rows)
			tell(rebuild.Progress{Phase: "reading again", Done: read, Total: w.total})
			if back {
				return err
			}
		}
		unreadable = err != nil
		if poll%idlePolls == 0 && !unreadable {
			ownerless = w.lookForOwners(ctx, ledger, log, rows, ownerless)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// judge reports how many offsets were read again, and whether every partition is back where it
// stood or can't come back; the error says why those can't.
func (w *replayWait) judge(rows []offsets.Row) (read int64, done bool, err error) {
	at := map[offsets.Partition]offsets.Row{}
	for _, r := range rows {
		at[r.Partition] = r
	}
	done = true
	var stopped []error
	for _, p := range w.partitions {
		was, now := w.moved[p], at[p]
		read += max(0, min(now.Position.Next, was.Position.Next)-was.To)
		switch {
		case now.Topic == "":
			stopped = append(stopped, fmt.Errorf("%s: %w", p, offsets.ErrNoPosition))
		case now.Generation != was.Generation:
			stopped = append(stopped, fmt.Errorf("%s: the recreated topic was adopted meanwhile: its old records are gone", p))
		case now.Position.Next >= was.Position.Next:
		case now.Paused:
			stopped = append(stopped, fmt.Errorf("%s: paused by an operator at offset %d: %s", p, now.Position.Next, offsets.Remedy("resume", w.group, p.Topic, p.Partition)))
		// Why it halted before the rewind is no news: its owner clears that when it claims the row again.
		case now.Halted != "" && (now.ClaimID != was.ClaimID || was.Halted == ""):
			stopped = append(stopped, fmt.Errorf("%s halted: %s", p, wiring.Reason(p, "halted", now.Halted)))
		default:
			done = false
		}
	}
	return read, done, errors.Join(stopped...)
}

// lookForOwners says once that nobody reads, and once that somebody does again.
func (w *replayWait) lookForOwners(ctx context.Context, ledger *offsets.Ledger, log *slog.Logger, rows []offsets.Row, ownerless bool) bool {
	var left []offsets.Rewound
	for _, r := range rows {
		if r.Position.Next < w.moved[r.Partition].Position.Next {
			left = append(left, offsets.Rewound{Row: r})
		}
	}
	alive, err := anyOwnerAlive(ctx, ledger, left)
	if err != nil || alive == !ownerless {
		return ownerless
	}
	if alive {
		log.Info("the group reads again", "group", w.group)
	} else {
		log.Warn("no process of the group runs: waiting for `oncesink run`, or your program", "group", w.group)
	}
	return !alive
}
