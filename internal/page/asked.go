package page

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/rollup"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/offsets"
)

const (
	askLedgerEvery  = 3 * time.Second
	askLettersEvery = 15 * time.Second
	askTablesEvery  = 5 * time.Minute
	askTimeout      = 10 * time.Second
	// askShare is how much longer than an answer took it is waited before the next question, so that a page costs a large ledger little.
	askShare = 20
	// askPatience is how long the first view waits for answers.
	askPatience = 2 * time.Second
	examples    = 500 // of the newest dead letters, from which places are taken
)

// ledgerAnswer is what the ledger says of the whole group.
type ledgerAnswer struct {
	rows  []offsets.Row
	alive map[string]bool // instances that have a session
}

// lettersAnswer are the open dead letters of the group, what `oncesink verify` knows of its tables, and the rollups of the database.
type lettersAnswer struct {
	verified []verify.State
	rollups  []rollup.Built
	kinds    []letters.Kind
	newest   []letters.Letter
}

// tablesAnswer is what `oncesink check` finds of the tables, by their names.
type tablesAnswer struct{ findings map[string][]string }

// asked is what the database says, asked in the background while somebody looks, so that no view waits for a database that hangs.
type asked struct {
	pool    *pgxpool.Pool
	ledger  *offsets.Ledger
	rows    answer[ledgerAnswer]
	letters answer[lettersAnswer]
	tables  answer[tablesAnswer]
}

func newAsked(source Source, pool *pgxpool.Pool, ledger *offsets.Ledger) *asked {
	return &asked{pool: pool, ledger: ledger,
		tables: answer[tablesAnswer]{every: askTablesEvery, ask: func(ctx context.Context) (*tablesAnswer, error) {
			s, ok := source.(linter)
			if !ok {
				return &tablesAnswer{}, nil
			}
			found, err := s.Findings(ctx)
			return &tablesAnswer{found}, err
		}},
		rows: answer[ledgerAnswer]{every: askLedgerEvery, ask: func(ctx context.Context) (*ledgerAnswer, error) {
			a := &ledgerAnswer{alive: map[string]bool{}}
			var err error
			if a.rows, err = ledger.Rows(ctx); err != nil {
				return nil, err
			}
			for i := range a.rows {
				r := &a.rows[i]
				if _, known := a.alive[r.Instance]; known || r.Owner == "" {
					continue
				}
				if a.alive[r.Instance], err = ledger.Alive(ctx, r.Instance); err != nil {
					return nil, err
				}
			}
			return a, nil
		}},
		letters: answer[lettersAnswer]{every: askLettersEvery, ask: func(ctx context.Context) (*lettersAnswer, error) {
			a := &lettersAnswer{}
			g := letters.Group{Name: ledger.Group(), On: pool}
			var err error
			if a.verified, err = verify.States(ctx, pool, ledger.Group()); err != nil {
				return nil, err
			}
			if a.rollups, err = rollup.All(ctx, pool); err != nil {
				return nil, err
			}
			if a.kinds, err = g.Kinds(ctx, letters.Filter{}, letters.Open); err != nil || len(a.kinds) == 0 {
				return a, err
			}
			a.newest, _, err = g.List(ctx, letters.Filter{}, letters.Open, examples, false)
			return a, err
		}},
	}
}

// answer is the last one to a question. It is safe for concurrent use.
type answer[T any] struct {
	every time.Duration
	ask   func(context.Context) (*T, error)

	mu   sync.Mutex
	last *T
	at   time.Time
	err  string        // why the last question had no answer
	next time.Time     // when it is asked again
	busy chan struct{} // closed when who asks has done so; nil: nobody does
}

// get returns the last answer, nil if there is none, of when it is, and why there is no newer one. It asks anew if it is time.
func (a *answer[T]) get() (last *T, at time.Time, problem string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy == nil && !time.Now().Before(a.next) {
		a.busy = make(chan struct{})
		go a.refresh(a.busy)
	}
	if busy := a.busy; busy != nil && a.last == nil && a.err == "" {
		a.mu.Unlock()
		select {
		case <-busy:
		case <-time.After(askPatience):
		}
		a.mu.Lock()
	}
	return a.last, a.at, a.err
}

// soon has it asked again at the next view: something was changed.
func (a *answer[T]) soon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next = time.Time{}
}

func (a *answer[T]) refresh(done chan struct{}) {
	began := time.Now()
	a.mu.Lock()
	a.next = began.Add(a.every)
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	got, err := a.ask(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.err = pgerr.Safe(err)
	} else {
		a.last, a.at, a.err = got, time.Now(), ""
	}
	if wait := time.Since(began) * askShare; wait > a.every && !a.next.IsZero() {
		a.next = time.Now().Add(min(wait, 5*time.Minute))
	}
	a.busy = nil
	close(done)
}
