package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// withDefaults fills what the configuration leaves open.
func withDefaults(c sink.Config) sink.Config {
	orString := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	orDuration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	orString(&c.TimeZone, "UTC")
	orString(&c.SearchPath, "public")
	orString(&c.SynchronousCommit, "on")
	orString(&c.Rounding, pgtext.RoundingAllow)
	orDuration(&c.StatementTimeout, 60*time.Second)
	orDuration(&c.LockTimeout, 10*time.Second)
	orDuration(&c.IdleTimeout, 10*time.Second)
	orDuration(&c.ForeignKeyWait, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Tables = slices.Clone(c.Tables)
	for i := range c.Tables {
		if c.Tables[i].Strategy == "" {
			c.Tables[i].Strategy = sink.Upsert
		}
		orString(&c.Tables[i].Tombstones, "delete")
	}
	return c
}

// Open reads the target tables from the catalog and checks the configuration
// against them, in a transaction that changes nothing. All problems found are
// *ConfigErrors, joined. Any other error is one of the connection.
// The ledger may be nil if nothing is going to be written: see [Sink.WithLedger].
func Open(ctx context.Context, pool *pgxpool.Pool, ledger *offsets.Ledger, cfg sink.Config) (*Sink, error) {
	return OpenStages(ctx, pool, ledger, cfg, nil)
}

// OpenStages is Open where some tables, by the names of their entries, are stages.
func OpenStages(ctx context.Context, pool *pgxpool.Pool, ledger *offsets.Ledger, cfg sink.Config, stages map[string]*Stage) (*Sink, error) {
	cfg = withDefaults(cfg)
	s := &Sink{
		pool: pool, ledger: ledger, cfg: cfg, stages: stages, log: cfg.Logger, compiled: &compiled{},
		beginSQL: beginStatement(&cfg), slack: defaultSlack, stuckAfter: defaultStuckAfter,
		writers: &sync.Pool{New: func() any { return new(writer) }}, warned: &warned{},
		stats:  &stats{tables: map[string]*tableStats{}},
		claims: &claims{met: map[offsets.Partition]offsets.Token{}},
	}
	if cfg.SynchronousCommit != "on" && cfg.SynchronousCommit != "off" {
		return nil, errors.Join(&sink.ConfigError{Problem: "synchronous_commit is " + cfg.SynchronousCommit, Fix: `it is "on" or "off"`})
	}
	if cfg.Rounding != pgtext.RoundingAllow && cfg.Rounding != pgtext.RoundingRefuse {
		return nil, errors.Join(&sink.ConfigError{Problem: "rounding is " + cfg.Rounding, Fix: `it is "allow" or "refuse"`})
	}
	m, err := s.compile(ctx)
	if err != nil {
		return nil, err
	}
	s.compiled.now.Store(m)
	return s, nil
}

// problems gathers what is wrong with the configuration.
type problems struct {
	errs []error
	// ahead of init: what init mends, and what the role that runs later lacks, is no problem yet.
	ahead bool
}

func (p *problems) add(problem, fix string) {
	p.errs = append(p.errs, &sink.ConfigError{Problem: problem, Fix: fix})
}

// later adds a problem that init mends, or that is another role's.
func (p *problems) later(problem, fix string) {
	if !p.ahead {
		p.add(problem, fix)
	}
}

func (p *problems) join() error { return errors.Join(p.errs...) }

// openTable compiles one entry. It returns nil without an error if a problem
// leaves no table to speak of.
func (m *mapping) openTable(ctx context.Context, tx pgx.Tx, all *sink.Config, cfg sink.TableConfig, stage *Stage, ps *problems) (*table, *catalog.Relation, error) {
	schema, name, err := pgname.Split(cfg.Name)
	if err != nil {
		ps.add(err.Error(), `write "table" or "schema.table", a name with a dot in double quotes`)
		return nil, nil, nil
	}
	checkEntry(cfg, ps)
	r, err := catalog.Read(ctx, tx, schema, name)
	if errors.Is(err, catalog.ErrNoTable) {
		ps.add("table "+cfg.Name+" does not exist", "create it, or give its statement as `create:` and run `oncesink init`")
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !checkRelation(r, all, stage, ps) {
		return nil, nil, nil
	}
	t := &table{
		oid: r.OID, schema: r.Schema, name: r.Name, learn: &learner{}, strategy: cfg.Strategy, guarded: cfg.Guard != "none", version: -1,
		stage: stage, strict: all.Rounding == pgtext.RoundingRefuse, ignoreTombstones: cfg.Tombstones == "ignore", topics: cfg.Topics, cfg: cfg, lock: pgname.LockKey(r.Qualified()),
	}
	t.mapColumns(r, cfg, ps)
	t.mapKey(r, cfg, ps)
	t.mapVersion(r, cfg, ps)
	if err := t.mapTombstones(ctx, tx, cfg, ps); err != nil {
		return nil, nil, err
	}
	if err := t.mapComputed(ctx, tx, r, ps); err != nil {
		return nil, nil, err
	}
	if t.strategy == sink.Children {
		parent := slices.IndexFunc(m.tables, func(p *table) bool { return p.cfg.Name == cfg.Parent })
		if parent < 0 {
			t.adopt(nil, r, ps)
		} else {
			t.adopt(m.tables[parent], r, ps)
		}
		if t.setsTable != "" {
			m := t.setMemory()
			if err := m.check(ctx, tx, ps); err != nil {
				return nil, nil, err
			}
		}
	}
	t.checkGuard(r, ps)
	t.checkPrivileges(r, ps)
	t.checkCopy(r)
	return t, r, nil
}
