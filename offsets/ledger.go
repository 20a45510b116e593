package offsets

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Ledger is one sink group's view of oncesink.offsets. It is safe for
// concurrent use.
type Ledger struct {
	pool     *pgxpool.Pool
	group    string
	opts     Options
	instance string
	owner    string      // what people see in the row: host, pid, instance
	named    bool        // the pool's sessions are called after the instance
	defined  atomic.Bool // what the mappings' fingerprints stand for is noted

	// A lock that is not had after stuckAfter is examined: a session of ours
	// whose transaction is at least as old is ended. After giveUp the caller is
	// told. Both from the start of the call.
	stuckAfter, giveUp time.Duration
}

// Options configure a Ledger.
type Options struct {
	// ClusterID is the Kafka cluster's id; a row of another cluster is refused.
	// Empty: not compared.
	ClusterID string
	// Mappings are recorded by the first claim and compared by every later one.
	Mappings []Mapping
	// ReplayRefused, if not empty, says why the group must not be rewound, for
	// example "table audit has no guard". It is stored with every claim.
	ReplayRefused string
	// Logger; nil discards.
	Logger *slog.Logger
}

// New returns the ledger of a sink group. It does not connect. If the pool's application_name is not
// "oncesink NAME", as [NewPool]'s is, the instance name is drawn here, and a session has it only while a
// transaction of [Ledger.Advance] lasts: claims recognise it then, and [Ledger.Alive]
// finds nothing in between.
func New(pool *pgxpool.Pool, group string, opts Options) *Ledger {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{pool: pool, group: group, opts: opts, stuckAfter: 3 * time.Second, giveUp: 5 * time.Second}
	if pool != nil {
		l.instance, l.named = strings.CutPrefix(pool.Config().ConnConfig.RuntimeParams["application_name"], appPrefix)
	}
	if !l.named {
		l.instance = newInstance()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	l.owner = fmt.Sprintf("%s, pid %d, instance %s", host, os.Getpid(), l.instance)
	return l
}

// Group is the name of the sink group.
func (l *Ledger) Group() string { return l.group }

// Instance is the name of this process among the sessions of the database: the
// one that [NewPool] drew, or [New].
func (l *Ledger) Instance() string { return l.instance }

// Halt stores why the owner stopped the partition, or clears it (reason ""), if
// the row still names the claim; the zero claim id is that of a row nobody has
// claimed. Where the reason begins with one of [HaltReasons] and ": ", that becomes [Row].HaltReason. Best effort,
// for people: `oncesink status`.
func (l *Ledger) Halt(ctx context.Context, claim Claim, reason string) error {
	_, err := l.pool.Exec(ctx, `select oncesink.halt($1::text, $2::text, $3::int, $4::text::uuid, $5::text)`,
		l.group, claim.Topic, claim.Partition.Partition, uuid(claim.ID), reason)
	if err != nil {
		return fmt.Errorf("store halt of %s: %w", claim.Partition, missingLedger(err))
	}
	return nil
}

// HaltReasons are the kinds of reasons for which a partition halts; consumer.Reason says what they mean.
func HaltReasons() []string {
	return []string{"gap", "truncated", "recreated", "cluster", "no_row", "dead_letter_limit", "archive", "error"}
}

// splitHalt takes a reason apart that [Ledger.Halt] has stored.
func splitHalt(stored string) (kind, reason string) {
	kind, reason, found := strings.Cut(stored, ": ")
	if !found || !slices.Contains(HaltReasons(), kind) {
		return "", stored
	}
	return kind, reason
}

// stuckTimeout bounds a call of Stuck, a free connection of the pool included.
const stuckTimeout = 2 * time.Second

// Stuck notes in the rows that are still under the claims' fences what their owner
// fails at, while it goes on trying (reason "" clears it). The next advance, claim
// or command clears it. Best effort, for people: it waits for no lock, and 2 s at most
// for anything else; rows that are locked, or somebody else's by now, are left
// as they are, without an error. The text is cut after 1000 characters. Any number of
// goroutines may call it, for the same claims too.
func (l *Ledger) Stuck(ctx context.Context, claims []Claim, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, stuckTimeout)
	defer cancel()
	topics, partitions := split(claims, func(c Claim) Partition { return c.Partition })
	fences := make([]*string, len(claims))
	for i, c := range claims {
		fences[i] = uuid(c.Fence)
	}
	_, err := l.pool.Exec(ctx, `select oncesink.note_stuck($1::text, $2::text[], $3::int[], $4::text[]::uuid[], $5::text)`,
		l.group, topics, partitions, fences, reason)
	if err != nil {
		return fmt.Errorf("note what partitions are stuck at: %w", missingLedger(err))
	}
	return nil
}

// Alive reports whether a process with this instance name has a session open.
// A connection pooler keeps sessions, and their names, beyond the process.
func (l *Ledger) Alive(ctx context.Context, instance string) (bool, error) {
	var alive bool
	err := l.pool.QueryRow(ctx, `select exists (select from pg_stat_activity
		where application_name = $1::text and datname = current_database())`, appPrefix+instance).Scan(&alive)
	if err != nil {
		return false, fmt.Errorf("look for sessions of instance %s: %w", instance, err)
	}
	return alive, nil
}

// connect opens a connection beside the pool, as the pool would, keepalives included:
// what waits for a lock or asks after a broken connection must not depend on a free or
// a healthy one there.
func (l *Ledger) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg := l.pool.Config()
	if cfg.BeforeConnect != nil {
		if err := cfg.BeforeConnect(ctx, cfg.ConnConfig); err != nil {
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil || cfg.AfterConnect == nil {
		return conn, err
	}
	if err := cfg.AfterConnect(ctx, conn); err != nil {
		_ = conn.Close(ctx) // err says why
		return nil, err
	}
	return conn, nil
}
