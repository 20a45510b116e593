package mapping

import (
	"slices"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/tables"
)

// Tables of one sink may refer to each other. Within a transaction the referenced ones are written first,
// and deleted from last, whatever their order in the configuration. Tables of children go with their parent.

// Arrange finds the order in which tables are written. Where they refer to each other in a circle, the order
// of the configuration stands: only constraints that can be deferred let such rows pass.
func (m *Mapping) Arrange(edges []catalog.Edge) {
	// A table of children stands for its parent: they are written together.
	unit := func(i int) int {
		if p := m.Tables[i].Parent; p != nil {
			return slices.Index(m.Tables, p)
		}
		return i
	}
	needs := make([][]int, len(m.Tables))
	for _, e := range edges {
		from, to := m.indexOf(e.From), m.indexOf(e.To)
		if from < 0 || to < 0 {
			continue // not written by the sink
		}
		m.Deferrable = m.Deferrable || e.Deferrable
		if from != to && m.Tables[from].Parent == m.Tables[to] {
			continue // children are written after their parent anyway
		}
		m.References = true
		if from, to = unit(from), unit(to); from != to {
			needs[from] = append(needs[from], to)
		}
	}
	done := make([]bool, len(m.Tables))
	for len(m.Order) < len(m.Tables) {
		next := -1
		for i := range m.Tables {
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
		m.Order = append(m.Order, next)
	}
}

// indexOf is the table of an oid; -1 if the sink does not write it.
func (m *Mapping) indexOf(oid uint32) int {
	return slices.IndexFunc(m.Tables, func(t *tables.Table) bool { return t.OID == oid })
}
