package rebuild

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// A table of children is read again with its parent: its stage is written by the same group, in the transactions of
// the parent's. What differs of the children, or of the set memories, which say whose event the children are (rule 16), puts
// their parent's key on the list of those that differ. So the cut looks at the children of parents on that list, and at no others; of a
// range these are the parents whose row lies in it, in the table or in the stage.

// child is one table of children.
type child struct {
	entry  string // in the configuration
	layout engine.Layout
	stage  string // the name of its stage, in schema oncesink
	// columns are those that are compared and written: see compareChild.
	columns []string
}

func (c *child) staged() string { return pgx.Identifier{"oncesink", c.stage}.Sanitize() }

// filled is the quoted name of the table that has the columns which events fill.
func (c *child) filled() string {
	return pgx.Identifier{"oncesink", c.stage[:len(c.stage)-len("stage")] + "seen"}.Sanitize()
}

// sets is the quoted name of the stage's set memory.
func (c *child) sets() string { return engine.SetsOf("oncesink", c.stage) }

// Children is what was, or would be, done to one table of children.
type Children struct {
	Table   string `json:"table"`
	Added   int64  `json:"added"`
	Changed int64  `json:"changed"`
	Deleted int64  `json:"deleted"`
	// Sets counts parents of which another event, or none, is remembered as the one that brought their children.
	Sets int64 `json:"sets"`
}

func (c *Children) differs() bool { return c.Added+c.Changed+c.Deleted+c.Sets > 0 }

// readChildren finds the tables of children.
func (j *job) readChildren(sk *engine.Sink) {
	j.children = nil
	for _, entry := range j.layout.Children {
		l, _ := sk.Layout(entry)
		j.children = append(j.children, child{entry: entry, layout: l, stage: l.StageName()})
	}
}

// targets are the names of the table and of its children, as the ledger has them.
func (j *job) targets() []string {
	targets := []string{j.result.Table}
	for _, c := range j.children {
		targets = append(targets, c.layout.Schema+"."+c.layout.Name)
	}
	return targets
}

// childColumns reads names and types of the children's columns.
func (j *job) childColumns(ctx context.Context, tx pgx.Tx) (all []string, err error) {
	for i := range j.children {
		l := &j.children[i].layout
		columns, err := columnsOf(ctx, tx, l)
		if err != nil {
			return nil, err
		}
		for _, c := range columns {
			all = append(all, l.Schema+"."+l.Name+" "+c)
		}
	}
	return all, nil
}

