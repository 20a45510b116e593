package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/expression"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/sink"
)

// mapComputed compiles the columns that are SQL expressions over others. PostgreSQL has to know them as
// immutable, or a replay would give other rows.
func mapComputed(t *tableData, ctx context.Context, tx pgx.Tx, r *catalog.Relation, ps *problems) error {
	if err := mapInputs(t, ctx, tx, r, ps); err != nil {
		return err
	}
	for i := range t.columns {
		c := &t.columns[i]
		sql := t.cfg.Columns[c.name].SQL
		if sql == "" {
			continue
		}
		in := fmt.Sprintf("column %s of %s", c.name, t.title())
		if t.isKey(i) || i == t.version {
			ps.add(in+" is computed and part of the key, or the version", "take it from a field of the event")
			continue
		}
		result, err := expression.Check(ctx, tx, t.quoted(), sql, expressionInputs(t, c.name)...)
		var refusal *expression.Refusal
		if errors.As(err, &refusal) {
			ps.add(fmt.Sprintf("%s: sql %q: %s", in, sql, refusal.Problem), refusal.Fix)
			continue
		}
		if err != nil {
			return err
		}
		c.computed = &computed{sql: sql}
		for _, name := range result.Columns {
			input := t.index(name)
			if input < 0 || t.cfg.Columns[name].SQL != "" {
				ps.add(fmt.Sprintf("%s: sql %q reads %s, which no event fills", in, sql, name), "name columns that come from the event, or fields of it as `inputs:`")
				continue
			}
			c.computed.inputs = append(c.computed.inputs, input)
		}
		for _, input := range expressionInputs(t, c.name) {
			if !slices.Contains(result.Columns, input.Name) {
				ps.add(fmt.Sprintf("%s: sql %q does not read its input %s", in, sql, input.Name), "leave the input out")
			}
		}
	}
	return nil
}

// checkComputed refuses what a computed column has no use for.
func checkComputed(table, name string, c sink.ColumnConfig, ps *problems) {
	if c.From != "" || c.Encoding != "" || c.Zone != "" || c.Unit != "" || c.Rounding != "" {
		ps.add(fmt.Sprintf("column %s of %s has sql and from, encoding, zone, unit or rounding", name, table), "an expression says it all: use one of them")
	}
}

// compute marks the computed columns of a row whose cells begin at first: as there if all inputs are.
func compute(t *tableData, cells []cell) {
	for i := range t.columns {
		c := t.columns[i].computed
		if c == nil {
			continue
		}
		cells[i] = cell{}
		if slices.ContainsFunc(c.inputs, func(k int) bool { return cells[k].len == cellAbsent }) {
			cells[i].len = cellAbsent
		}
	}
}

// computes lists the expressions of a statement's columns, over its typed rows.
func computedValues(t *tableData, s shape) string {
	var b strings.Builder
	for _, i := range s.columns {
		if c := t.columns[i].computed; c != nil {
			fmt.Fprintf(&b, ", (%s)::%s as %s", c.sql, castType(t, i), pgname.Quote(t.columns[i].name))
		}
	}
	return b.String()
}

// computedColumns names the computed columns.
func computedColumns(t *tableData) (names []string) {
	for i := range t.columns {
		if t.columns[i].computed != nil {
			names = append(names, t.columns[i].name)
		}
	}
	return names
}
