package engine

import (
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// With a delete memory, events of different partitions are not folded: a
// tombstone of one partition, seen before, holds back what lies before it in that
// partition, and must not take along what another partition says.
func TestPartitionsAreFoldedApart(t *testing.T) {
	for _, together := range []bool{true, false} {
		db := newDatabase(t, "create table q (id int primary key, v int)")
		e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}})
		// Partition 0 starts at its tombstone, and is read from the beginning later.
		e.claim("o", 0)
		db.Do("select oncesink.accept_gap('g', 'o', 0, 10)")
		e.claim("o", 0)
		e.write(e.part("o", 0, ev{offset: 10, cols: "id=1", gone: true}))
		e.rewind("o", 0, 0)
		one, two := e.part("o", 1, ev{offset: 3, cols: "id=1 v=1"}), e.part("o", 0, ev{offset: 5, cols: "id=1 v=2"})
		if together {
			e.write(one, two)
		} else {
			e.write(one)
			e.write(two)
		}
		db.Want("1|1|3", "select id, v, _oncesink_offset from q")
	}
}
