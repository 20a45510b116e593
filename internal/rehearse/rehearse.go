// Package rehearse finds out whether PostgreSQL takes the statements of a sink: the last part of `check`.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// Statements has the server parse, plan and start every statement that the sink may send, with the types of the
// parameters that it sends, and execute none: explain, in a transaction that is rolled back. So it finds
// what the catalog alone does not tell, such as a right that is missing on a function or a type's schema. COPY
// can't be explained: [engine.Open] reads its columns and rights from the catalog. What triggers do is not seen.
//
// It returns what a person should know beside it. All that is refused are [*sink.ConfigError]s, joined; any other error
// is of the moment: of the connection, or a lock that was not had.
func Statements(ctx context.Context, s *engine.Sink) (warnings []string, err error) {
	tx, err := s.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	ps := &mapping.Problems{}
	for _, t := range s.Mapping().Tables {
		if t.Stage != nil {
			continue
		}
		if err := rehearse(ctx, tx, t.Title(), formsOf(t), ps); err != nil {
			return nil, err
		}
		w, err := undrawable(ctx, tx, t)
		if err != nil {
			return nil, err
		}
		warnings = append(warnings, w...)
	}
	letters := []form{
		{"keep dead letters", statement.KeepLetters, func(p *bind.Params) { p.Letters("", nil) }},
		{"resolve dead letters", statement.ResolveLetters, func(p *bind.Params) { p.Ranges("", nil, nil, nil, nil, "") }},
	}
	if err := rehearse(ctx, tx, "oncesink.dead_letters", letters, ps); err != nil {
		return nil, err
	}
	return warnings, ps.Join()
}

// form is a statement; bind adds the parameters that it has for no events.
type form struct {
	name, sql string
	bind      func(*bind.Params)
}

// parameter is one of events, which are arrays. Citus explains no insert with parameters, though it executes it: it gets arrays of none.
var parameter = regexp.MustCompile(`\$\d+::`)

// formsOf are the statements that a table is written with, but for COPY, and those that read its keys.
func formsOf(t *tables.Table) (forms []form) {
	for _, f := range statement.Forms(t) {
		switch {
		case f.Rows != nil && t.Distributed:
			forms = append(forms, form{f.Name, parameter.ReplaceAllString(f.SQL, "'{}'::"), func(*bind.Params) {}})
		case f.Rows != nil:
			forms = append(forms, form{f.Name, f.SQL, func(p *bind.Params) { p.Rows(f.Rows, f.Shape, nil) }})
		case f.Keys != nil:
			forms = append(forms, form{f.Name, f.SQL, func(p *bind.Params) { p.Ints(f.Keys...) }})
		}
	}
	compared := t.Key
	if t.Version >= 0 {
		compared = append(slices.Clone(compared), t.Version)
	}
	for _, i := range compared {
		c := &t.Columns[i]
		forms = append(forms, form{"read column " + c.Name, statement.Canonical(c), func(p *bind.Params) { p.Strings(nil) }})
	}
	return forms
}

// rehearse tells of each cause once, with the statements that have it.
func rehearse(ctx context.Context, tx pgx.Tx, table string, forms []form, ps *mapping.Problems) error {
	names := map[string][]string{} // by cause
	var causes []string
	fixes, shown := map[string]string{}, map[string]error{}
	for _, f := range forms {
		err := explain(ctx, tx, f)
		if err == nil {
			continue
		}
		if pgerr.Classify(err) == pgerr.Transient || pgerr.SQLState(err) == "" {
			return fmt.Errorf("rehearse %s of %s: %w", f.name, table, err)
		}
		cause := pgerr.Full(err)
		if names[cause] == nil {
			causes = append(causes, cause)
			fixes[cause], shown[cause] = fix(err, table), err
		}
		names[cause] = append(names[cause], f.name)
	}
	for _, cause := range causes {
		ps.AddRefused(fmt.Sprintf("PostgreSQL refuses to %s table %s: %s", strings.Join(names[cause], ", to "), table, cause), fixes[cause], shown[cause])
	}
	return nil
}

// explain plans a statement over no events, under a savepoint.
func explain(ctx context.Context, tx pgx.Tx, f form) (err error) {
	nested, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nested.Rollback(context.WithoutCancel(ctx))) }()
	p := &bind.Params{}
	f.bind(p)
	return nested.Conn().PgConn().ExecParams(ctx, "explain "+f.sql, p.Values, p.OIDs, p.Formats[:len(p.Values)], nil).Read().Err
}

// fix says what to do about a statement that is refused.
func fix(err error, table string) string {
	switch pgerr.SQLState(err) {
	case pgerr.InsufficientPrivilege:
		return "grant the role what it lacks, to the function, type or schema as well: `oncesink init --print --role ROLE` shows what it needs of tables"
	case "428C9":
		return "let the column be `generated by default as identity`, or generated: alter table " + table + " alter column COLUMN set generated by default"
	case "42P10":
		return "create the unique index over the key again"
	case "54011":
		return "map fewer columns"
	}
	return "correct the table or its entry; if both look right, it is a fault of oncesink: please report it with the table's definition"
}

// undrawable finds columns that draw from a sequence which the role may not use. Events that have the
// field never draw: it depends on them.
func undrawable(ctx context.Context, tx pgx.Tx, t *tables.Table) (warnings []string, err error) {
	rows, err := tx.Query(ctx, `
		select distinct a.attname::text, s.oid::regclass::text
		  from pg_attrdef d
		  join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
		  join pg_depend x on x.classid = 'pg_attrdef'::regclass and x.objid = d.oid and x.refclassid = 'pg_class'::regclass
		  join pg_class s on s.oid = x.refobjid and s.relkind = 'S'
		 where d.adrelid = to_regclass($1) and case when s.relkind = 'S' then not has_sequence_privilege(s.oid, 'usage') end
		 order by 1`, t.Quoted())
	if err != nil {
		return nil, fmt.Errorf("read sequences of %s: %w", t.Title(), err)
	}
	var column, sequence string
	_, err = pgx.ForEachRow(rows, []any{&column, &sequence}, func() error {
		warnings = append(warnings, fmt.Sprintf("the role may not draw from sequence %s: an event that lacks column %s of %s would stop the run: grant usage on sequence %s to ROLE", sequence, column, t.Title(), sequence))
		return nil
	})
	return warnings, err
}
