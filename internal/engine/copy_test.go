package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
)

// orders makes events of version v for the keys from..to, from an offset on.
func orders(offset int64, v, from, to int) []ev {
	var evs []ev
	for id := from; id < to; id++ {
		evs = append(evs, ev{offset: offset, cols: fmt.Sprintf("id=%d version=%d note=v%d", id, v, v)})
		offset++
	}
	return evs
}

// Rule 19: new keys are copied, after one look; a key that exists sends the batch back to the
// look, which copies the new ones and upserts the rest; a replay is looked at and not
// sent. The trigger tells which statements reached the table.
func TestLearnedRoute(t *testing.T) {
	db := newDatabase(t, "create table q (id bigint primary key, version int not null, note text)",
		"create table ways (n serial, way text)",
		`create function note_way() returns trigger language plpgsql as $$ begin
			insert into ways (way) values (split_part(current_query(), ' ', 1) || ' ' || tg_op || ' ' || (select count(*) from fresh));
			return null; end $$`,
		"create trigger way after insert on q referencing new table as fresh for each statement execute function note_way()")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "version"})
	for _, tb := range e.tables {
		tb.learn.forced = nil // this test is about the choice
	}
	const n = 2000
	var at int64
	write := func(evs []ev, want string) {
		t.Helper()
		db.Do("truncate ways")
		e.write(e.part("o", 0, evs...))
		db.Want(want, "select way from ways order by n")
		at = evs[len(evs)-1].offset + 1
	}
	write(orders(at, 1, 0, n), fmt.Sprint("copy INSERT ", n))   // a look found nothing
	write(orders(at, 1, n, 2*n), fmt.Sprint("copy INSERT ", n)) // without a look
	// Half of these exist: the COPY is undone, with what its trigger wrote.
	write(orders(at, 2, n, 3*n), fmt.Sprintf("copy INSERT %d\ninsert INSERT 0", n))
	db.Want(fmt.Sprintf("%d|1\n%d|2", n, 2*n), "select count(*), version from q group by 2 order by 2")
	first := at
	write(orders(at, 3, 0, 3*n), "insert INSERT 0\ninsert INSERT 0") // updates alone: two statements of at most 4,096
	for v := range 3 {                                               // without a look, with one, and without one again
		write(orders(at, 4+v, 0, 3*n), "insert INSERT 0\ninsert INSERT 0")
	}
	e.rewind("o", 0, first)
	db.Do("truncate ways")
	// The claim is new: what it brings is looked at first, and not sent.
	e.write(e.part("o", 0, append(orders(first, 3, 0, 3*n), orders(first+3*n, 4, 0, 3*n)...)...))
	db.Want("t", "select next_offset = $1 from oncesink.offsets", first+6*n)
	db.Want("", "select way from ways")
	db.Want(fmt.Sprintf("%d|6|v6", 3*n), "select count(*), version, note from q group by 2, 3")
}

