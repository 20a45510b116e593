package mapping

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/expression"
	"github.com/oncesink/oncesink/internal/tables"
)

// mapComputed compiles the columns that are SQL expressions over others. PostgreSQL has to know them as
// immutable, or a replay would give other rows.
func mapComputed(ctx context.Context, tx pgx.Tx, t *tables.Table, r *catalog.Relation, ps *Problems) error {
	if err := mapInputs(ctx, tx, t, r, ps); err != nil {
		return err
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		sql := t.Config.Columns[c.Name].SQL
		if sql == "" {
			continue
		}
		in := fmt.Sprintf("column %s of %s", c.Name, t.Title())
		result, err := expression.Check(ctx, tx, t.Quoted(), sql, expressionInputs(t, c.Name)...)
		var refusal *expression.Refusal
		if errors.As(err, &refusal) {
			ps.Add(fmt.Sprintf("%s: sql %q: %s", in, sql, refusal.Problem), refusal.Fix)
			continue
		}
		if err != nil {
			return err
		}
		c.Computed = &tables.Computed{SQL: sql}
		for _, name := range result.Columns {
			input := t.Index(name)
			if input < 0 || t.Config.Columns[name].SQL != "" {
				ps.Add(fmt.Sprintf("%s: sql %q reads %s, which no event fills", in, sql, name), "name columns that come from the event, or fields of it as `inputs:`")
				continue
			}
			c.Computed.Inputs = append(c.Computed.Inputs, input)
		}
		for _, input := range expressionInputs(t, c.Name) {
			if !slices.Contains(result.Columns, input.Name) {
				ps.Add(fmt.Sprintf("%s: sql %q does not read its input %s", in, sql, input.Name), "leave the input out")
			}
		}
	}
	return nil
}

// computedColumns names the computed columns.
func computedColumns(t *tables.Table) (names []string) {
	for i := range t.Columns {
		if t.Columns[i].Computed != nil {
			names = append(names, t.Columns[i].Name)
		}
	}
	return names
}
