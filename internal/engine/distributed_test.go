package engine

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/testenv"
)

// distribute lets the tables of an engine be written by the statements of distributed ones, by a server that has all rows itself.
func (e *engine) distribute() {
	for _, t := range e.tables {
		t.Distributed = true
	}
}

// Rules 11, 13 and 16 hold of tables that Citus distributes: their statements leave what the others leave. What Citus makes of them is tried by
// docs/citus.md's example.
func TestDistributedHistories(t *testing.T) {
	for _, h := range historyTables {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			r := newHistoryRig(t, h.notNull, h.follow, h.table)
			r.e.distribute()
			r.e.tables[0].learn.ordered.Store(h.ordered)
			for n := range max(2, *histories/4) {
				if problem := r.run(*seed+uint64(n), h.partitions); problem != "" {
					t.Fatalf("go test -seed %d -histories 1: %s", *seed+uint64(n), problem)
				}
			}
			t.Logf("seed %d", *seed)
		})
	}
}

// So do those of children. A replay locks the rows that it finds, and writes none.
func TestDistributedSets(t *testing.T) {
	setsComeOut(t, testenv.Times(1, 5), strings.ReplaceAll(shopPhysical, ", xmax", ", 0"), (*engine).distribute)
}
