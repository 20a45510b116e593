// Package mapping compiles the configuration against the catalog: it decides which columns events fill, from where and
// how, and says what is wrong, or surprising. It reads the catalog in a transaction that it is given, and writes nothing.
package mapping

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// Mapping is the configuration, compiled against the catalog of one moment. It is immutable.
type Mapping struct {
	Tables []*tables.Table
	Topics map[string][]int32          // topic -> indexes of its tables
	Read   map[string]sink.TopicConfig // how topics are read
	ByName []int                       // indexes of tables in the order of their names
	// Order in which tables are written, the referenced ones first.
	Order []int
	// References: one of the tables has a foreign key to another one, or to itself. Deferrable: one can be
	// checked at the end.
	References, Deferrable bool
	// Names of the tables as SQL takes them, and what the catalog said of them.
	Names []string
	Stamp catalog.Stamp
	// Catalog is all that was read of the tables; mappings of one catalog decode alike.
	Catalog string

	relations []*catalog.Relation // of Tables
	edges     []catalog.Edge
}

// Compile reads the target tables from the catalog and checks the configuration, which [Check] found right and which has
// its defaults, against them. All problems
// found are *sink.ConfigErrors, joined. Any other error is one of the connection.
func Compile(ctx context.Context, tx pgx.Tx, cfg *sink.Config, stages map[string]*tables.Stage) (*Mapping, error) {
	ps := &Problems{}
	if err := checkOwnTables(ctx, tx, ps); err != nil {
		return nil, err
	}
	var err error
	if len(ps.Errs) == 0 {
		err = checkKeptSchemas(ctx, tx, cfg, ps)
	}
	if err != nil {
		return nil, err
	}
	m := &Mapping{Topics: make(map[string][]int32), Read: cfg.Topics}
	// The stamp first: what changes while the catalog is read makes the first transaction read it again.
	var unread error
	if len(ps.Errs) == 0 {
		if m.Stamp, err = readStamp(ctx, tx, configured(cfg)); err != nil {
			unread = fmt.Errorf("read the catalog: %w", err)
			if pgerr.SQLState(err) != insufficientPrivilege {
				return nil, unread
			}
		}
	}
	ignored, err := readIgnored(ctx, tx, cfg, ps)
	if err != nil {
		return nil, err
	}
	titles := map[string]bool{}
	for _, tc := range cfg.Tables {
		t, r, err := m.OpenTable(ctx, tx, cfg, tc, stages[tc.Name], ps)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		if titles[t.Title()] {
			ps.Add("table "+t.Title()+" has two entries", "name both topics in one entry: two mappings of one table would undo each other's columns")
			continue
		}
		titles[t.Title()] = true
		if t.Stage == nil && t.Strategy != sink.Children {
			t.NewFields, t.Ignored = t.Config.NewFields, append(slices.Clone(t.Config.IgnoreFields), ignored[t.Title()]...)
		}
		m.Tables, m.relations = append(m.Tables, t), append(m.relations, r)
	}
	if err := ps.Join(); err != nil {
		return nil, err
	}
	if unread != nil { // nothing has said why
		return nil, unread
	}
	for i, r := range m.relations {
		m.Catalog += fmt.Sprintf("%+v %q\n", *r, m.Tables[i].Ignored)
	}
	for i, t := range m.Tables {
		t.Number = int32(i)
		m.Names = append(m.Names, t.Quoted())
		m.ByName = append(m.ByName, i)
		for _, topic := range t.Topics {
			m.Topics[topic] = append(m.Topics[topic], int32(i))
		}
	}
	oids := make([]uint32, len(m.Tables))
	for i, t := range m.Tables {
		oids[i] = t.OID
	}
	if m.edges, err = catalog.ReadEdges(ctx, tx, oids); err != nil {
		return nil, fmt.Errorf("read foreign keys: %w", err)
	}
	m.Arrange(m.edges)
	m.Catalog += fmt.Sprintln(m.Order, m.References, m.Deferrable)
	m.prepareColumns(cfg.TimeZone)
	slices.SortFunc(m.ByName, func(a, b int) int { return strings.Compare(m.Tables[a].Title(), m.Tables[b].Title()) })
	return m, nil
}

// insufficientPrivilege is what a schema of a table answers that the role may not use: [checkPrivileges] tells of it.
const insufficientPrivilege = "42501"

