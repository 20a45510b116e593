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
// the parent's. Under the cut both are compared whole, with the set memories, which say whose event the children
// are (rule 16), and the table becomes what its stage says.

// child is one table of children.
type child struct {
	entry  string // in the configuration
	layout engine.Layout
	stage  string // the name of its stage, in schema oncesink
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
		j.children = append(j.children, child{entry, l, l.StageName()})
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
		if !slices.Contains(j.targets()[1:], m.Target) || j.DryRun {
			continue
		}
		var other bool
		if err := j.scan(ctx, `select exists (select from oncesink.mappings where sink_group = $1::text and topic = $2::text and target = $3::text and fingerprint <> $4::text)`,
			[]any{j.Consumer.Group, m.Topic, m.Target, m.Fingerprint}, &other); err != nil {
			return fmt.Errorf("read the group's mapping of %s: %w", m.Target, err)
		}
		if other {
			return &sink.ConfigError{Problem: fmt.Sprintf("group %s writes table %s by another mapping of topic %s than this configuration has", j.Consumer.Group, m.Target, m.Topic),
				Fix: "`oncesink mapping plan` says what differs, and how it becomes the group's; --dry-run shows the rows that differ"}
		}
	}
	return nil
}

// comparison is what the statements over a table of children and its stage have in common: t is its row, s the stage's.
type comparison struct {
	*child
	columns            []string // that are compared and written
	same, unlike, lost string   // the key is one; the rest is not; a key column, to tell a row that is not there
}

// compareChild finds the columns that events fill: the others are a person's, or a default's.
func (j *job) compareChild(ctx context.Context, tx pgx.Tx, c *child) (*comparison, error) {
	x := &comparison{child: c, lost: pgx.Identifier{c.layout.Key[0]}.Sanitize()}
	filled, err := texts(ctx, tx, "select name from "+c.filled())
	if err != nil {
		return nil, err
	}
	for _, name := range c.layout.Columns {
		if slices.Contains(filled, name) || slices.Contains(c.layout.Key, name) {
			x.columns = append(x.columns, name)
		}
	}
	x.columns = append(x.columns, tables.SourceColumn, tables.OffsetColumn)
	var same []string
	for _, k := range pgname.QuoteAll(c.layout.Key) {
		same = append(same, "t."+k+" = s."+k)
	}
	x.same, x.unlike = strings.Join(same, " and "), unlike(&c.layout, x.columns, "t", "s")
	return x, nil
}

// countChildren counts what changeChildren would do.
func (j *job) countChildren(ctx context.Context, tx pgx.Tx) error {
	j.result.Children = nil
	for i := range j.children {
		x, err := j.compareChild(ctx, tx, &j.children[i])
		if err != nil {
			return err
		}
		r := Children{Table: j.targets()[1+i]}
		if err := tx.QueryRow(ctx, fmt.Sprintf(`select count(*) filter (where t.%[1]s is null), count(*) filter (where t.%[1]s is not null and s.%[1]s is not null), count(*) filter (where s.%[1]s is null)
			  from %[2]s t full join %[3]s s on %[4]s where t.%[1]s is null or s.%[1]s is null or %[5]s`,
			x.lost, x.layout.Quoted(), x.staged(), x.same, x.unlike)).Scan(&r.Added, &r.Changed, &r.Deleted); err != nil {
			return fmt.Errorf("compare %s: %w", r.Table, err)
		}
		from, gone, _, differs := j.compareMemories(x.layout.Sets, x.sets())
		if err := tx.QueryRow(ctx, fmt.Sprintf("select count(*) from %s where %s and not (%s and not %s)", from, differs, gone, j.proven("m"))).Scan(&r.Sets); err != nil {
			return fmt.Errorf("compare %s: %w", x.layout.Sets, err)
		}
		j.result.Children = append(j.result.Children, r)
	}
	return nil
}

// dropChildren deletes the children that the stage does not have: before the rows of their parents go.
func (j *job) dropChildren(ctx context.Context, tx pgx.Tx) error {
	j.result.Children = nil
	for i := range j.children {
		x, err := j.compareChild(ctx, tx, &j.children[i])
		if err != nil {
			return err
		}
		r := Children{Table: j.targets()[1+i]}
		if err := affected(ctx, tx, &r.Deleted, fmt.Sprintf("delete from %s t\n where not exists (select from %s s where %s)", x.layout.Quoted(), x.staged(), x.same)); err != nil {
			return fmt.Errorf("correct %s: %w", r.Table, err)
		}
		j.result.Children = append(j.result.Children, r)
	}
	return nil
}

// changeChildren makes the children what they are in the stage: after the rows of their parents are there.
func (j *job) changeChildren(ctx context.Context, tx pgx.Tx) error {
	for i := range j.children {
		x, err := j.compareChild(ctx, tx, &j.children[i])
		if err != nil {
			return err
		}
		r := &j.result.Children[i]
		var sets []string
		for _, c := range x.columns {
			if !slices.Contains(x.layout.Key, c) {
				q := pgx.Identifier{c}.Sanitize()
				sets = append(sets, q+" = s."+q)
			}
		}
		if err := affected(ctx, tx, &r.Changed, fmt.Sprintf("update %s t set %s\n  from %s s\n where %s and %s", x.layout.Quoted(), strings.Join(sets, ", "), x.staged(), x.same, x.unlike)); err != nil {
			return fmt.Errorf("correct %s: %w", r.Table, err)
		}
		if err := affected(ctx, tx, &r.Added, fmt.Sprintf("insert into %s (%s) overriding system value\nselect %s from %s s\n where not exists (select from %s t where %s)",
			x.layout.Quoted(), strings.Join(pgname.QuoteAll(x.columns), ", "), qualified("s", x.columns), x.staged(), x.layout.Quoted(), x.same)); err != nil {
			return fmt.Errorf("correct %s: %w", r.Table, err)
		}
		if r.Sets, err = j.rememberAs(ctx, tx, x.layout.Sets, x.sets()); err != nil {
			return fmt.Errorf("correct %s: %w", x.layout.Sets, err)
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
