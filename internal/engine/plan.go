package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/sink"
)

// plan is the configuration, compiled against the catalog of one moment, with what its tables have learnt. When a
// table is altered the sink goes on with another one (rule 29): each
// transaction looks whether the catalog still says what its mapping was compiled from.
type plan struct {
	*mapping.Mapping
	tables []*table
	decode *decode.Plan
}

// newPlan is a mapping whose tables have learnt nothing yet.
func (s *Sink) newPlan(data *mapping.Mapping) (*plan, error) {
	m := &plan{Mapping: data}
	for _, t := range data.Tables {
		m.tables = append(m.tables, &table{Table: t, learn: &learner{}})
	}
	for _, t := range m.tables {
		for _, c := range t.Table.Children {
			t.children = append(t.children, m.tables[c.Number])
		}
	}
	var err error
	if m.decode, err = decode.Compile(data, s.formats, s.schemas); err != nil {
		return nil, fmt.Errorf("compile the plan: %w", err)
	}
	return m, nil
}

// compiled is the plan that a sink goes by.
type compiled struct {
	now atomic.Pointer[plan]
	// mu is held by whoever compiles another one.
	mu sync.Mutex
}

// plan is the one of this moment.
func (s *Sink) plan() *plan { return s.compiled.now.Load() }

// recompile goes on with what the tables are now, if that still fits the configuration. Where another
// transaction has done so already, its mapping is taken.
func (s *Sink) recompile(ctx context.Context, old *plan) (*plan, error) {
	s.compiled.mu.Lock()
	defer s.compiled.mu.Unlock()
	if now := s.plan(); now != old {
		return now, nil
	}
	m, err := s.compile(ctx)
	if err != nil {
		return nil, err
	}
	if m.Catalog == old.Catalog { // a truncate, a grant, a partition more
		data := *old.Mapping
		data.Stamp = m.Stamp
		same := *old
		same.Mapping = &data
		s.compiled.now.Store(&same)
		return &same, nil
	}
	for i, t := range m.tables {
		if was := old.tables[i].Title(); t.Title() != was {
			return nil, &sink.ConfigError{Problem: fmt.Sprintf("%s is now table %s; it was %s", t.Config.Name, t.Title(), was),
				Fix: "write the table's schema into the configuration, or move it back"}
		}
		if t.OID != old.tables[i].OID {
			s.log.Warn("another table has taken the name: going on with it. What earlier events wrote is not in it, unless somebody put it there",
				slog.String("table", t.Title()))
		}
		t.learn = old.tables[i].learn
		if was, is := mapping.DescribeColumns(old.tables[i].Table), mapping.DescribeColumns(t.Table); !slices.Equal(was, is) {
			s.log.Warn("a table was altered: going on with it as it is now", slog.String("table", t.Title()),
				slog.String("gone", mapping.OnlyIn(was, is)), slog.String("new", mapping.OnlyIn(is, was)))
		}
	}
	s.compiled.now.Store(m)
	return m, nil
}

// compile reads the target tables from the catalog and checks the configuration against them, in a
// transaction that changes nothing. All problems found are *ConfigErrors, joined. Any other error is one
// of the connection.
func (s *Sink) compile(ctx context.Context) (*plan, error) {
	ps := &mapping.Problems{}
	tx, err := s.Begin(ctx)
	if err != nil {
		switch pgerr.Classify(err) {
		case pgerr.Configuration:
			ps.Add("connect to PostgreSQL: "+pgerr.Full(err), fix(err))
			return nil, ps.Join()
		case pgerr.Data: // of set_config
			var pg *pgconn.PgError
			errors.As(err, &pg)
			ps.Add("the settings of a transaction are refused: "+pg.Message, "correct time_zone or search_path")
			return nil, ps.Join()
		}
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	data, err := mapping.Compile(ctx, tx, &s.cfg, s.stages)
	if err != nil {
		return nil, err
	}
	return s.newPlan(data)
}
