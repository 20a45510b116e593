package sample

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

// like is a table of another name with the same columns, into which rows are inserted as they come.
func like(t *tables.Table, name string) *tables.Table {
	return &tables.Table{Schema: "pg_temp", Name: name, Columns: t.Columns, Inputs: t.Inputs, Key: t.Key, Version: t.Version, Strategy: sink.Append, IdentityAlways: t.IdentityAlways, Required: t.Required, Config: t.Config}
}

// copyOf makes temporary copies of a table: one that wants what the table wants of a new row, and one that may lack
// columns. A default that is not the same each time is left out, since sequences move even in a transaction that is
// rolled back.
func copyOf(ctx context.Context, tx pgx.Tx, t *tables.Table) (strict, lax *tables.Table, err error) {
	r, err := catalog.Read(ctx, tx, t.Schema, t.Name)
	if err != nil {
		return nil, nil, err
	}
	strict, lax = like(t, fmt.Sprintf("oncesink_sample_%d", t.Number)), like(t, fmt.Sprintf("oncesink_sample_%d_lax", t.Number))
	for _, to := range []*tables.Table{strict, lax} {
		var alter []string
		for i := range r.Columns {
			c := &r.Columns[i]
			if c.VolatileDefault && c.Identity == "" {
				alter = append(alter, "alter column "+pgname.Quote(c.Name)+" drop default")
			}
			if c.NotNull && (to == lax || c.VolatileDefault) && !c.Generated {
				alter = append(alter, "alter column "+pgname.Quote(c.Name)+" drop not null")
			}
		}
		create := fmt.Sprintf("create temporary table %s (like %s including defaults including constraints including generated) on commit drop", pgname.Quote(to.Name), t.Quoted())
		if _, err := tx.Exec(ctx, create); err != nil {
			return nil, nil, err
		}
		if len(alter) > 0 {
			if _, err := tx.Exec(ctx, "alter table "+to.Quoted()+" "+strings.Join(alter, ", ")); err != nil {
				return nil, nil, err
			}
		}
	}
	return strict, lax, nil
}
