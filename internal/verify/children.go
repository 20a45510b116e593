package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// set is what there is of a parent's children.
type set struct {
	held
	own, others int64 // children of the set's event, and of others
}

// family is what is wrong with the children of one parent.
type family struct {
	*set
	missing, unlike, stray int64
	columns                []string
	writer                 *wrote
}

// children compares the children of rows with those that the events brought whose sets they are (rule 16).
func (x *look) children(ctx context.Context, parents []held) error {
	for _, t := range x.table.Children {
		if err := x.childrenIn(ctx, t, parents); err != nil {
			return err
		}
	}
	return nil
}

func (x *look) childrenIn(ctx context.Context, t *tables.Table, parents []held) error {
	if len(parents) == 0 {
		return nil
	}
	sets, err := x.sets(ctx, t, parents)
	if err != nil {
		return err
	}
	var wanted []place
	var claimed []*set
	wrong := map[string]*family{} // by the parent's key
	families := func(s *set) *family {
		id := strings.Join(s.key, "\x00")
		if wrong[id] == nil {
			wrong[id] = &family{set: s}
		}
		return wrong[id]
	}
	for i := range sets {
		s := &sets[i]
		if !x.last {
			x.result.Children += s.own + s.others
		}
		if s.others > 0 {
			families(s).stray += s.others
		}
		at, ok := s.place()
		switch {
		case !ok && s.own > 0: // of no event, and nobody's set
			families(s).stray += s.own
		case !ok:
		case x.bySource(at.source) == nil:
			x.untold(Source, 1)
		default:
			wanted, claimed = append(wanted, at), append(claimed, s)
		}
	}
	r, err := x.fetch(ctx, wanted)
	if err != nil {
		return err
	}
	d, err := x.decode(ctx, r)
	if err != nil {
		return err
	}
	var brought []bind.Event // children
	var claims []bind.Event  // their parents
	for i, at := range wanted {
		s := claimed[i]
		e, lost, f := d.events[at], r.lost[at], d.faults[at]
		switch _, isLost := r.lost[at]; {
		case isLost && lost != "":
			x.untold(lost, 1)
		case f != nil:
			x.untold(unreadable(f), 1)
		case isLost || e == nil || e.Tombstone():
			families(s).stray += max(1, s.own)
		default:
			list, has := childrenOf(e, x.table, t)
			if n := int64(len(list)); !has || s.own > n {
				families(s).stray += max(1, s.own-n)
			}
			claim := *e
			claim.Seq = int32(i) // two sets may say that they are of one event
			for k := range list {
				list[k].Seq = claim.Seq
			}
			brought, claims = append(brought, list...), append(claims, claim)
		}
	}
	shape := statement.LookShape(x.table)
	keys := make([][]string, len(claims))
	for i := range claims {
		keys[i] = claimed[claims[i].Seq].key
	}
	moved, others := map[*set]bool{}, map[*set]bool{} // since then; of another parent's event
	if err := x.ask(ctx, x.table, shape, statement.ComparePlaces(x.table, t.SetsTable, shape), claims, keys, func(i int, says string, _ []string) {
		s := claimed[claims[i].Seq]
		switch says {
		case statement.SaysGone, statement.SaysMoved:
			moved[s] = true
		case statement.SaysOther:
			others[s] = true
			families(s).stray += max(1, s.own)
		}
	}); err != nil {
		return err
	}
	brought = slices.DeleteFunc(brought, func(e bind.Event) bool { return others[claimed[e.Seq]] })
	if err := x.compareChildren(ctx, t, brought, claimed, moved, families); err != nil {
		return err
	}
	for _, f := range wrong {
		at, ok := f.place()
		switch {
		case moved[f.set]:
			x.moved++
		case ok && x.bySource(at.source) != nil && !x.ours(x.bySource(at.source), t, at.offset):
			x.untold(Mapping, 1)
		case x.triggers[t.Title()]:
			x.untold(Trigger, 1)
		default:
			x.found = append(x.found, x.familyIs(t, f))
		}
	}
	return nil
}

