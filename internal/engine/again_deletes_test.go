package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// A change of a row, as a connector sends it: a deletion is followed by its tombstone.
type change struct {
	id, version int
	gone        bool
	a, b        string // b may be withheld
}

// Rule 11: whoever reads a database's log sends changes again after a crash, deletions with their tombstones among them. With a version no row
// ever goes back, nor away, and in the end the table is the source's; also where an update that is sent again lacks what the source withheld.
func TestRule11SentAgain(t *testing.T) {
	db := newDatabase(t, `create table h (id int primary key, v int, a int, b int)`)
	e := db.open(sink.Config{
		Topics: map[string]sink.TopicConfig{"o": {Envelope: &sink.Envelope{Op: "op", Upsert: []string{"u"}, Delete: []string{"d"}}}},
		Tables: []sink.TableConfig{{Name: "h", Topics: []string{"o"}, Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}}}})
	for n := range testenv.Times(manyHistories, 300) {
		seed := *seed + uint64(n)
		rnd := rand.New(rand.NewPCG(seed, 12))
		topic := fmt.Sprintf("o%d", n)
		db.Do("truncate h")
		db.Do("truncate " + e.tables[0].Memory)
		e.claim(topic, 0)

		changes := randomChanges(rnd)
		var sent []change // a tombstone is a change without a version
		for at := 0; at < len(changes); at++ {
			c := changes[at]
			sent = append(sent, c)
			if c.gone && rnd.IntN(10) > 0 { // else it crashes between the two
				sent = append(sent, change{id: c.id, gone: true})
			} else if c.gone {
				at--
			}
			if rnd.IntN(6) == 0 {
				at -= rnd.IntN(min(at+1, 6)) + 1
				at = max(at, -1)
			}
			if len(sent) > 60 {
				break
			}
		}
		written := map[int]change{} // the latest of each row
		for next := 0; next < len(sent); {
			batch := sent[next:min(next+1+rnd.IntN(6), len(sent))]
			var evs []ev
			for i, c := range batch {
				evs = append(evs, c.ev(int64(next+i)))
				if c.version > written[c.id].version {
					written[c.id] = c
				}
			}
			e.write(e.part(topic, 0, evs...))
			next += len(batch)
			if got, want := db.Lines("select id, v, a, b from h order by id"), rowsOf(written, changes); got != want {
				t.Fatalf("seed %d: sent %v\nafter %d got:\n%s\nwant:\n%s", seed, sent, next, got, want)
			}
		}
		before := db.Lines("select xmin, ctid from h order by id")
		e.rewind(topic, 0, int64(rnd.IntN(len(sent))))
		var evs []ev
		for i := e.claims[offsets.Partition{Topic: topic}].Position.Next; i < int64(len(sent)); i++ {
			evs = append(evs, sent[i].ev(i))
		}
		e.write(e.part(topic, 0, evs...))
		if after := db.Lines("select xmin, ctid from h order by id"); after != before {
			t.Fatalf("seed %d: sent %v\na replay wrote:\n%s\nthere was:\n%s", seed, sent, after, before)
		}
	}
	if n := db.Lines("select count(*) from oncesink.dead_letters"); n != "0" {
		t.Errorf("seed %d: %s dead letters", *seed, n)
	}
}

func randomChanges(rnd *rand.Rand) []change {
	var changes []change
	there := map[int]bool{}
	for v := range 5 + rnd.IntN(15) {
		c := change{id: 1 + rnd.IntN(2), version: v + 1, a: fmt.Sprint(v), b: fmt.Sprint(100 + v)}
		switch {
		case there[c.id] && rnd.IntN(3) == 0:
			c.gone = true
		case there[c.id] && rnd.IntN(2) == 0:
			c.b = "?"
		}
		there[c.id] = !c.gone
		changes = append(changes, c)
	}
	return changes
}

func (c change) ev(offset int64) ev {
	if c.gone && c.version == 0 {
		return ev{offset: offset, cols: fmt.Sprintf("id=%d", c.id), gone: true}
	}
	if c.gone {
		return ev{offset: offset, cols: fmt.Sprintf("id=%d v=%d", c.id, c.version), gone: true, versioned: true}
	}
	return ev{offset: offset, cols: fmt.Sprintf("id=%d v=%d a=%s b=%s", c.id, c.version, c.a, c.b)}
}

// rowsOf is the table after the latest changes: of what one withholds, an earlier change says the value.
func rowsOf(latest map[int]change, changes []change) string {
	var lines []string
	for id := 1; id <= 2; id++ {
		c, ok := latest[id]
		if !ok || c.gone {
			continue
		}
		b := ""
		for _, earlier := range changes {
			if earlier.id == id && earlier.version <= c.version && earlier.b != "?" {
				b = earlier.b
			}
		}
		lines = append(lines, fmt.Sprintf("%d|%d|%s|%s", id, c.version, c.a, b))
	}
	return strings.Join(lines, "\n")
}
