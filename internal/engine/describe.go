package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/target"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Describe reports each table, in the order of the configuration.
func (s *Sink) Describe() []mapping.TableReport {
	var out []mapping.TableReport
	for _, t := range s.plan().tables {
		r := mapping.TableReport{Table: t.Title(), Topics: t.Topics, Strategy: t.Strategy, Fingerprint: mapping.Fingerprint(&s.cfg, t.Table), Way: mapping.WayOf(t.Table)}
		for i := range t.Filled() {
			c := &t.Columns[i]
			from := t.Config.Columns[c.Name].From
			switch {
			case slices.Contains(t.ParentAt, i):
				from = "the key of " + t.Parent.Title()
			case c.Computed != nil:
				from = "sql: " + c.Computed.SQL + mapping.InputList(t.Config.Columns[c.Name])
			case from == "":
				from = c.Name
			}
			if c.Unit != "" {
				from += " (numbers are " + c.Unit + ")"
			}
			r.Columns = append(r.Columns, mapping.ColumnReport{Name: c.Name, Type: c.Declared, From: from})
		}
		for _, f := range t.forms() {
			r.Statements = append(r.Statements, f.sql)
		}
		out = append(out, r)
	}
	return out
}

// Lint finds what keeps the same events from giving the same rows, for each table in the order of the configuration.
func (s *Sink) Lint(ctx context.Context) ([][]target.Finding, error) {
	tx, err := s.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	return mapping.Lint(ctx, tx, s.plan().Mapping)
}

// form is a statement that a table is written with. bind adds the parameters that it would
// have for no events; nil for COPY, which has none.
type form struct {
	name, sql string
	bind      func(*writer)
}

// forms lists a table's statements. A set of present fields has the same ones,
// with fewer columns.
func (t *table) forms() []form {
	all := statement.Shape{Columns: t.All()}
	flagged := statement.Shape{Columns: t.All(), Flagged: true}
	keys := statement.Shape{Columns: t.Key}
	with := func(name string, sql func(*target.Table, statement.Shape) string, s statement.Shape) form {
		return form{name, sql(t.Table, s), func(w *writer) { w.params.Rows(t.Table, s, nil) }}
	}
	var forms []form
	if t.Parent != nil {
		ofParent := func(name string, sql func(of, t *target.Table, s statement.Shape) string, s statement.Shape) form {
			return form{name, sql(t.Parent, t.Table, s), func(w *writer) { w.params.Rows(t.Parent, s, nil) }}
		}
		return []form{
			ofParent("claim children", statement.ClaimSet, statement.LookShape(t.Parent)),
			ofParent("delete children", statement.DeleteStale, statement.Shape{Columns: t.Parent.Key}),
			with("insert children", statement.InsertChildren, all), with("insert children flagged", statement.InsertChildren, flagged),
		}
	}
	if t.CopyRefused == "" {
		options := statement.TextOptions
		if wiresOf(t.Table, all) != nil {
			options = statement.BinaryOptions
		}
		forms = append(forms, form{name: "copy", sql: statement.Copy(t.Table, all, options)})
		if t.Guarded || t.Strategy == sink.Upsert {
			forms = append(forms, with("look", statement.Look, statement.LookShape(t.Table)))
		}
		if t.Memory != "" {
			forms = append(forms, with("look into the memory", statement.LookIntoMemory, keys))
		}
	}
	if t.Strategy == sink.Append {
		return append(forms, with("append", statement.Append, all), with("append flagged", statement.Append, flagged))
	}
	forms = append(forms,
		with("upsert", statement.Upsert, all),
		with("upsert winners", statement.Upsert, statement.Shape{Columns: all.Columns, Winning: true}),
		with("update", statement.Update, all),
		with("insert rest", statement.InsertRest, all),
		with("update flagged", statement.Update, flagged),
		with("insert rest flagged", statement.InsertRest, flagged),
	)
	switch {
	case t.Memory != "":
		lock := func(w *writer) { w.params.Ints(statement.LockClass, t.Lock) }
		forms = append(forms, with("remember", statement.Remember, keys), form{"lock", statement.Lock(t.Table, false), lock}, form{"lock alone", statement.Lock(t.Table, true), lock})
	case len(t.RecordKey) > 0 && !t.IgnoreTombstones:
		forms = append(forms, with("delete", statement.Delete, keys))
	}
	return forms
}

// Mappings returns the fingerprint of each topic's mapping into each table, for
// the ledger (rule 9).
//
// A fingerprint covers what the configuration says: table, strategy, key, version,
// guard, tombstones, the columns that it names, and the time zone. It does not
// cover the columns that are filled from the field of their name because the table
// has them: a column that a table gains is filled from the next start on, as in
// any `alter table add column`, and is no other mapping.
func (s *Sink) Mappings() []offsets.Mapping {
	var out []offsets.Mapping
	for _, t := range s.plan().tables {
		for _, topic := range t.Topics {
			out = append(out, offsets.Mapping{Topic: topic, Target: t.Title(), Fingerprint: mapping.Fingerprint(&s.cfg, t.Table)})
		}
	}
	return out
}

// ReplayRefused says why the group must not be rewound; empty if it may be.
func (s *Sink) ReplayRefused() string {
	var why []string
	for _, t := range s.plan().tables {
		if !t.Guarded {
			why = append(why, fmt.Sprintf("table %s has no guard: rebuild it instead", t.Title()))
		}
	}
	if len(s.cfg.Handlers) > 0 && !s.cfg.HandlersReplaySafe {
		why = append(why, "the group has handlers that are not declared replay-safe")
	}
	return strings.Join(why, "; ")
}