// familyIs says what is wrong.
func (x *look) familyIs(t *tables.Table, f *family) Mismatch {
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{{f.missing, "missing"}, {f.unlike, "unlike"}, {f.stray, "of no event that has the set"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	m := Mismatch{Kind: Children, Table: t.Title(), Key: f.key, Columns: f.columns, Problem: "children: " + strings.Join(parts, ", "), of: f.key}
	if at, ok := f.place(); ok && x.bySource(at.source) != nil {
		m.event(x.bySource(at.source).Partition, at.offset)
	}
	if f.writer != nil {
		m.Transaction, m.Written = f.writer.transaction, f.writer.at
	}
	return m
}

// compareChildren finds those that are missing, or not what their event says.
func (x *look) compareChildren(ctx context.Context, t *tables.Table, brought []bind.Event, claimed []*set, moved map[*set]bool, families func(*set) *family) error {
	type child struct {
		key, columns []string
		of           *set
	}
	var unlike []child
	var split bind.Sets
	split.Split(t, brought)
	for _, name := range split.Names() {
		s, events := statement.ShapeOf(t, name), split.Of(name)
		if err := x.askFrom(ctx, t, s, statement.CompareChildren(t, s), events, nil, 0, func(i int, says string, texts ...[]string) {
			of := claimed[events[i].Seq]
			switch says {
			case statement.SaysMoved:
				moved[of] = true
			case statement.SaysGone, statement.SaysStray:
				families(of).missing++
			case statement.SaysUnlike:
				unlike = append(unlike, child{texts[1], texts[0], of})
			case saysRefused:
				x.untold(Refused, 1)
			}
		}); err != nil {
			return err
		}
	}
	if len(unlike) == 0 {
		return nil
	}
	keys := make([][]string, len(unlike))
	for i := range unlike {
		keys[i] = unlike[i].key
	}
	writers, err := x.writers(ctx, t.Quoted(), statement.KeyColumns(t), keys)
	if err != nil {
		return err
	}
	ages, err := x.columnAges(ctx, t.Quoted())
	if err != nil {
		return err
	}
	for i, u := range unlike {
		w := writers[i]
		if w == nil || !same(w.source, u.of.source) || !same(w.offset, u.of.offset) {
			continue // it has moved on
		}
		u.columns = slices.DeleteFunc(u.columns, func(name string) bool { return w.age > ages[name] })
		if len(u.columns) == 0 {
			x.untold(Older, 1)
			continue
		}
		f := families(u.of)
		f.unlike++
		f.columns = append(f.columns, u.columns...)
		slices.Sort(f.columns)
		f.columns, f.writer = slices.Compact(f.columns), w
	}
	return nil
}

// sets reads what there is of the children of parents.
func (x *look) sets(ctx context.Context, t *tables.Table, parents []held) (all []set, err error) {
	keys := make([][]string, len(parents))
	for i := range parents {
		keys[i] = parents[i].key
	}
	err = x.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, statement.Sets(t), columnsOf(keys)...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s set, err error) {
			var n int
			err = row.Scan(&n, &s.source, &s.offset, &s.own, &s.others)
			if err == nil {
				s.key = keys[n-1]
			}
			return s, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the children in %s: %w", t.Title(), err)
	}
	return all, nil
}

// orphans finds children that no set and no parent has, among those that follow a key; it says which it looked at last.
func (c *checker) orphans(ctx context.Context, t *tables.Table, after []string, n int) (found []Mismatch, last []string, looked int, err error) {
	key := statement.KeyColumns(t)
	rest, args := following(key, after)
	return c.orphansOf(ctx, t, fmt.Sprintf("%s order by %s limit %d", rest, names(key, "t"), n), args)
}

// orphan looks at one child again.
func (c *checker) orphan(ctx context.Context, t *tables.Table, key []string) ([]Mismatch, error) {
	columns := statement.KeyColumns(t)
	found, _, _, err := c.orphansOf(ctx, t, fmt.Sprintf("join %s k on %s", statement.Keys(columns, 1), statement.SameKeys(columns, "t", "k")), columnsOf([][]string{key}))
	return found, err
}

// orphansOf reads children by what follows `from CHILDREN t`.
func (c *checker) orphansOf(ctx context.Context, t *tables.Table, rest string, args []any) (found []Mismatch, last []string, looked int, err error) {
	key := statement.KeyColumns(t)
	none := statement.Orphan(t)
	err = c.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, fmt.Sprintf("select %s, %s from %s t %s", statement.Texts(key, "t"), none, t.Quoted(), rest), args...)
		if err != nil {
			return err
		}
		var texts []string
		var orphan bool
		_, err = pgx.ForEachRow(rows, []any{&texts, &orphan}, func() error {
			last, looked = slices.Clone(texts), looked+1
			if orphan {
				found = append(found, Mismatch{Kind: Orphan, Table: t.Title(), Key: last, Problem: "it is a child without a parent", of: last})
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, nil, 0, fmt.Errorf("look for children without parents in %s: %w", t.Title(), err)
	}
	return found, last, looked, nil
}

// following is the condition that a row t comes after a key, in the order of the key.
func following(key []statement.KeyColumn, after []string) (where string, args []any) {
	if after == nil {
		return "where true", nil
	}
	var values []string
	for i, c := range key {
		values = append(values, fmt.Sprintf("$%d::text::%s", i+1, c.Type))
		args = append(args, after[i])
	}
	return fmt.Sprintf("where (%s) > (%s)", names(key, "t"), strings.Join(values, ", ")), args
}

func names(key []statement.KeyColumn, of string) string {
	var out []string
	for _, c := range key {
		out = append(out, of+"."+c.Name)
	}
	return strings.Join(out, ", ")
}