// readStamp reads the stamp, and leaves the transaction usable if that fails.
func readStamp(ctx context.Context, tx pgx.Tx, names []string) (s catalog.Stamp, err error) {
	nested, err := tx.Begin(ctx)
	if err != nil {
		return s, err
	}
	s, err = catalog.ReadStamp(ctx, nested, names)
	return s, errors.Join(err, nested.Rollback(ctx))
}

// DescribeColumns lists the columns that events fill, with their types.
func DescribeColumns(t *tables.Table) []string {
	out := make([]string, len(t.Columns))
	for i := range t.Columns {
		out[i] = t.Columns[i].Name + " " + t.Columns[i].Declared
	}
	return out
}

// OnlyIn lists what only a has.
func OnlyIn(a, b []string) string {
	only := slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	return strings.Join(only, ", ")
}

// OpenTable compiles one entry that [Check] found right. It returns nil without an error if a problem
// leaves no table to speak of.
func (m *Mapping) OpenTable(ctx context.Context, tx pgx.Tx, all *sink.Config, cfg sink.TableConfig, stage *tables.Stage, ps *Problems) (*tables.Table, *catalog.Relation, error) {
	schema, name, err := pgname.Split(cfg.Name)
	if err != nil {
		ps.Add(err.Error(), `write "table" or "schema.table", a name with a dot in double quotes`)
		return nil, nil, nil
	}
	r, err := catalog.Read(ctx, tx, schema, name)
	if errors.Is(err, catalog.ErrNoTable) {
		ps.Add("table "+cfg.Name+" does not exist", "create it, or give its statement as `create:` and run `oncesink init`")
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !checkRelation(r, all, stage, ps) {
		return nil, nil, nil
	}
	t := &tables.Table{
		OID: r.OID, Schema: r.Schema, Name: r.Name, Strategy: cfg.Strategy, Guarded: cfg.Guard != sink.GuardNone, Version: -1,
		Stage: stage, Strict: all.Rounding == pgtext.RoundingRefuse, IgnoreTombstones: cfg.Tombstones == sink.IgnoreTombstones, Topics: cfg.Topics, Config: cfg, Lock: pgname.LockKey(r.Qualified()),
		Distributed: r.Distribution.Spread(),
	}
	t.Names, t.Owner = columnNames(r), pgname.Readable(r.Owner)
	mapColumns(t, r, all, cfg, ps)
	mapKey(t, r, cfg, ps)
	mapVersion(t, r, cfg, ps)
	mapConditions(t, all, cfg, ps)
	if err := mapTombstones(ctx, tx, t, all, cfg, ps); err != nil {
		return nil, nil, err
	}
	if err := mapComputed(ctx, tx, t, r, ps); err != nil {
		return nil, nil, err
	}
	if err := mapInstead(ctx, tx, t, ps); err != nil {
		return nil, nil, err
	}
	if t.Strategy == sink.Children {
		// That of a parent which can't be written is no problem of its children.
		if i := slices.IndexFunc(m.Tables, func(p *tables.Table) bool { return p.Config.Name == cfg.Parent }); i >= 0 {
			attach(t, m.Tables[i], ps)
			sets := setMemoryOf(t)
			if !t.Bulk() { // there it is made afterwards
				if err := sets.check(ctx, tx, ps); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	checkGuard(t, r, ps)
	if err := checkDistribution(ctx, tx, all, t, r, ps); err != nil {
		return nil, nil, err
	}
	checkPrivileges(all, t, r, ps)
	checkCopy(t, r)
	return t, r, nil
}

// prepareColumns tells the columns' types what zone times without one are in.
func (m *Mapping) prepareColumns(timeZone string) {
	session, err := time.LoadLocation(timeZone)
	if err != nil || timeZone == "Local" {
		session = nil // PostgreSQL knows it, and is asked where it matters
	}
	for _, t := range m.Tables {
		for i := range t.Columns {
			t.Columns[i].Session = session
			t.Columns[i].Prepare()
		}
	}
}

// checkCopy finds out whether rows may go by COPY at all.
func checkCopy(t *tables.Table, r *catalog.Relation) {
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
		case err != nil: // Check has reported it
		case schema == "":
			names = append(names, pgname.Quote(name))
		default:
			names = append(names, pgx.Identifier{schema, name}.Sanitize())
		}
	}
	return names
}
