package testpg

import (
	"context"
	"regexp"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Outside is a tracer that notes statements which outlive their transaction, or count on what another one has left on the
// session: a pooler in transaction mode would leave it on one of its connections, for whoever comes next. Set it as ConnConfig.Tracer.
// Several goroutines may use it.
type Outside struct {
	mu   sync.Mutex
	seen []string
}

var (
	begins     = regexp.MustCompile(`(?i)^\s*begin`)
	stays      = regexp.MustCompile(`(?i)set_config\([^()]*,\s*false\)|pg_(try_)?advisory_lock(_shared)?\(`)
	ofASession = regexp.MustCompile(`(?i)\bset_config\(|^\s*set\s|pg_(try_)?advisory_|^\s*(listen|prepare|declare|load|discard)\s|\btemp(orary)?\s`)
	// What offsets.NewPool sets on a connection that is no pooler's.
	keepsAlive = regexp.MustCompile(`(?s)^select set_config\('tcp_.*where pg_backend_pid\(\) = `)
)

// TraceQueryStart looks at a statement.
func (o *Outside) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	alone := conn.PgConn().TxStatus() == 'I' && !begins.MatchString(data.SQL) && ofASession.MatchString(data.SQL)
	if (alone || stays.MatchString(data.SQL)) && !keepsAlive.MatchString(data.SQL) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.seen = append(o.seen, data.SQL)
	}
	return ctx
}

// TraceQueryEnd does nothing.
func (o *Outside) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Seen returns what was noted since it was called last.
func (o *Outside) Seen() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := slices.Clone(o.seen)
	o.seen = nil
	return seen
}
