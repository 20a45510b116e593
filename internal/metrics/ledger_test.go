package metrics

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

// A scrape never waits for a database that hangs, nor does it tell what the database said long ago.
func TestDatabaseHangs(t *testing.T) {
	t.Parallel()
	answers := make(chan func() (*answer, error), 1)
	asked := 0
	c := &cached{log: slog.New(slog.DiscardHandler), ask: func(ctx context.Context) (*answer, error) {
		asked++ // by one at a time
		select {
		case f := <-answers:
			return f()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	begin := time.Now()
	at := func(seconds int) *answer { return c.lately(begin.Add(time.Duration(seconds) * time.Second)) }
	good := func() (*answer, error) { return &answer{}, nil }
	answers <- good
	if at(0) == nil {
		t.Error("the first scrape has no answer")
	}
	if at(15) == nil || asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
	answers <- func() (*answer, error) { return nil, errors.New("away") }
	if at(30) == nil || asked != 2 {
		t.Errorf("asked %d times, want twice; the last answer counts for a while", asked)
	}
	began := time.Now()
	if at(60) != nil || at(75) != nil || at(89) != nil {
		t.Error("an answer of long ago is told")
	}
	if took := time.Since(began); took > 3*patience {
		t.Errorf("scrapes waited %v", took)
	}
	c.mu.Lock()
	asking := c.asking
	c.mu.Unlock()
	answers <- good
	<-asking
	if at(89) == nil || asked != 3 {
		t.Errorf("asked %d times, want 3 times, and an answer in the end", asked)
	}
}
