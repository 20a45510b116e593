package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// A suspicion is no mismatch yet. The row may have been written by an earlier mapping, or before there was the column; triggers may have
// made another row of the event; or the event is a dead letter.

// untold counts what can't be told. What is going to be looked at again is counted then.
func (x *look) untold(why string, n int64) {
	x.pending = append(x.pending, reason{why, n})
}

// excuse makes mismatches of the suspicions for which there is no excuse.
func (x *look) excuse(ctx context.Context) error {
	suspects := x.suspects
	x.suspects = nil
	suspects = slices.DeleteFunc(suspects, func(s suspect) bool {
		at, ok := s.place()
		if !ok {
			return false
		}
		f := x.bySource(at.source)
		switch {
		case !x.ours(f, x.table, at.offset):
			x.untold(Mapping, 1)
		case s.Kind == Row && x.triggers[x.title]:
			x.untold(Trigger, 1)
		default:
			return false
		}
		return true
	})
	if len(suspects) == 0 {
		return nil
	}
	keys := make([][]string, len(suspects))
	for i := range suspects {
		keys[i] = suspects[i].key
	}
	writers, err := x.writers(ctx, x.of.quoted, statement.KeyColumns(x.table), keys)
	if err != nil {
		return err
	}
	columns, err := x.columnAges(ctx, x.of.quoted)
	if err != nil {
		return err
	}
	for i := range suspects {
		s := &suspects[i]
		w := writers[i]
		if w == nil || !same(w.source, s.source) || !same(w.offset, s.offset) {
			x.moved++
			continue
		}
		if s.Kind == Foreign && w.age > columns[tables.SourceColumn] {
			x.untold(Older, 1)
			continue
		}
		if s.Kind == Row {
			s.Columns = slices.DeleteFunc(s.Columns, func(name string) bool { return w.age > columns[name] })
			if len(s.Columns) == 0 {
				x.untold(Older, 1)
				continue
			}
		}
		m := s.Mismatch
		m.Table, m.Key, m.of = x.of.title, s.key, s.key
		m.Transaction, m.Written = w.transaction, w.at
		if at, ok := s.place(); ok {
			m.event(x.bySource(at.source).Partition, at.offset)
		}
		x.found = append(x.found, m)
	}
	return nil
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// wrote is what a row says of who wrote it.
type wrote struct {
	source      *int32
	offset      *int64
	transaction string
	at          *time.Time // of its commit, where track_commit_timestamp tells
	age         int64      // in transactions
}

// ancient is beyond the ages that can be told apart: transactions are numbered anew after four thousand million.
const ancient = 1 << 31

// writers reads, for each of the keys, who wrote the row that is there; nil without one. A relation that does not tell the
// transaction of a row, as some that are not kept in rows, leaves it out.
func (c *checker) writers(ctx context.Context, quoted string, key []statement.KeyColumn, keys [][]string) (map[int]*wrote, error) {
	all := map[int]*wrote{}
	read := func(who string) error {
		clear(all)
		return c.reading(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, fmt.Sprintf("select k._oncesink_n, t.%s, t.%s, %s from %s k join %s t on %s",
				tables.SourceColumn, tables.OffsetColumn, who, statement.Keys(key, 1), quoted, statement.SameKeys(key, "t", "k")), columnsOf(keys)...)
			if err != nil {
				return err
			}
			var n int
			var w wrote
			_, err = pgx.ForEachRow(rows, []any{&n, &w.source, &w.offset, &w.transaction, &w.at, &w.age}, func() error {
				one := w
				if one.age < 0 {
					one.age = ancient
				}
				all[n-1] = &one
				return nil
			})
			return err
		})
	}
	err := read("t.xmin::text, case when current_setting('track_commit_timestamp')::boolean then pg_xact_commit_timestamp(t.xmin) end, age(t.xmin)::bigint")
	if err != nil && ctx.Err() == nil {
		err = read("'', null::timestamptz, 0::bigint")
	}
	if err != nil {
		return nil, fmt.Errorf("look at who wrote rows: %w", err)
	}
	return all, nil
}

// columnAges reads for how many transactions the columns of a relation have been what they are.
func (c *checker) columnAges(ctx context.Context, quoted string) (map[string]int64, error) {
	ages := map[string]int64{}
	err := c.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select attname, age(xmin)::bigint from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped", quoted)
		if err != nil {
			return err
		}
		var name string
		var age int64
		_, err = pgx.ForEachRow(rows, []any{&name, &age}, func() error {
			if age < 0 {
				age = ancient
			}
			ages[name] = age
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", quoted, err)
	}
	return ages, nil
}

// letters says which of the places have dead letters of the group that were never settled by writing them.
func (c *checker) letters(ctx context.Context, at []place) (map[place]bool, error) {
	kept := map[place]bool{}
	var ids []string
	var partitions []int32
	var offs []int64
	for _, p := range at {
		f := c.bySource(p.source)
		id := f.topicID
		if id == "" {
			id = "00000000-0000-0000-0000-000000000000"
		}
		ids, partitions, offs = append(ids, id), append(partitions, f.Partition.Partition), append(offs, p.offset)
	}
	err := c.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select a.n from unnest($2::text[], $3::int[], $4::bigint[]) with ordinality as a(id, p, o, n)
			 where exists (select from oncesink.dead_letters d where d.sink_group = $1::text and d.topic_id = a.id::uuid and d.partition = a.p and d."offset" = a.o and d.status <> 'resolved')`,
			c.Group, ids, partitions, offs)
		if err != nil {
			return err
		}
		var n int
		_, err = pgx.ForEachRow(rows, []any{&n}, func() error {
			kept[at[n-1]] = true
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for dead letters: %w", err)
	}
	return kept, nil
}