// sameChildMapping wants the group to write the children as this configuration does.
func (j *job) sameChildMapping(ctx context.Context) error {
	for _, m := range j.mappings {
		if !slices.Contains(j.targets()[1:], m.Target) {
			continue
		}
		var other bool
		if err := j.scan(ctx, `select exists (select from oncesink.mappings where sink_group = $1::text and topic = $2::text and target = $3::text and fingerprint <> $4::text)`,
			[]any{j.Consumer.Group, m.Topic, m.Target, m.Fingerprint}, &other); err != nil {
			return fmt.Errorf("read the group's mapping of %s: %w", m.Target, err)
		}
		if other {
			if err := j.mappedOtherwise(m.Target, m.Topic); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillChildren reads which columns of the children events fill: the others are a person's, or a default's. It reports whether
// they are those of the last time.
func (j *job) fillChildren(ctx context.Context) (same bool, err error) {
	same = true
	for i := range j.children {
		c := &j.children[i]
		var filled, columns []string
		if err := j.scan(ctx, "select coalesce(array_agg(name), '{}') from "+c.filled(), nil, &filled); err != nil {
			return false, fmt.Errorf("read the columns that events fill: %w", err)
		}
		for _, name := range c.layout.Columns {
			if slices.Contains(filled, name) || slices.Contains(c.layout.Key, name) {
				columns = append(columns, name)
			}
		}
		columns = append(columns, tables.SourceColumn, tables.OffsetColumn)
		same = same && slices.Equal(columns, c.columns)
		c.columns = columns
	}
	return same, nil
}

// lost is a key column, to tell a row that is not there.
func (c *child) lost() string { return pgx.Identifier{c.layout.Key[0]}.Sanitize() }

// same is the condition that rows t of the table and s of the stage have one key.
func (c *child) same() string {
	var same []string
	for _, k := range pgname.QuoteAll(c.layout.Key) {
		same = append(same, "t."+k+" = s."+k)
	}
	return strings.Join(same, " and ")
}

func (c *child) unlike() string { return unlike(&c.layout, c.columns, "t", "s") }

// listed is the condition that a row's parent is on the list; empty where all are.
func (c *child) listed(j *job, alias string) string {
	if j.bare {
		return ""
	}
	return fmt.Sprintf("(%s) in (select %s from %s)", qualified(alias, c.layout.OfParent), strings.Join(pgname.QuoteAll(j.layout.Key), ", "), j.stage.differs)
}

// inRange is the condition that a row's parent lies in the range, in the table.
func (c *child) inRange(j *job, alias string) string {
	return fmt.Sprintf("(%s) in (select %s from %s p where %s)", qualified(alias, c.layout.OfParent), qualified("p", j.layout.Key), j.layout.Quoted(), j.inRange("p"))
}

// listChildren are the statements that put parents on the list whose children, or sets, differ.
func (j *job) listChildren() (statements []string) {
	for i := range j.children {
		c := &j.children[i]
		var parent, set []string
		for _, k := range pgname.QuoteAll(c.layout.OfParent) {
			parent = append(parent, fmt.Sprintf("coalesce(t.%[1]s, s.%[1]s)", k))
		}
		for _, k := range pgname.QuoteAll(j.layout.Key) {
			set = append(set, fmt.Sprintf("coalesce(m.%[1]s, s.%[1]s)", k))
		}
		from, _, _, differs := j.compareMemories(c.layout.Sets, c.sets())
		statements = append(statements,
			fmt.Sprintf("insert into %s select distinct %s\n  from %s t full join %s s on %s\n where t.%[6]s is null or s.%[6]s is null or %[7]s",
				j.stage.differs, strings.Join(parent, ", "), c.layout.Quoted(), c.staged(), c.same(), c.lost(), c.unlike()),
			fmt.Sprintf("insert into %s select %s from %s where %s", j.stage.differs, strings.Join(set, ", "), from, differs))
	}
	return statements
}

// ofRange is the statement that leaves on the list only those parents whose children are to be looked at; empty where all are.
func (j *job) ofRange() string {
	if !j.scoped() || len(j.children) == 0 {
		return ""
	}
	return fmt.Sprintf("delete from %s d\n where not exists (select from %s t where %s and %s)\n   and not exists (select from %s s where %s and %s)",
		j.stage.differs, j.layout.Quoted(), j.sameKey("t", "d"), j.inRange("t"), j.stage.quoted(), j.sameKey("s", "d"), j.inRange("s"))
}

// strayChildren refuses, like [job.refuse], to delete children that no event brings back, of parents that only the stage has in the range.
func (j *job) strayChildren(ctx context.Context, tx pgx.Tx) error {
	if !j.scoped() || j.Verify || j.accepted(ForeignRows) {
		return nil
	}
	for i := range j.children {
		c := &j.children[i]
		var foreign int64
		if err := tx.QueryRow(ctx, fmt.Sprintf("select count(*) from %s t%s", c.layout.Quoted(), where(c.listed(j, "t"), "t."+tables.SourceColumn+" is null"))).Scan(&foreign); err != nil {
			return fmt.Errorf("look for rows of other origin: %w", err)
		}
		if foreign > 0 {
			return &sink.ConfigError{Problem: fmt.Sprintf("%d row(s) of %s were made by no topic (%s is null): they would be deleted, or changed", foreign, j.targets()[1+i], tables.SourceColumn), Fix: j.fix(ForeignRows)}
		}
	}
	return nil
}

// countChildren counts what dropChildren and changeChildren would do.
func (j *job) countChildren(ctx context.Context, tx pgx.Tx) error {
	j.result.Children = nil
	for i := range j.children {
		c := &j.children[i]
		r := Children{Table: j.targets()[1+i]}
		of := func(table, alias string) string {
			return fmt.Sprintf("(select * from %s %s%s) %[2]s", table, alias, where(c.listed(j, alias)))
		}
		if err := tx.QueryRow(ctx, fmt.Sprintf(`select count(*) filter (where t.%[1]s is null), count(*) filter (where t.%[1]s is not null and s.%[1]s is not null), count(*) filter (where s.%[1]s is null)
			  from %[2]s full join %[3]s on %[4]s where t.%[1]s is null or s.%[1]s is null or %[5]s`,
			c.lost(), of(c.layout.Quoted(), "t"), of(c.staged(), "s"), c.same(), c.unlike())).Scan(&r.Added, &r.Changed, &r.Deleted); err != nil {
			return fmt.Errorf("compare %s: %w", r.Table, err)
		}
		var err error
		if r.Sets, err = j.countSets(ctx, tx, c); err != nil {
			return fmt.Errorf("compare %s: %w", c.layout.Sets, err)
		}
		j.result.Children = append(j.result.Children, r)
	}
	return nil
}

// countSets counts what rememberAs would write of the parents on the list.
func (j *job) countSets(ctx context.Context, tx pgx.Tx, c *child) (n int64, err error) {
	from, gone, missing, differs := j.compareMemories(c.layout.Sets, c.sets())
	listed := ""
	if l := j.listed("m"); l != "" {
		listed = fmt.Sprintf("(%s or %s)", l, j.listed("s"))
	}
	return n, tx.QueryRow(ctx, fmt.Sprintf("select count(*) from %s%s", from, where(listed, differs,
		fmt.Sprintf("case when %s then true when %s then %s else not %s end", missing, gone, j.proven("m"), j.kept("s"))))).Scan(&n)
}

// dropChildren deletes the children that the stage does not have: before the rows of their parents go.
func (j *job) dropChildren(ctx context.Context, tx pgx.Tx) error {
	j.result.Children = nil
	for i := range j.children {
		c := &j.children[i]
		r := Children{Table: j.targets()[1+i]}
		if err := affected(ctx, tx, &r.Deleted, fmt.Sprintf("delete from %s t%s", c.layout.Quoted(),
			where(c.listed(j, "t"), fmt.Sprintf("not exists (select from %s s where %s)", c.staged(), c.same())))); err != nil {
			return fmt.Errorf("correct %s: %w", r.Table, err)
		}
		j.result.Children = append(j.result.Children, r)
	}
	return nil
}

// changeChildren makes the children what they are in the stage: after the rows of their parents are there.
func (j *job) changeChildren(ctx context.Context, tx pgx.Tx) (err error) {
	for i := range j.children {
		c, r := &j.children[i], &j.result.Children[i]
		var sets []string
		for _, name := range c.columns {
			if !slices.Contains(c.layout.Key, name) {
				q := pgx.Identifier{name}.Sanitize()
				sets = append(sets, q+" = s."+q)
			}
		}
		absent := ""
		vacant, err := j.vacant(ctx, tx, c.layout.Quoted())
		if err != nil {
			return err
		}
		if !vacant {
			if err := affected(ctx, tx, &r.Changed, fmt.Sprintf("update %s t set %s\n  from %s s%s", c.layout.Quoted(), strings.Join(sets, ", "), c.staged(),
				where(c.listed(j, "s"), c.same(), c.unlike()))); err != nil {
				return fmt.Errorf("correct %s: %w", r.Table, err)
			}
			absent = fmt.Sprintf("not exists (select from %s t where %s)", c.layout.Quoted(), c.same())
		}
		if err := affected(ctx, tx, &r.Added, fmt.Sprintf("insert into %s (%s) overriding system value\nselect %s from %s s%s",
			c.layout.Quoted(), strings.Join(pgname.QuoteAll(c.columns), ", "), qualified("s", c.columns), c.staged(), where(c.listed(j, "s"), absent))); err != nil {
			return fmt.Errorf("correct %s: %w", r.Table, err)
		}
		if r.Sets, err = j.rememberAs(ctx, tx, c.layout.Sets, c.sets(), true); err != nil {
			return fmt.Errorf("correct %s: %w", c.layout.Sets, err)
		}
	}
	return nil
}

// affected executes a statement and says how many rows it wrote.
func affected(ctx context.Context, tx pgx.Tx, n *int64, sql string) error {
	tag, err := tx.Exec(ctx, sql)
	*n = tag.RowsAffected()
	return err
}

// stageMappings are those of the table and its children, of the partitions that feed them.
func (j *job) stageMappings(all []offsets.Mapping) (text string) {
	for _, m := range all {
		if slices.Contains(j.targets(), m.Target) {
			text += m.Topic + " " + m.Target + " " + m.Fingerprint + " "
		}
	}
	return text
}
