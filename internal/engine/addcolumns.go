package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/ddl"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/statement"
)

// newColumn is one that could be added.
type newColumn struct {
	name, typ string
	said      string // what keeps it from being added; "" if nothing does
}

// columnsFor are the columns that would take the fields. Why says what keeps them from being added; "" if nothing does.
func columnsFor(e *decode.NewFields) (columns []newColumn, why string) {
	for _, f := range e.Fields {
		c := newColumn{name: f.Name}
		switch {
		case ddl.Unnamable(f.Name) != "":
			c.said = ddl.Unnamable(f.Name)
		case e.Table.Has(f.Name):
			c.said = "the table has a column of this name, which takes something else"
		case f.Shape == nil:
			c.said = "the record has no schema that says a type"
		default:
			if c.typ, c.said = pgtext.ColumnFor(f.Shape); c.typ == "" {
				c.said = "no type is without doubt (" + f.Shape.Said + ")"
			}
		}
		if c.said != "" && why == "" {
			why = fmt.Sprintf("%q: %s", f.Name, c.said)
		}
		columns = append(columns, c)
	}
	return columns, why
}

// addable reports whether a statement can add it once its type is chosen.
func (c *newColumn) addable() bool {
	return c.typ != "" || ddl.Unnamable(c.name) == "" && !strings.HasPrefix(c.said, "the table has")
}

// alter is the statement that adds the columns; "" if there is none. A type that nobody knows is TYPE.
func alter(e *decode.NewFields, columns []newColumn, quote func(string) string) string {
	var adds []string
	for i := range columns {
		if c := &columns[i]; c.addable() {
			typ := c.typ
			if typ == "" {
				typ = "TYPE"
			}
			adds = append(adds, "add column if not exists "+quote(c.name)+" "+typ)
		}
	}
	if len(adds) == 0 {
		return ""
	}
	return "alter table " + quote(e.Table.Schema) + "." + quote(e.Table.Name) + " " + strings.Join(adds, ", ")
}

// todo says what a person can do.
func todo(e *decode.NewFields, columns []newColumn) string {
	var parts []string
	if sql := alter(e, columns, pgname.Readable); sql != "" {
		parts = append(parts, sql)
	}
	table := pgname.Readable(e.Table.Schema) + "." + pgname.Readable(e.Table.Name)
	ignore := "select oncesink.ignore_field(" + pgname.Literal(table) + ", " + pgname.Literal(e.Fields[0].Name) + ")"
	if len(e.Fields) > 1 {
		ignore += " and so on"
	}
	return strings.Join(append(parts, ignore+", to go on without"), "; or ")
}

// remedy is what is kept of each field: how it can have a column.
func remedy(e *decode.NewFields, columns []newColumn) []string {
	out := make([]string, len(columns))
	for i := range columns {
		one := *e
		one.Fields = e.Fields[i : i+1]
		if out[i] = alter(&one, columns[i:i+1], pgname.Readable); out[i] == "" {
			out[i] = columns[i].said
		}
	}
	return out
}

// add adds columns, and goes on with the table as it is then. An error says why that can't be now; a *HeldError that a person has to
// help.
func (s *Sink) add(ctx context.Context, e *decode.NewFields, columns []newColumn) error {
	s.newFields.Lock()
	defer s.newFields.Unlock()
	if e.Older(s.plan().decode) { // another partition has done it
		return nil
	}
	title := e.Table.Title()
	if a := s.newFields.alters[title]; a != nil && time.Now().Before(a.until) {
		return a.err
	}
	added, err := s.addColumns(ctx, e, columns)
	if err == nil {
		delete(s.newFields.alters, title)
	}
	if added {
		s.log.Info("added columns for new fields", slog.String("table", title), slog.String("topic", e.Topic), slog.String("columns", listed(columns)))
	}
	if err == nil {
		_, err = s.recompile(ctx, s.plan())
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a := s.newFields.alters[title]
	if a == nil {
		a = &altering{}
		s.newFields.alters[title] = a
	}
	a.err = refusedAlter(e, columns, err)
	pause := min(alterPauses, alterPause<<min(a.attempts, 10))
	a.until = time.Now().Add(pause/2 + rand.N(pause/2))
	a.attempts++
	return a.err
}

func listed(columns []newColumn) string {
	var out []string
	for _, c := range columns {
		out = append(out, c.name+" "+c.typ)
	}
	return strings.Join(out, ", ")
}

// addColumns is a transaction of its own. It reports whether it has added any. Others who add columns wait for it, as does init; those who write wait no longer than the
// lock is waited for.
func (s *Sink) addColumns(ctx context.Context, e *decode.NewFields, columns []newColumn) (added bool, err error) {
	settings := mapping.SettingsOf(&s.cfg).With(mapping.Setting{Name: "synchronous_commit", Value: "on"})
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StatementTimeout+s.slack)
	defer cancel()
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: settings.Begin()})
	if err != nil {
		return false, s.connecting(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err = tx.Exec(ctx, "select pg_advisory_xact_lock($1::integer, 0)", int32(statement.LockClass)); err != nil {
		return false, err
	}
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	var there int // even if it adds nothing, alter table locks the table
	if err = tx.QueryRow(ctx, "select count(*) from pg_attribute where attrelid = $1 and attname = any ($2) and not attisdropped", e.Table.OID, names).Scan(&there); err != nil {
		return false, err
	}
	if there < len(names) {
		_, err = tx.Exec(ctx, "select set_config('lock_timeout', $1, true)", mapping.Millis(min(alterWait, s.cfg.LockTimeout)))
		if err == nil {
			_, err = tx.Exec(ctx, alter(e, columns, pgname.Quote))
		}
		if err != nil {
			return false, err
		}
	}
	err = tx.Commit(ctx)
	return err == nil && there < len(names), err
}

// refusedAlter says why columns could not be added, and what is to be done if that is a person's.
func refusedAlter(e *decode.NewFields, columns []newColumn, err error) error {
	switch pgerr.SQLState(err) {
	case "42501":
		return &HeldError{fmt.Sprintf("the role may not add columns (new_fields: add): grant it the role of the owner, %s; or have that do it: %s", e.Table.Owner, todo(e, columns))}
	case "55P03":
		return errors.New("the table can't be altered now, since somebody reads or writes it for long: it is tried again")
	}
	if classOf(err) != pgerr.Transient {
		return &HeldError{fmt.Sprintf("columns can't be added (new_fields: add): %s: %s", describe(err), todo(e, columns))}
	}
	return fmt.Errorf("add columns: %s", describe(err))
}
