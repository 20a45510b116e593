package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/offsets"
)

const (
	// askInterval is how often the database is asked at most.
	askInterval = 30 * time.Second
	// askTimeout bounds how long it is asked.
	askTimeout = 10 * time.Second
	// staleAfter is how old an answer may be: one that is older is worse than none, for it looks as if all were well.
	staleAfter = askInterval + 2*askTimeout
	// patience is how long a scrape waits for an answer.
	patience = time.Second
)

// cached is what the database says of the whole group. It is asked in the background, so that a scrape never waits for a database that
// hangs.
type cached struct {
	topics []string
	ask    func(context.Context) (*answer, error)
	log    *slog.Logger

	mu     sync.Mutex
	last   *answer
	asking chan struct{} // closed when who asks has done so; nil: nobody does
	next   time.Time     // when it is asked again
}

// answer is what the database said.
type answer struct {
	at           time.Time
	unowned      map[string]int64
	unownedKnown bool
	letters      map[letterKind]int64
	oldest       map[string]time.Time
	verified     []verify.State
}

type letterKind struct{ topic, status string }

func newCached(pool *pgxpool.Pool, ledger *offsets.Ledger, topics []string, log *slog.Logger) *cached {
	return &cached{topics: topics, log: log, ask: func(ctx context.Context) (*answer, error) { return ask(ctx, pool, ledger, topics) }}
}

// lately returns an answer that is not too old, nil if there is none.
func (c *cached) lately(now time.Time) *answer {
	c.mu.Lock()
	asking := c.asking
	if asking == nil && !now.Before(c.next) {
		asking = make(chan struct{})
		c.asking, c.next = asking, now.Add(askInterval)
		go c.refresh(now, asking)
		c.mu.Unlock()
		select { // who begins to ask waits for a moment, so that already the first scrape has an answer
		case <-asking:
		case <-time.After(patience):
		}
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	if c.last == nil || now.Sub(c.last.at) > staleAfter {
		return nil
	}
	return c.last
}

func (c *cached) refresh(now time.Time, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	a, err := c.ask(ctx)
	if err != nil {
		c.log.Debug("ask the database for metrics", "error", pgerr.Safe(err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		a.at = now
		c.last = a
	}
	c.asking = nil
	close(done)
}

func ask(ctx context.Context, pool *pgxpool.Pool, ledger *offsets.Ledger, topics []string) (a *answer, err error) {
	a = &answer{letters: map[letterKind]int64{}, oldest: map[string]time.Time{}}
	if a.unowned, a.unownedKnown, err = ledger.Unowned(ctx, topics); err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, `select topic, status, count(*), min(recorded_at) from oncesink.dead_letters
		where sink_group = $1 and status in ('new', 'retry') group by 1, 2`, ledger.Group())
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	var k letterKind
	var n int64
	var oldest time.Time
	if _, err = pgx.ForEachRow(rows, []any{&k.topic, &k.status, &n, &oldest}, func() error {
		a.letters[k] = n
		if was := a.oldest[k.topic]; was.IsZero() || oldest.Before(was) {
			a.oldest[k.topic] = oldest
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	if a.verified, err = verify.States(ctx, pool, ledger.Group()); err != nil {
		return nil, err
	}
	return a, nil
}

// letterTopics are the topics that are read, and others of which there are letters.
func (a *answer) letterTopics(read []string) []string {
	all := map[string]bool{}
	for _, t := range read {
		all[t] = true
	}
	for k := range a.letters {
		all[k.topic] = true
	}
	return slices.Sorted(maps.Keys(all))
}