// A tombstone in every batch does not keep new keys from being copied.
func TestCopyBesideTombstones(t *testing.T) {
	db := newDatabase(t, "create table q (id bigint primary key, version int not null, note text)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}})
	e.tables[0].learn.forced = nil
	const n = 500
	for i := range 3 {
		first := i * (n + 1)
		e.write(e.part("o", 0, append(orders(int64(first), 1, first, first+n), ev{offset: int64(first + n), cols: fmt.Sprintf("id=%d", first-2), gone: true})...))
	}
	if !e.tables[0].learn.copying {
		t.Error("new keys are not copied")
	}
	db.Want(fmt.Sprint(3*n-2), "select count(*) from q")
}

// A batch in which nothing is newer takes no row lock, and writes to the log no more than its
// position: at most 5 bytes a row.
func TestReplayWritesNoLog(t *testing.T) {
	server := testpg.Start(t)
	db := databaseAt(t, server.URL(), "create table q (id bigint primary key, version int not null, note text)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "version"})
	e.tables[0].learn.forced = nil
	const n = 5000
	for i := range 4 {
		e.write(e.part("o", 0, orders(int64(i*n), 1, i*n, (i+1)*n)...))
	}
	db.Do("checkpoint") // every page that is touched from here on would be logged whole
	rows := db.Lines("select md5(string_agg(q::text || ctid || xmin || xmax, ',' order by id)) from q")
	e.rewind("o", 0, 0)
	before := db.Lines("select pg_current_wal_insert_lsn()")
	for i := range 4 {
		e.write(e.part("o", 0, orders(int64(i*n), 1, i*n, (i+1)*n)...))
	}
	log := db.Lines("select ceil((pg_current_wal_insert_lsn() - $1::pg_lsn) / $2::numeric)::int", before, 4*n)
	t.Logf("%s bytes of log a row", log)
	if len(log) > 1 || log > "5" {
		t.Errorf("a replay wrote %s bytes of log a row, want at most 5", log)
	}
	db.Want(rows, "select md5(string_agg(q::text || ctid || xmin || xmax, ',' order by id)) from q")
}

// What COPY can't do is written by statements, and said so; also when it begins while we run.
func TestCopyRefused(t *testing.T) {
	db := newDatabase(t, "create table q (id bigint primary key, version int not null, note text)",
		"create table u (id bigint primary key, other int unique)")
	db.as("oncesink_copy", "q", func(e *engine) {
		e.tables[0].learn.forced = nil
		e.write(e.part("o", 0, orders(0, 1, 0, 500)...))
		e.write(e.part("o", 0, orders(500, 1, 500, 1000)...))
		if !e.tables[0].learn.copying {
			t.Error("new keys are not copied")
		}
		db.Do("alter table q enable row level security")
		db.Do("create policy p on q using (true) with check (true)")
		e.write(e.part("o", 0, orders(1000, 1, 1000, 1500)...))
		db.Want("1500", "select count(*) from q")
		if e.tables[0].learn.copying {
			t.Error("COPY is tried again at once")
		}
	})
	db.as("oncesink_copy", "q", func(e *engine) {
		if got := e.Describe()[0].Way; !strings.HasPrefix(got, "upsert only: row level security") {
			t.Errorf("way %q", got)
		}
	})
	e := db.upsert("u", sink.TableConfig{Key: []string{"id"}})
	if got := e.Describe()[0].Way; !strings.HasPrefix(got, "upsert only: it has unique index") {
		t.Errorf("way %q", got)
	}
}

// A record that COPY refuses, for a reason by which nobody is suspected, is found by the statements, and the batch's other
// records are written.
func TestPoisonInCopy(t *testing.T) {
	db := newDatabase(t, "create table q (id bigint primary key, version int not null, note varchar(5))",
		"create function f() returns trigger language plpgsql as $$ begin if new.note = 'bad' then raise check_violation; end if; return new; end $$",
		"create trigger f before insert or update on q for each row execute function f()")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "version"})
	e.tables[0].learn.forced = nil
	e.write(e.part("o", 0, orders(0, 1, 0, 500)...))
	evs := orders(500, 1, 500, 1000)
	evs[77].cols = "id=577 version=1 note=bad"
	e.write(e.part("o", 0, evs...))
	db.Want("999", "select count(*) from q")
	db.Want("577|23514", `select "offset", code from oncesink.dead_letters`)
	if e.tables[0].learn.copying {
		t.Error("COPY is tried again at once")
	}
}

// What was rolled back teaches nothing: a record that is bisected out of updates does not make them look like a replay.
func TestRolledBackTeachesNothing(t *testing.T) {
	db := newDatabase(t, "create table q (id bigint primary key, version int not null, note varchar(5), check (note <> 'bad'))")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "version"})
	l := e.tables[0].learn
	l.forced = nil
	const n = 1000
	e.write(e.part("o", 0, orders(0, 1, 0, n)...))
	l.mu.Lock()
	l.copying, l.rest, l.pause = false, maxRest, maxRest // as after many batches of updates
	l.mu.Unlock()
	evs := orders(n, 2, 0, n)
	evs[77].cols = "id=77 version=2 note=bad"
	e.write(e.part("o", 0, evs...))
	db.Want(fmt.Sprint(n-1), "select count(*) from q where version = 2")
	db.Want("1", "select count(*) from oncesink.dead_letters")
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pause != maxRest {
		t.Errorf("after a batch of updates with one that is refused it has %d batches before a look, want %d", l.pause, maxRest)
	}
}
