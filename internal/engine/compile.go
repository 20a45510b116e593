package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/target"
	"github.com/oncesink/oncesink/sink"
)

// mappingData is the configuration, compiled against the catalog of one moment. It is immutable.
type mappingData struct {
	tables []*target.Table
	topics map[string][]int32 // topic -> indexes of its tables
	byName []int              // indexes of tables in the order of their names
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

// compileMapping reads the target tables from the catalog and checks the configuration against them. All problems
// found are *sink.ConfigErrors, joined. Any other error is one of the connection.
func compileMapping(ctx context.Context, tx pgx.Tx, cfg *sink.Config, stages map[string]*target.Stage) (*mappingData, error) {
	ps := &problems{}
	if err := checkOwnTables(ctx, tx, ps); err != nil {
		return nil, err
	}
	var err error
	m := &mappingData{topics: make(map[string][]int32)}
	// The stamp first: what changes while the catalog is read makes the first transaction read it again.
	if len(ps.errs) == 0 {
		if m.stamp, err = catalog.ReadStamp(ctx, tx, configured(cfg)); err != nil {
			return nil, fmt.Errorf("read the catalog: %w", err)
		}
	}
	seen := map[string]bool{}
	var relations []*catalog.Relation // of m.tables
	for _, tc := range cfg.Tables {
		t, r, err := m.openTable(ctx, tx, cfg, tc, stages[tc.Name], ps)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		if seen[t.Title()] {
			ps.add("table "+t.Title()+" has two entries", "name both topics in one entry: two mappings of one table would undo each other's columns (rule 10)")
			continue
		}
		seen[t.Title()] = true
		m.tables, relations = append(m.tables, t), append(relations, r)
	}
	for i, t := range m.tables {
		if t.Stage != nil {
			continue
		}
		if err := relations[i].ReadEffects(ctx, tx); err != nil {
			return nil, fmt.Errorf("read table %s: %w", t.Title(), err)
		}
		lintTable(t, relations[i], m.tables)
	}
	if err := ps.join(); err != nil {
		return nil, err
	}
	for _, r := range relations {
		m.catalog += fmt.Sprintf("%+v\n", *r)
	}
	for i, t := range m.tables {
		t.Place = int32(i)
		m.names = append(m.names, t.Quoted())
		m.byName = append(m.byName, i)
		for _, topic := range t.Topics {
			m.topics[topic] = append(m.topics[topic], int32(i))
		}
	}
	oids := make([]uint32, len(m.tables))
	for i, t := range m.tables {
		oids[i] = t.OID
	}
	references, err := catalog.References(ctx, tx, oids)
	if err != nil {
		return nil, fmt.Errorf("read foreign keys: %w", err)
	}
	m.catalog += fmt.Sprintln(references)
	m.arrange(references)
	m.prepareColumns(cfg.TimeZone)
	slices.SortFunc(m.byName, func(a, b int) int { return strings.Compare(m.tables[a].Title(), m.tables[b].Title()) })
	return m, nil
}

// describeColumns lists the columns that events fill, with their types.
func describeColumns(t *target.Table) []string {
	out := make([]string, len(t.Columns))
	for i := range t.Columns {
		out[i] = t.Columns[i].Name + " " + t.Columns[i].Declared
	}
	return out
}

// onlyIn lists what only a has.
func onlyIn(a, b []string) string {
	only := slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	return strings.Join(only, ", ")
}

// openTable compiles one entry. It returns nil without an error if a problem
// leaves no table to speak of.
func (m *mappingData) openTable(ctx context.Context, tx pgx.Tx, all *sink.Config, cfg sink.TableConfig, stage *target.Stage, ps *problems) (*target.Table, *catalog.Relation, error) {
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
	t := &target.Table{
		OID: r.OID, Schema: r.Schema, Name: r.Name, Strategy: cfg.Strategy, Guarded: cfg.Guard != "none", Version: -1,
		Stage: stage, Strict: all.Rounding == pgtext.RoundingRefuse, IgnoreTombstones: cfg.Tombstones == "ignore", Topics: cfg.Topics, Config: cfg, Lock: pgname.LockKey(r.Qualified()),
	}
	mapColumns(t, r, cfg, ps)
	mapKey(t, r, cfg, ps)
	mapVersion(t, r, cfg, ps)
	if err := mapTombstones(ctx, tx, t, cfg, ps); err != nil {
		return nil, nil, err
	}
	if err := mapComputed(ctx, tx, t, r, ps); err != nil {
		return nil, nil, err
	}
	if t.Strategy == sink.Children {
		parent := slices.IndexFunc(m.tables, func(p *target.Table) bool { return p.Config.Name == cfg.Parent })
		if parent < 0 {
			adoptChildren(t, nil, r, ps)
		} else {
			adoptChildren(t, m.tables[parent], r, ps)
		}
		if t.SetsTable != "" {
			m := setMemoryOf(t)
			if err := m.check(ctx, tx, ps); err != nil {
				return nil, nil, err
			}
		}
	}
	checkGuard(t, r, ps)
	checkPrivileges(t, r, ps)
	checkCopy(t, r)
	return t, r, nil
}

// prepareColumns tells the columns' types what zone times without one are in.
func (m *mappingData) prepareColumns(timeZone string) {
	session, err := time.LoadLocation(timeZone)
	if err != nil || timeZone == "Local" {
		session = nil // PostgreSQL knows it, and is asked where it matters
	}
	for _, t := range m.tables {
		for i := range t.Columns {
			t.Columns[i].Session = session
			t.Columns[i].Prepare()
		}
	}
}

// checkCopy finds out whether rows may go by COPY at all.
func checkCopy(t *target.Table, r *catalog.Relation) {
	switch {
	case r.RowsFiltered:
		t.CopyRefused = "row level security applies to the role, which COPY refuses"
	case len(t.Others) > 0 && t.Strategy == sink.Upsert:
		t.CopyRefused = "it has " + strings.Join(t.Others, " and ") + " besides the key"
	case len(computedColumns(t)) > 0:
		t.CopyRefused = "SQL computes " + strings.Join(computedColumns(t), ", ") + " (a generated column would leave COPY possible)"
	}
}

// configured are the names of the tables as the configuration has them, quoted.
func configured(cfg *sink.Config) (names []string) {
	for _, tc := range cfg.Tables {
		schema, name, err := pgname.Split(tc.Name)
		switch {
		case err != nil: // openTable reports it
		case schema == "":
			names = append(names, pgname.Quote(name))
		default:
			names = append(names, pgx.Identifier{schema, name}.Sanitize())
		}
	}
	return names
}
