package engine

import (
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// Rules 11, 16 and 17: an event that is refused outdoes nobody, wherever batches end. Here the first one lacks a
// column that a row can't be without, and has a higher version than the second.
func TestRule16RefusedEventsOutdoNobody(t *testing.T) {
	events := []ev{{offset: 0, cols: "k=1 v=3 a=x"}, {offset: 1, cols: "k=1 v=2 a=y b=y c=y"}, {offset: 2, cols: "k=1 v=3 a=z c=z"}}
	for _, batches := range [][][]ev{{events}, {events[:1], events[1:]}, {events[:2], events[2:]}, {events[:1], events[1:2], events[2:]}} {
		db := newDatabase(t, "create table o (k int primary key, v int, a text, b text, c text not null)")
		e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "o", Topics: []string{"o"}, Key: []string{"k"}, Version: "v"}}})
		e.claim("o", 0)
		for _, b := range batches {
			e.write(e.part("o", 0, b...))
		}
		db.Want("1|3|z|y|z", "select k, v, a, b, c from o")
		db.Want("0", `select "offset" from oncesink.dead_letters`)
	}
}
