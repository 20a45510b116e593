package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/sink"
)

// mapping is the configuration, compiled against the catalog of one moment. It is immutable, but for
// what its tables learn. When a table is altered the sink goes on with another one (rule 29): each
// transaction looks whether the catalog still says what its mapping was compiled from.
type mapping struct {
	tables []*table
	topics map[string][]int32 // topic -> indexes of its tables
	byName []int              // indexes of tables in the order of their names
	// decoders of the topics; a topic that feeds no table has none.
	decoders map[string]*decoder
	// order in which tables are written, the referenced ones first.
	order []int
	// references: one of the tables has a foreign key to another one, or to itself. deferrable: one can be
	// checked at the end.
	references, deferrable bool
	// names of the tables as SQL takes them, and what the catalog said of them.
	names []string
	stamp catalog.Stamp
	// catalog is all that was read of the tables; mappings of one catalog decode alike.
	catalog string
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
		same := *old
		same.stamp = m.stamp
		s.compiled.now.Store(&same)
		return &same, nil
	}
	for i, t := range m.tables {
		if was := old.tables[i].title(); t.title() != was {
			return nil, &sink.ConfigError{Problem: fmt.Sprintf("%s is now table %s; it was %s", t.cfg.Name, t.title(), was),
				Fix: "write the table's schema into the configuration, or move it back"}
		}
		if t.oid != old.tables[i].oid {
			s.log.Warn("another table has taken the name: going on with it. What earlier events wrote is not in it, unless somebody put it there",
				slog.String("table", t.title()))
		}
		t.learn = old.tables[i].learn
		t.ordered.Store(old.tables[i].ordered.Load())
		if was, is := old.tables[i].describeColumns(), t.describeColumns(); !slices.Equal(was, is) {
			s.log.Warn("a table was altered: going on with it as it is now", slog.String("table", t.title()),
				slog.String("gone", onlyIn(was, is)), slog.String("new", onlyIn(is, was)))
		}
	}
	s.compiled.now.Store(m)
	return m, nil
}

// describeColumns lists the columns that events fill, with their types.
func (t *table) describeColumns() []string {
	out := make([]string, len(t.columns))
	for i := range t.columns {
		out[i] = t.columns[i].name + " " + t.columns[i].Declared
	}
	return out
}

// onlyIn lists what only a has.
func onlyIn(a, b []string) string {
	only := slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	return strings.Join(only, ", ")
}

// compile reads the target tables from the catalog and checks the configuration against them, in a
// transaction that changes nothing. All problems found are *ConfigErrors, joined. Any other error is one
// of the connection.
func (s *Sink) compile(ctx context.Context) (*mapping, error) {
	cfg, ps := s.cfg, &problems{}
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

	if err := checkOwnTables(ctx, tx, ps); err != nil {
		return nil, err
	}
	m := &mapping{topics: make(map[string][]int32)}
	// The stamp first: what changes while the catalog is read makes the first transaction read it again.
	if len(ps.errs) == 0 {
		if m.stamp, err = catalog.ReadStamp(ctx, tx, configured(&cfg)); err != nil {
			return nil, fmt.Errorf("read the catalog: %w", err)
		}
	}
	seen := map[string]bool{}
	var relations []*catalog.Relation // of m.tables
	for _, tc := range cfg.Tables {
		t, r, err := m.openTable(ctx, tx, &cfg, tc, s.stages[tc.Name], ps)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		if seen[t.title()] {
			ps.add("table "+t.title()+" has two entries", "name both topics in one entry: two mappings of one table would undo each other's columns (rule 10)")
			continue
		}
		seen[t.title()] = true
		m.tables, relations = append(m.tables, t), append(relations, r)
	}
	for i, t := range m.tables {
		if t.stage != nil {
			continue
		}
		if err := relations[i].ReadEffects(ctx, tx); err != nil {
			return nil, fmt.Errorf("read table %s: %w", t.title(), err)
		}
		t.lint(relations[i], m.tables)
	}
	if err := ps.join(); err != nil {
		return nil, err
	}
	for _, r := range relations {
		m.catalog += fmt.Sprintf("%+v\n", *r)
	}
	for i, t := range m.tables {
		t.place = int32(i)
		m.names = append(m.names, t.quoted())
		m.byName = append(m.byName, i)
		for _, topic := range t.topics {
			m.topics[topic] = append(m.topics[topic], int32(i))
		}
	}
	oids := make([]uint32, len(m.tables))
	for i, t := range m.tables {
		oids[i] = t.oid
	}
	references, err := catalog.References(ctx, tx, oids)
	if err != nil {
		return nil, fmt.Errorf("read foreign keys: %w", err)
	}
	m.catalog += fmt.Sprintln(references)
	m.arrange(references)
	if err := m.compileDecoders(cfg.TimeZone); err != nil {
		return nil, fmt.Errorf("compile the mapping: %w", err)
	}
	slices.SortFunc(m.byName, func(a, b int) int { return strings.Compare(m.tables[a].title(), m.tables[b].title()) })
	return m, nil
}
