package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// A single value that Go does not read sends its rows in text, and the next ones; later they go
// in binary again. What is null stays null either way.
func TestOddValueGoesInText(t *testing.T) {
	db := newDatabase(t, "create table q (id bigint primary key, n int, note text)", "create table ways (way text)",
		`create function note_way() returns trigger language plpgsql as $$ begin
			insert into ways select case when current_query() like '%binary%' then 'binary' else 'text' end; return null; end $$`,
		"create trigger way after insert on q for each statement execute function note_way()")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}})
	e.tables[0].learn.forced = new(byCopy)
	var at int64
	write := func(odd, want string) {
		t.Helper()
		var evs []ev
		for range 200 {
			evs = append(evs, ev{offset: at, cols: fmt.Sprintf("id=%d n=%d note=x", at, at)})
			at++
		}
		evs[100].cols = strings.Replace(evs[100].cols, "n=", "n="+odd, 1)
		evs[101].cols = fmt.Sprintf("id=%d n=null note=null", evs[101].offset)
		db.Do("truncate ways")
		e.write(e.part("o", 0, evs...))
		db.Want(want, "select way from ways")
	}
	write("", "binary")
	write("+", "text")
	for range patience {
		write("", "text")
	}
	write("", "binary")
	db.Want(fmt.Sprint(at), "select count(*) from q where n = id or n is null and note is null")
	db.Want(fmt.Sprint(patience+3), "select count(*) from q where n is null")
}

// A round that is larger than a chunk takes several COPYs.
func TestBinaryChunks(t *testing.T) {
	db := newDatabase(t, "create table q (id bigint primary key, note text)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}})
	e.tables[0].learn.forced = new(byCopy)
	var evs []ev
	for i := range 300 {
		evs = append(evs, ev{offset: int64(i), cols: fmt.Sprintf("id=%d note=%s", i, strings.Repeat("x", 10_000+i))})
	}
	e.write(e.part("o", 0, evs...))
	db.Want("300", "select count(*) from q where length(note) = 10000 + id and _oncesink_offset = id")
}
