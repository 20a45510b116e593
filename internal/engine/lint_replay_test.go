package engine

import (
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// TestCascadesAndReplay shows what findings cascade-to and cascade-from say: what a replay brings back of that which
// a foreign key's action changed, and what not.
func TestCascadesAndReplay(t *testing.T) {
	keyed := sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}
	const parent = "create table p (id int primary key); insert into p values (1)"
	lines := []ev{{offset: 0, cols: "id=7 p=1"}}
	for _, tt := range []struct {
		name, action string
		between      string // what happens to the parent after the first load
		first, again string // rows after it, and after a replay
	}{
		{"delete", "on delete cascade", "delete from p; insert into p values (1)", "", "7|1"},
		{"set null", "on delete set null", "delete from p; insert into p values (1)", "7|-", "7|-"},
		{"update", "on update cascade", "update p set id = 2; insert into p values (1)", "7|2", "7|2"},
	} {
		t.Run("from: "+tt.name, func(t *testing.T) {
			db := newDatabase(t, parent, "create table t (id int primary key, p int references p "+tt.action+")")
			e := db.upsert("t", keyed)
			e.write(e.part("o", 0, lines...))
			db.Do(tt.between)
			db.Want(tt.first, "select id, p from t")
			e.rewind("o", 0, 0)
			e.write(e.part("o", 0, lines...))
			db.Want(tt.again, "select id, p from t")
		})
	}
	for _, tt := range []struct{ name, action, want string }{
		{"delete", "on delete cascade", ""},
		{"set null", "on delete set null", "-"},
	} {
		t.Run("to: "+tt.name, func(t *testing.T) {
			db := newDatabase(t, "create table t (id int primary key)", "create table o (t int references t "+tt.action+")")
			e := db.upsert("t", keyed)
			events := []ev{{offset: 0, cols: "id=1"}, {offset: 1, cols: "id=1", gone: true}, {offset: 2, cols: "id=1"}}
			e.write(e.part("o", 0, events[:1]...))
			db.Do("insert into o values (1)")
			e.write(e.part("o", 0, events[1:]...))
			db.Want(tt.want, "select t from o")
			e.rewind("o", 0, 0)
			e.write(e.part("o", 0, events...))
			db.Want(tt.want, "select t from o")
			db.Want("1", "select id from t")
		})
	}
	t.Run("to: update of the key", func(t *testing.T) {
		db := newDatabase(t, "create table t (id numeric primary key, n int)", "create table o (t numeric references t on update cascade)")
		e := db.upsert("t", keyed)
		e.write(e.part("o", 0, ev{offset: 0, cols: "id=1.0 n=1"}))
		db.Do("insert into o values (1.0)")
		e.write(e.part("o", 0, ev{offset: 1, cols: "id=1.00 n=2"}))
		db.Want("1.0", "select t from o")
		db.Want("1.0|2", "select id, n from t")
	})
}

// TestFurtherUniqueAndReplay shows what finding further-unique says: an event that another row kept out is tried
// again by a replay, against the rows of that time.
func TestFurtherUniqueAndReplay(t *testing.T) {
	db := newDatabase(t, "create table t (id int primary key, mail text unique)")
	e := db.upsert("t", sink.TableConfig{Key: []string{"id"}})
	events := []ev{{offset: 0, cols: "id=1 mail=x"}, {offset: 1, cols: "id=2 mail=x"}, {offset: 2, cols: "id=1 mail=y"}}
	e.write(e.part("o", 0, events...))
	db.Want("1|y", "select id, mail from t order by id")
	e.rewind("o", 0, 0)
	e.write(e.part("o", 0, events...))
	db.Want("1|y\n2|x", "select id, mail from t order by id")
}
