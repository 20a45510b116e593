package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/offsets"
)

// lettersPoll is how often a retry that is waited for looks at its letters.
const lettersPoll = 250 * time.Millisecond

// interruptedError is what became of a command that was stopped after it has done something.
type interruptedError struct{ message string }

func (e *interruptedError) Error() string { return e.message }

// allOrNone says what a command may have done that was stopped while it changed letters: all of them, or none.
func allOrNone(ctx context.Context, err error, done string) error {
	if ctx.Err() == nil {
		return err
	}
	return &interruptedError{"interrupted: either all of these letters " + done + " or none; it may be run again"}
}

// awaitLetters follows letters until none is to be tried any more, or what is left can't be. It puts what became of them into the report.
func (s *session) awaitLetters(ctx context.Context, g letters.Group, asked *letters.Asked, r *retryReport, stderr io.Writer) error {
	show := newProgress(stderr, s.log)
	began := time.Now()
	err := s.followLetters(ctx, g, asked, show.tell)
	show.end(err)
	if ctx.Err() != nil {
		return &interruptedError{"interrupted: the letters are asked for, and are tried; `oncesink dead-letters list` shows what becomes of them"}
	}
	r.Seconds = time.Since(began).Seconds()
	var outcomeErr error
	if r.Outcome, outcomeErr = asked.Outcome(ctx, g.On); outcomeErr != nil {
		return errors.Join(err, outcomeErr)
	}
	return err
}

func (s *session) followLetters(ctx context.Context, g letters.Group, asked *letters.Asked, tell func(rebuild.Progress)) error {
	tick := time.NewTicker(lettersPoll)
	defer tick.Stop()
	unreadable, ownerless := false, false
	for poll := 0; ; poll++ {
		left, err := asked.Left(ctx, g.On)
		if err != nil && !unreadable && ctx.Err() == nil {
			s.log.Warn("look at the dead letters", "error", err) // the database may come back: the group waits for it, too
		}
		if unreadable = err != nil; err == nil {
			var n int64
			for _, of := range left {
				n += of
			}
			tell(rebuild.Progress{Phase: "trying again", Done: max(0, asked.Letters-n), Total: asked.Letters})
			if n == 0 {
				return nil
			}
			if poll%idlePolls == 0 {
				if ownerless, err = s.lookForReaders(ctx, left, ownerless); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// lookForReaders returns an error if all that is left waits for a person. It says once that nobody reads, and once that somebody does again.
func (s *session) lookForReaders(ctx context.Context, left map[offsets.Partition]int64, ownerless bool) (bool, error) {
	waiting, err := s.waiting(ctx, left)
	if err != nil {
		return ownerless, nil //nolint:nilerr // it is read again
	}
	unowned := 0
	var stopped []error
	for _, x := range waiting {
		if x.unowned {
			unowned++
		} else {
			stopped = append(stopped, fmt.Errorf("%s: %d dead letter(s) wait: %s", x.partition(), x.Letters, x.says()))
		}
	}
	switch {
	case len(stopped) == len(left):
		return ownerless, errors.Join(stopped...)
	case unowned == len(left) && !ownerless:
		s.log.Warn("no process of the group runs: waiting for `oncesink run`, or your program", "group", s.consumer.Group)
		return true, nil
	case unowned < len(left) && ownerless:
		s.log.Info("the group reads again", "group", s.consumer.Group)
		return false, nil
	}
	return ownerless, nil
}
