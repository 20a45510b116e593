package engine

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/formats"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Open checks the configuration, then reads the target tables from the catalog and checks it
// against them, in a transaction that changes nothing. All problems found, with the one or with the other, are
// *ConfigErrors, joined. Any other error is one of the connection.
// The ledger may be nil if nothing is going to be written: see [Sink.WithLedger].
func Open(ctx context.Context, pool *pgxpool.Pool, ledger *offsets.Ledger, cfg sink.Config) (*Sink, error) {
	return OpenWith(ctx, pool, ledger, cfg, Options{})
}

// Options are what a sink is opened with beside its configuration.
type Options struct {
	// Stages among the tables, by the names of their entries.
	Stages map[string]*tables.Stage
	// Formats of the topics. Nil: what the configuration says.
	Formats decode.Formats
}

// OpenWith is [Open] with options.
func OpenWith(ctx context.Context, pool *pgxpool.Pool, ledger *offsets.Ledger, cfg sink.Config, o Options) (*Sink, error) {
	if err := mapping.Refused(mapping.Check(&cfg, o.Stages)); err != nil {
		return nil, err
	}
	cfg = mapping.WithDefaults(cfg)
	if o.Formats == nil {
		o.Formats = formats.Of(cfg.Topics)
	}
	s := &Sink{
		pool: pool, ledger: ledger, cfg: cfg, stages: o.Stages, formats: o.Formats, schemas: &decode.Schemas{}, log: cfg.Logger, compiled: &compiled{},
		beginSQL: mapping.SettingsOf(&cfg).Begin(), slack: defaultSlack, stuckAfter: defaultStuckAfter,
		writers: &sync.Pool{New: func() any { return new(writer) }}, warned: &warned{},
		stats:  newStats(),
		claims: &claims{met: map[offsets.Partition]met{}}, newFields: &newFields{noted: map[string]bool{}, alters: map[string]*altering{}},
	}
	m, err := s.compile(ctx)
	if err != nil {
		return nil, err
	}
	s.compiled.now.Store(m)
	return s, nil
}
