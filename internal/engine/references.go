package engine

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Tables of one sink may refer to each other. Within a transaction the referenced ones are written first,
// and deleted from last, whatever their order in the configuration. Tables of children go with their parent.

// reference is a foreign key between two of the mapping's tables, by their indexes.
type reference struct {
	from, to   int
	deferrable bool
}

// readReferences reads the foreign keys between the tables, those of their partitions included.
func (m *mapping) readReferences(ctx context.Context, tx pgx.Tx) ([]reference, error) {
	oids := make([]uint32, len(m.tables))
	for i, t := range m.tables {
		oids[i] = t.oid
	}
	rows, err := tx.Query(ctx, `
		with family as (select root, root as oid from unnest($1::oid[]) root
		                union select root, p.relid from unnest($1::oid[]) root, pg_partition_tree(root) p)
		select distinct f.root, t.root, k.condeferrable
		  from pg_constraint k join family f on f.oid = k.conrelid join family t on t.oid = k.confrelid
		 where k.contype = 'f' and k.conparentid = 0`, oids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r reference, err error) {
		var from, to uint32
		err = row.Scan(&from, &to, &r.deferrable)
		r.from, r.to = slices.Index(oids, from), slices.Index(oids, to)
		return r, err
	})
}

// arrange finds the order in which tables are written. Where they refer to each other in a circle, the order
// of the configuration stands: only constraints that can be deferred let such rows pass.
func (m *mapping) arrange(references []reference) {
	// A table of children stands for its parent: they are written together.
	unit := func(i int) int {
		if p := m.tables[i].parent; p != nil {
			return slices.Index(m.tables, p)
		}
		return i
	}
	needs := make([][]int, len(m.tables))
	for _, r := range references {
		m.deferrable = m.deferrable || r.deferrable
		own := m.tables[r.from].parent == m.tables[r.to] && r.from != r.to // children are written after their parent anyway
		if own {
			continue
		}
		m.references = true
		if from, to := unit(r.from), unit(r.to); from != to {
			needs[from] = append(needs[from], to)
		}
	}
	done := make([]bool, len(m.tables))
	for len(m.order) < len(m.tables) {
		next := -1
		for i := range m.tables {
			if done[i] {
				continue
			}
			if next < 0 {
				next = i // of a circle, the first
			}
			if !slices.ContainsFunc(needs[i], func(k int) bool { return !done[k] }) {
				next = i
				break
			}
		}
		done[next] = true
		m.order = append(m.order, next)
	}
}
