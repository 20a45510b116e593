package rebuild

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/internal/tables"
)

// compare writes down the keys of rows that differ between table and stage, without
// locking anything. The cut looks at these again, and at the keys of what the stage takes from
// here on: what changes in the table meanwhile comes from the same events.
func (j *job) compare(ctx context.Context) error {
	s, l := &j.stage, &j.layout
	j.progress("comparing", 0, 0)
	var err error
	if j.columns, err = j.filled(ctx); err != nil {
		return err
	}
	if _, err = j.fillChildren(ctx); err != nil {
		return err
	}
	if err := j.keysExist(ctx); err != nil {
		return err
	}
	if !j.DryRun && (!j.scoped() || len(j.children) == 0) { // a dry run names some of the rows, and what lies in a range has to be looked for
		if err := j.scan(ctx, "select not exists (select from "+l.Quoted()+")", nil, &j.bare); err != nil {
			return fmt.Errorf("look for rows: %w", err)
		}
	}
	if j.bare {
		return nil
	}
	if err := j.mark(ctx); err != nil {
		return err
	}
	statements := []string{"drop table if exists " + s.differs}
	if !j.scoped() {
		statements = append(statements, fmt.Sprintf("analyze %s (%s)", s.quoted(), strings.Join(pgname.QuoteAll(l.Key), ", ")))
	}
	statements = append(statements, fmt.Sprintf("create table %s as select %s\n  from %s t full join %s s on %s%s", s.differs, j.eitherKey(), l.Quoted(), s.quoted(), j.sameKey("t", "s"),
		where(j.differs("t", "s"), j.inEitherRange("t", "s"))))
	if list := j.listMemory(); list != "" {
		statements = append(statements, list)
	}
	statements = append(statements, j.listChildren()...)
	if narrow := j.ofRange(); narrow != "" {
		statements = append(statements, "analyze "+s.differs, narrow)
	}
	if err := j.execute(ctx, append(statements, "analyze "+s.differs)...); err != nil {
		return rights("compare", err)
	}
	return nil
}

// mark prepares for finding what the stage takes from here on: an index that has only that. A new index is empty,
// and made in one pass over the stage.
func (j *job) mark(ctx context.Context) error {
	l := &j.layout
	if !l.Guarded {
		return nil
	}
	if err := j.inTx(ctx, j.readStaged); err != nil {
		return err
	}
	j.later = j.fromHere()
	j.marked = j.later
	var statements []string
	for _, p := range j.places() {
		index := pgx.Identifier{"oncesink", p.index}
		statements = append(statements, "drop index if exists "+index.Sanitize(),
			fmt.Sprintf("create index %s on %s (%s) where %s", index[1:].Sanitize(), p.table, strings.Join(pgname.QuoteAll(l.Key), ", "), j.later))
	}
	if err := j.execute(ctx, statements...); err != nil {
		return rights("index the stage", err)
	}
	return nil
}

// fromHere is the condition of a row that its event comes after what the stage has, as last read.
func (j *job) fromHere() string {
	var places strings.Builder
	for _, at := range j.staged {
		if at.source >= 0 {
			fmt.Fprintf(&places, " when %d then %d", at.source, at.next)
		}
	}
	if places.Len() == 0 {
		return "true"
	}
	return fmt.Sprintf("%s >= case %s%s else 0 end", tables.OffsetColumn, tables.SourceColumn, places.String())
}

// place is a table that shows where the stage's events stood, by the table's key, and the index of those that came late.
type place struct{ table, index string }

func (j *job) places() []place {
	s := &j.stage
	places := []place{{s.quoted(), s.name[:len(s.name)-len("stage")] + "late"}}
	if j.layout.Memory != "" {
		places = append(places, place{s.memory(), s.name[:len(s.name)-len("stage")] + "gone"})
	}
	for _, c := range j.children { // an event may bring children without winning its row
		places = append(places, place{c.sets(), c.stage[:len(c.stage)-len("stage")] + "late"})
	}
	return places
}

// filled reads which columns events fill. The others are nobody's business here: a default, or a
// person, fills them (an absent field leaves a column as it is).
func (j *job) filled(ctx context.Context) ([]string, error) {
	var names []string
	if err := j.scan(ctx, "select coalesce(array_agg(name), '{}') from "+j.stage.filled, nil, &names); err != nil {
		return nil, fmt.Errorf("read the columns that events fill: %w", err)
	}
	var columns []string
	for _, c := range j.layout.Columns {
		if slices.Contains(names, c) {
			columns = append(columns, c)
		}
	}
	if j.layout.Guarded {
		columns = append(columns, tables.SourceColumn, tables.OffsetColumn)
	}
	return columns, nil
}

func (j *job) sameKey(a, b string) string {
	var conds []string
	for _, k := range pgname.QuoteAll(j.layout.Key) {
		conds = append(conds, a+"."+k+" = "+b+"."+k)
	}
	return strings.Join(conds, " and ")
}

// eitherKey is the key of whichever row is there.
func (j *job) eitherKey() string {
	var out []string
	for _, k := range pgname.QuoteAll(j.layout.Key) {
		out = append(out, fmt.Sprintf("coalesce(t.%[1]s, s.%[1]s) as %[1]s", k))
	}
	return strings.Join(out, ", ")
}

// differs is the condition that two rows of a key are not the same, byte for byte, or
// that one of them is not there.
func (j *job) differs(a, b string) string {
	key := pgx.Identifier{j.layout.Key[0]}.Sanitize()
	return fmt.Sprintf("(%s.%s is null or %s.%s is null or %s)", a, key, b, key, j.unlike(a, b))
}

