package mapping

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/expression"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// An expression may read a field that no column takes: an input. It is a hidden column, behind the table's
// own: its texts travel in the statements' arrays and are typed there, and nothing is stored.

// only reports whether the configuration of a column says what the other one says.
func only(c, other sink.ColumnConfig) bool { return reflect.DeepEqual(c, other) }

// mapInputs compiles the inputs of all expressions. Two expressions may share one if they say the same of it.
func mapInputs(ctx context.Context, tx pgx.Tx, t *tables.Table, r *catalog.Relation, ps *Problems) error {
	all, before := map[string]sink.InputConfig{}, len(ps.Errs)
	for _, name := range slices.Sorted(maps.Keys(t.Config.Columns)) {
		for _, input := range slices.Sorted(maps.Keys(t.Config.Columns[name].Inputs)) {
			in, of := t.Config.Columns[name].Inputs[input], fmt.Sprintf("input %s of column %s of %s", input, name, t.Title())
			if r.Column(input) != nil {
				ps.Add(of+" has the name of a column of the table", "an expression reads columns without further ado: give the input another name, and its field as `from:`")
			}
			all[input] = in
		}
	}
	if len(ps.Errs) > before {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		in, of := all[name], fmt.Sprintf("input %s of %s", name, t.Title())
		c, refusal, err := inputColumn(ctx, tx, in.Type)
		if err != nil {
			return err
		}
		if refusal != "" {
			ps.Add(of+": "+refusal, "write a type's plain name, such as bigint, text or timestamptz")
			continue
		}
		c.Name, c.Hidden, c.Encoding, c.Zone, c.Unit, c.Strict = name, true, in.Encoding, in.Zone, in.Unit, t.Strict
		setScale(&c, in.Scale)
		parse := source.Parse
		if t.Strategy == sink.Children {
			parse = source.ParseChild
		}
		if c.Source, err = parse(in.From, name); err == nil {
			err = checkColumn(&c)
		}
		if err != nil {
			ps.Add(fmt.Sprintf("%s: %v", of, err), "")
			continue
		}
		t.Columns = append(t.Columns, c)
		t.Inputs++
	}
	return nil
}

// inputColumn describes a column of a type, or says why there is none.
func inputColumn(ctx context.Context, tx pgx.Tx, typ string) (c tables.Column, refusal string, err error) {
	nested, err := tx.Begin(ctx)
	if err != nil {
		return c, "", err
	}
	defer func() { _ = nested.Rollback(context.WithoutCancel(ctx)) }()
	var oid *uint32
	var name, kind string
	err = nested.QueryRow(ctx, `select t.oid, coalesce(format_type(t.oid, -1), ''), coalesce(t.typtype::text, '') from (select to_regtype($1)::oid as oid) x left join pg_type t using (oid)`, typ).Scan(&oid, &name, &kind)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pgerr.Classify(err) != pgerr.Transient:
		return c, fmt.Sprintf("type %q: %s", typ, pg.Message), nil
	case err != nil:
		return c, "", fmt.Errorf("read type of an input: %w", err)
	case oid == nil:
		return c, fmt.Sprintf("there is no type %q", typ), nil
	case kind == "p":
		return c, fmt.Sprintf("%q is a pseudo-type", typ), nil
	case kind == "d" || strings.Contains(typ, "("):
		return c, fmt.Sprintf("%q is a domain, or has a length or precision, which nothing would hold it to", typ), nil
	}
	all, err := pgtext.Read(ctx, nested, []uint32{*oid})
	if err != nil {
		return c, "", err
	}
	c.Type = all.Describe(*oid, -1)
	c.Declared = c.Base
	return c, "", nil
}

// expressionInputs are the inputs of a column's expression.
func expressionInputs(t *tables.Table, name string) (out []expression.Input) {
	for _, input := range slices.Sorted(maps.Keys(t.Config.Columns[name].Inputs)) {
		if i := t.Index(input); i >= 0 {
			out = append(out, expression.Input{Name: input, Type: t.Columns[i].Base})
		}
	}
	return out
}

// InputList says for a person where a column's inputs come from.
func InputList(c sink.ColumnConfig) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.Inputs)) {
		from := c.Inputs[name].From
		if from == "" {
			from = name
		}
		out = append(out, name+" from "+from)
	}
	if out == nil {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}
