package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Plan returns what [Init] would do, a sentence for each thing that it makes or alters, and nothing if all is
// there. It does nothing itself: Create statements are executed in a transaction that is rolled back. The ledger need not
// be there.
//
// What keeps a table from being written whatever Init does, such as a key without a unique index, are *ConfigErrors,
// joined, in the words of `run`. What the role that runs later may do is not looked at.
func Plan(ctx context.Context, pool *pgxpool.Pool, cfg sink.Config) (steps []string, err error) {
	if err := mapping.Refused(mapping.Check(&cfg, nil)); err != nil {
		return nil, err
	}
	cfg = mapping.WithDefaults(cfg)
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("plan init: %w", err)
	}
	defer conn.Release()
	current, err := offsets.Current(ctx, conn.Conn(), component, migrations)
	if err != nil {
		return nil, err
	}
	if !current {
		steps = append(steps, "oncesink.dead_letters: creates it, or brings it up to date")
	}
	tx, err := beginInit(ctx, conn.Conn(), &cfg)
	if err != nil {
		return nil, fmt.Errorf("plan init: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	m, ps := &mapping.Mapping{}, &mapping.Problems{Ahead: true}
	for _, tc := range cfg.Tables {
		r, created, err := createTable(ctx, tx, tc)
		if config := (*sink.ConfigError)(nil); errors.As(err, &config) {
			ps.Errs = append(ps.Errs, err)
			if _, err := tx.Exec(ctx, "select"); err != nil {
				break // a create: statement ended the transaction
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("plan init of %s: %w", tc.Name, err)
		}
		t, _, err := m.OpenTable(ctx, tx, &cfg, tc, nil, ps)
		if err != nil {
			return nil, fmt.Errorf("plan init of %s: %w", tc.Name, err)
		}
		if t == nil {
			continue
		}
		m.Tables = append(m.Tables, t)
		memories, err := memoriesIn(ctx, tx, r, cfg, tc)
		if err != nil {
			return nil, fmt.Errorf("plan init of %s: %w", tc.Name, err)
		}
		more, err := initSteps(ctx, tx, t, r, memories, created)
		if err != nil {
			return nil, fmt.Errorf("plan init of %s: %w", tc.Name, err)
		}
		steps = append(steps, more...)
	}
	return steps, ps.Join()
}

// initSteps says what init does to one table.
func initSteps(ctx context.Context, tx pgx.Tx, t *tables.Table, r *catalog.Relation, memories []mapping.Memory, created bool) (steps []string, err error) {
	step := func(format string, args ...any) {
		steps = append(steps, t.Title()+": "+fmt.Sprintf(format, args...))
	}
	if created {
		step("creates it, by its `create:` statement")
	}
	if !t.Guarded || t.Bulk() {
		return steps, nil
	}
	var columns []string
	for _, name := range []string{tables.SourceColumn, tables.OffsetColumn} {
		if r.Column(name) == nil {
			columns = append(columns, name)
		}
	}
	if len(columns) > 0 {
		how := " (no rewrite; a lock for a moment)"
		if created {
			how = ""
		}
		step("adds %s%s", strings.Join(columns, " and "), how)
	}
	if t.Strategy == sink.Append && t.AppendKey == nil {
		how := " (reads the table, and holds up writers meanwhile)"
		if created {
			how = ""
		}
		step("adds unique index %s%s", indexName(t.Name), how)
	}
	for _, m := range memories {
		f, err := m.Find(ctx, tx)
		if err != nil {
			return nil, err
		}
		switch {
		case f.Exists && len(f.Differ) > 0:
			step("gives columns %s of %s its types", strings.Join(f.Differ, ", "), m.Quoted())
		case !f.Exists && m.Fill != "" && !created:
			step("creates %s beside it, and fills it from the rows (reads the table)", m.Quoted())
		case !f.Exists:
			step("creates %s beside it", m.Quoted())
		}
		if !t.Distributed {
			continue
		}
		placed, err := m.Placed(ctx, tx)
		if err != nil {
			return nil, err
		}
		if !placed {
			step("distributes %s as the table is", m.Quoted())
		}
	}
	return steps, nil
}
