package offsets

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// SetPatience shortens how long claims and resolutions wait.
func (l *Ledger) SetPatience(stuckAfter, giveUp time.Duration) {
	l.stuckAfter, l.giveUp = stuckAfter, giveUp
}

// AdvanceCall is the statement of Advance and its arguments, for tests that send
// it in ways of their own.
func (l *Ledger) AdvanceCall(steps []Step) (string, []any, error) {
	args, err := l.advanceArgs(steps)
	return l.first(advanceSQL), args, err
}

// LedgerMigrations are those of the ledger, for tests that begin with an older one.
func LedgerMigrations() []string { return ledgerMigrations() }

// Connect is the connection that claims and resolutions wait on.
func (l *Ledger) Connect(ctx context.Context) (*pgx.Conn, error) { return l.connect(ctx) }
