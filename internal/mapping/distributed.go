package mapping

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// checkDistribution finds out whether a table can be written whose rows Citus keeps on other nodes: what one event does has to
// be done on one of them, and what is remembered of a row has to lie beside it.
func checkDistribution(ctx context.Context, tx pgx.Tx, cfg *sink.Config, t *tables.Table, r *catalog.Relation, ps *Problems) error {
	d := r.Distribution
	if !t.Distributed {
		if t.Parent != nil && t.Parent.Distributed {
			ps.Add(fmt.Sprintf("table %s is not distributed, and its parent %s is", r.Qualified(), t.Parent.Title()), besides(t, t.Parent.Quoted()))
		}
		return nil
	}
	if d.Replicated {
		ps.Add(fmt.Sprintf("table %s is a reference table of Citus", r.Qualified()), "distribute it by a column of its key, or keep it on the coordinator: select undistribute_table('"+r.Qualified()+"')")
		return nil
	}
	if d.Method != "h" && d.Method != "n" {
		ps.Add(fmt.Sprintf("table %s is distributed by range or append (method %q)", r.Qualified(), d.Method), "distribute it by hash: select create_distributed_table('"+r.Qualified()+"', 'COLUMN')")
		return nil
	}
	switch {
	case t.Strategy == sink.Append:
		if d.Column != "" && t.Guarded && t.AppendKey == nil && t.Index(d.Column) < 0 {
			ps.Add(fmt.Sprintf("column %s, by which table %s is distributed, is not mapped", d.Column, r.Qualified()), "the unique index of the guard has to contain it: map it, or set `guard: none`")
		}
	case d.Column != "" && !isKey(t, d.Column):
		ps.Add(fmt.Sprintf("column %s, by which table %s is distributed, is not in its key (%s)", d.Column, r.Qualified(), strings.Join(t.Config.Key, ", ")),
			"events of one row have to meet on one node: distribute the table by a column of the key, or add the column to both, the primary key and `key`")
	}
	if t.Parent != nil {
		return checkChildrensPlace(ctx, tx, t, d, ps)
	}
	if t.Memory != "" {
		memory := DeleteMemory(cfg, t.Schema, t.Name, &t.Config)
		return memory.checkPlace(ctx, tx, d, ps)
	}
	return nil
}

// checkChildrensPlace checks that children lie beside the row of their parent.
func checkChildrensPlace(ctx context.Context, tx pgx.Tx, t *tables.Table, d catalog.Distribution, ps *Problems) error {
	parent, err := catalog.ReadDistribution(ctx, tx, t.Parent.OID)
	if err != nil {
		return err
	}
	if !parent.Spread() || parent.Colocation != d.Colocation || parent.Column != "" && OwnColumn(&t.Config, parent.Column) != d.Column {
		ps.Add(fmt.Sprintf("table %s is not distributed beside its parent %s", t.Title(), t.Parent.Title()), besides(t, t.Parent.Quoted()))
		return nil
	}
	sets := setMemoryOf(t)
	return sets.checkPlace(ctx, tx, parent, ps)
}

// besides is how children are distributed beside their parent.
func besides(t *tables.Table, parent string) string {
	column := "COLUMN"
	if len(t.Config.ParentKey) == 1 {
		for own := range t.Config.ParentKey {
			column = own
		}
	}
	return fmt.Sprintf("select create_distributed_table(%s, %s, colocate_with => %s)", pgname.Literal(t.Quoted()), pgname.Literal(column), pgname.Literal(parent))
}

func isKey(t *tables.Table, column string) bool {
	i := t.Index(column)
	return i >= 0 && t.IsKey(i)
}

// Placed reports whether Citus, which is there, keeps the rows of the memory.
func (m *Memory) Placed(ctx context.Context, tx pgx.Tx) (bool, error) {
	f, err := m.Find(ctx, tx)
	if err != nil || !f.Exists {
		return false, err
	}
	d, err := catalog.ReadDistribution(ctx, tx, f.oid)
	return d.Method != "", err
}

// checkPlace checks that Citus keeps the rows of a memory beside those of its target, which are kept so.
func (m *Memory) checkPlace(ctx context.Context, tx pgx.Tx, target catalog.Distribution, ps *Problems) error {
	f, err := m.Find(ctx, tx)
	if err != nil || !f.Exists {
		return err
	}
	d, err := catalog.ReadDistribution(ctx, tx, f.oid)
	if err != nil {
		return err
	}
	switch {
	case d.Method == "":
		ps.later(fmt.Sprintf("the %s %s is not distributed, and table %s.%s is", m.what, m.Quoted(), m.schema, m.table), "run `oncesink init`")
	case d != target:
		ps.Add(fmt.Sprintf("the %s %s is not distributed as table %s.%s is", m.what, m.Quoted(), m.schema, m.table),
			fmt.Sprintf("stop what writes it, then: select undistribute_table(%s), and run `oncesink init`", pgname.Literal(m.Quoted())))
	}
	return nil
}
