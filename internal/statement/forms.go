package statement

import (
	"slices"

	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// Form is a statement that a table is written with. A set of present fields has the same ones, with fewer columns.
type Form struct {
	Name, SQL string
	// Rows is the table whose events are the parameters, in a shape; nil for locks, and for COPY, which has none.
	Rows  *tables.Table
	Shape Shape
	// Keys are the parameters of a lock.
	Keys []int32
}

// Forms lists a table's statements.
func Forms(t *tables.Table) []Form {
	all := typed(t, Shape{Columns: t.All()})
	flagged := typed(t, Shape{Columns: t.All(), Flagged: true})
	keys := typed(t, Shape{Columns: t.Key})
	looks := typed(t, LookShape(t))
	var forms []Form
	add := func(name, sql string, rows *tables.Table, s Shape) {
		if sql != "" { // some tables have nothing to update
			forms = append(forms, Form{Name: name, SQL: sql, Rows: rows, Shape: s})
		}
	}
	if t.Parent != nil {
		look, parents := typed(t.Parent, LookShape(t.Parent)), typed(t.Parent, Shape{Columns: t.Parent.Key})
		add("claim children", ClaimSet(t.Parent, t, look), t.Parent, look)
		add("delete children", DeleteStale(t.Parent, t, parents), t.Parent, parents)
		add("insert children", InsertChildren(t, all), t, all)
		add("insert children flagged", InsertChildren(t, flagged), t, flagged)
		return forms
	}
	if t.CopyRefused == "" {
		options := BinaryOptions
		if slices.ContainsFunc(all.Columns, func(i int) bool { return t.Columns[i].Wire() == nil }) {
			options = TextOptions
		}
		add("copy", Copy(t, all, options), nil, Shape{})
		if t.Guarded || t.Strategy == sink.Upsert {
			add("look", Look(t, looks), t, looks)
		}
		if t.Memory != "" {
			add("look into the memory", LookIntoMemory(t, keys), t, keys)
		}
	}
	if t.Strategy == sink.Append {
		add("append", Append(t, all), t, all)
		add("append flagged", Append(t, flagged), t, flagged)
		return forms
	}
	winners := all
	winners.Winning = true
	add("upsert", Upsert(t, all), t, all)
	add("upsert winners", Upsert(t, winners), t, winners)
	add("update", Update(t, all), t, all)
	add("insert rest", InsertRest(t, all), t, all)
	add("require", Require(t, looks), t, looks)
	add("update flagged", Update(t, flagged), t, flagged)
	add("insert rest flagged", InsertRest(t, flagged), t, flagged)
	switch {
	case t.Memory != "":
		lock := []int32{LockClass, t.Lock}
		add("remember", Remember(t, keys), t, keys)
		if t.VersionedDeletes {
			withVersion := typed(t, DeleteShape(t, true))
			add("remember version", Remember(t, withVersion), t, withVersion)
		}
		forms = append(forms, Form{Name: "lock", SQL: Lock(t, false), Keys: lock}, Form{Name: "lock alone", SQL: Lock(t, true), Keys: lock})
		if t.Distributed {
			add("lock memory", LockMemory(t, false), nil, Shape{})
			add("lock memory alone", LockMemory(t, true), nil, Shape{})
		}
	case t.Deletes:
		add("delete", Delete(t, keys), t, keys)
		if t.VersionedDeletes {
			withVersion := typed(t, DeleteShape(t, true))
			add("delete version", Delete(t, withVersion), t, withVersion)
		}
	}
	return forms
}

// typed is a shape whose values come as what they are, where their columns let them: as those of nearly all events do.
func typed(t *tables.Table, s Shape) Shape {
	s.Typed = make([]bool, len(s.Columns))
	for j, i := range s.Columns {
		_, s.Typed[j] = t.Arrays(i)
	}
	return s
}

// Canonical asks for the canonical texts of a column's texts, in their order.
func Canonical(c *tables.Column) string {
	return "select " + c.CanonicalSQL() + " from unnest($1::text[]) with ordinality as a(x, n) order by n"
}