// unlike is the condition that two rows of a key are not the same, byte for byte: *<> compares any type so, and takes
// longer than the types' own operators where these say the same.
func (j *job) unlike(a, b string) string { return unlike(&j.layout, j.columns, a, b) }

func unlike(l *engine.Layout, columns []string, a, b string) string {
	var conds, rest []string
	for _, c := range columns {
		if c != tables.SourceColumn && c != tables.OffsetColumn && !slices.Contains(l.Bytewise, c) {
			rest = append(rest, c)
			continue
		}
		q := pgx.Identifier{c}.Sanitize()
		conds = append(conds, fmt.Sprintf("%s.%s is distinct from %s.%s", a, q, b, q))
	}
	if len(rest) > 0 {
		conds = append(conds, fmt.Sprintf("row(%s)::record *<> row(%s)::record", qualified(a, rest), qualified(b, rest)))
	}
	if len(conds) == 0 {
		return "false"
	}
	return "(" + strings.Join(conds, " or ") + ")"
}

func qualified(alias string, columns []string) string {
	out := pgname.QuoteAll(columns)
	for i := range out {
		out[i] = alias + "." + out[i]
	}
	return strings.Join(out, ", ")
}

// scoped reports whether the work is restricted to some rows: to a range, or to keys.
func (j *job) scoped() bool { return j.Range != nil || len(j.Keys) > 0 }

// inRange is the condition that a row lies in the range, or has one of the keys; empty without either.
func (j *job) inRange(alias string) string {
	switch {
	case len(j.Keys) > 0:
		return j.hasKey(alias)
	case j.Range == nil:
		return ""
	}
	c := alias + "." + pgx.Identifier{j.Range.Column}.Sanitize()
	return fmt.Sprintf("%s >= %s and %s < %s", c, j.bound(j.Range.From), c, j.bound(j.Range.To))
}

// inEitherRange also takes rows that moved into the range, or out of it.
func (j *job) inEitherRange(a, b string) string {
	if !j.scoped() {
		return ""
	}
	return fmt.Sprintf("(%s or %s)", j.inRange(a), j.inRange(b))
}

func (j *job) bound(text string) string { return pgname.Literal(text) + "::" + j.rangeType }

func where(conds ...string) string {
	conds = slices.DeleteFunc(conds, func(c string) bool { return c == "" })
	if len(conds) == 0 {
		return ""
	}
	return "\n where " + strings.Join(conds, "\n   and ")
}

// ofFew are the settings of transactions that look for few of a table's rows. What is looked for has just been written, or compared: it lies in memory, and
// PostgreSQL would rather read whole tables than find some thousand rows by their index.
func (j *job) ofFew() mapping.Settings {
	return j.settings.With(mapping.Setting{Name: "random_page_cost", Value: "0.1"})
}

// listLater are the statements that put on the list what the stage took since the comparison.
func (j *job) listLater() (statements []string) {
	for _, p := range j.places() {
		statements = append(statements, fmt.Sprintf("insert into %s select %s from %s%s", j.stage.differs, strings.Join(pgname.QuoteAll(j.layout.Key), ", "), p.table, where(j.marked, j.later)))
	}
	return statements
}

// narrow compares what the stage took since the comparison, without a lock, so that the cut need not. What is alike now, parent, children and
// sets, is off the list until the stage takes the next event of it.
func (j *job) narrow(ctx context.Context) error {
	if j.columns == nil || j.bare || !j.layout.Guarded || j.scoped() {
		return nil
	}
	if err := j.inTx(ctx, j.readStaged); err != nil {
		return err
	}
	later := j.fromHere()
	s, l := &j.stage, &j.layout
	key := strings.Join(pgname.QuoteAll(l.Key), ", ")
	// Sides are the rows of listed keys in the table and in its stage, by key columns.
	sides := func(table, stage string, columns []string, a, b, same string) string {
		listed := func(table, alias string) string {
			return fmt.Sprintf("(select * from %s x where (%s) in (select %s from %s)) %s", table, qualified("x", columns), key, s.differs, alias)
		}
		return fmt.Sprintf("%s full join %s on %s", listed(table, a), listed(stage, b), same)
	}
	either := func(columns []string, a, b string) string {
		var out []string
		for _, c := range pgname.QuoteAll(columns) {
			out = append(out, fmt.Sprintf("coalesce(%s.%s, %s.%[2]s)", a, c, b))
		}
		return strings.Join(out, ", ")
	}
	unlike := []string{fmt.Sprintf("select %s from %s where %s", either(l.Key, "t", "s"), sides(l.Quoted(), s.quoted(), l.Key, "t", "s", j.sameKey("t", "s")), j.differs("t", "s"))}
	for i := range j.children {
		c := &j.children[i]
		_, _, _, differ := j.compareMemories(c.layout.Sets, c.sets())
		unlike = append(unlike,
			fmt.Sprintf("select %s from %s where t.%s is null or s.%[3]s is null or %[4]s", either(c.layout.OfParent, "t", "s"),
				sides(c.layout.Quoted(), c.staged(), c.layout.OfParent, "t", "s", c.same()), c.lost(), c.unlike()),
			fmt.Sprintf("select %s from %s where %s", either(l.Key, "m", "s"), sides(c.layout.Sets, c.sets(), l.Key, "m", "s", j.sameKey("m", "s")), differ))
	}
	statements := append(j.listLater(), "analyze "+s.differs, fmt.Sprintf("delete from %s where (%s) not in (%s)", s.differs, key, strings.Join(unlike, "\nunion all ")))
	err := j.within(ctx, j.ofFew(), func(ctx context.Context, tx pgx.Tx) error { return pgtx.Exec(ctx, tx, statements...) })
	if err == nil {
		j.later = later
	}
	return err
}
