package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/sink"
)

// mapping is the configuration, compiled against the catalog of one moment, with what its tables have learnt. When a
// table is altered the sink goes on with another one (rule 29): each
// transaction looks whether the catalog still says what its mapping was compiled from.
type mapping struct {
	*mappingData
	tables []*table
	// decoders of the topics; a topic that feeds no table has none.
	decoders map[string]*decoder
}

// newMapping is a mapping whose tables have learnt nothing yet.
func newMapping(data *mappingData) (*mapping, error) {
	m := &mapping{mappingData: data}
	for _, t := range data.tables {
		m.tables = append(m.tables, &table{Table: t, learn: &learner{}})
	}
	for _, t := range m.tables {
		for _, c := range t.Table.Children {
			t.children = append(t.children, m.tables[c.Place])
		}
	}
	var err error
	if m.decoders, err = compileDecoders(data); err != nil {
		return nil, fmt.Errorf("compile the mapping: %w", err)
	}
	return m, nil
}

// compiled is the mapping that a sink goes by.
type compiled struct {
	now atomic.Pointer[mapping]
	// mu is held by whoever compiles another one.
	mu sync.Mutex
}

// mapping is the one of this moment.
func (s *Sink) mapping() *mapping { return s.compiled.now.Load() }

// adopt goes on with what the tables are now, if that still fits the configuration. Where another
// transaction has done so already, its mapping is taken.
func (s *Sink) adopt(ctx context.Context, old *mapping) (*mapping, error) {
	s.compiled.mu.Lock()
	defer s.compiled.mu.Unlock()
	if now := s.mapping(); now != old {
		return now, nil
	}
	m, err := s.compile(ctx)
	if err != nil {
		return nil, err
	}
	if m.catalog == old.catalog { // a truncate, a grant, a partition more
		data := *old.mappingData
		data.stamp = m.stamp
		same := *old
		same.mappingData = &data
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
		if was, is := describeColumns(old.tables[i].Table), describeColumns(t.Table); !slices.Equal(was, is) {
			s.log.Warn("a table was altered: going on with it as it is now", slog.String("table", t.Title()),
				slog.String("gone", onlyIn(was, is)), slog.String("new", onlyIn(is, was)))
		}
	}
	s.compiled.now.Store(m)
	return m, nil
}

// compile reads the target tables from the catalog and checks the configuration against them, in a
// transaction that changes nothing. All problems found are *ConfigErrors, joined. Any other error is one
// of the connection.
func (s *Sink) compile(ctx context.Context) (*mapping, error) {
	ps := &problems{}
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: s.beginSQL})
	if err != nil {
		switch pgerr.Classify(err) {
		case pgerr.Configuration:
			ps.add("connect to PostgreSQL: "+pgerr.Safe(err), fix(err))
			return nil, ps.join()
		case pgerr.Data: // of set_config
			var pg *pgconn.PgError
			errors.As(err, &pg)
			ps.add("the settings of a transaction are refused: "+pg.Message, "correct time_zone or search_path")
			return nil, ps.join()
		}
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	data, err := compileMapping(ctx, tx, &s.cfg, s.stages)
	if err != nil {
		return nil, err
	}
	return newMapping(data)
}
