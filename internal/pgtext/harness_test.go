package pgtext

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

type database struct{ *testpg.Database }

func newDatabase(t testing.TB, statements ...string) *database {
	t.Helper()
	return &database{testpg.Open(t, testpg.URL(t), statements...)}
}

// column is one of a table that was made for a test; it has the name of its type.
type column struct {
	Type
	name string
}

// columns makes a table with a column of each type, named as the type, and reads their types.
func (db *database) columns(types ...string) map[string]*column {
	db.T.Helper()
	var list []string
	for _, typ := range types {
		list = append(list, pgx.Identifier{typ}.Sanitize()+" "+typ)
	}
	db.Do("create table k (" + strings.Join(list, ", ") + ")")
	return db.columnsOf("k")
}

// columnsOf reads the types of a table's columns.
func (db *database) columnsOf(table string) map[string]*column {
	t := db.T
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	rows, err := tx.Query(t.Context(), `select a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid, a.atttypmod, coalesce(l.collisdeterministic, true)
		  from pg_attribute a left join pg_collation l on l.oid = a.attcollation
		 where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped`, table)
	if err != nil {
		t.Fatal(err)
	}
	type attribute struct {
		name, declared string
		oid            uint32
		typmod         int32
		deterministic  bool
	}
	var all []attribute
	var oids []uint32
	var a attribute
	_, err = pgx.ForEachRow(rows, []any{&a.name, &a.declared, &a.oid, &a.typmod, &a.deterministic}, func() error {
		all, oids = append(all, a), append(oids, a.oid)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	types, err := Read(t.Context(), tx, oids)
	if err != nil {
		t.Fatal(err)
	}
	columns := map[string]*column{}
	for _, a := range all {
		c := &column{types.Describe(a.oid, a.typmod), a.name}
		c.Declared, c.Deterministic, c.Session = a.declared, a.deterministic, time.UTC
		c.Prepare()
		columns[a.name] = c
	}
	return columns
}

// nestedTypes have dates within.
var nestedTypes = []string{"create domain day as date", "create domain days as date[]", "create type dayrange as range (subtype = day, multirange_type_name = daymultirange)",
	"create type span as (a date, b int)", "create type nest as (s span, t text)"}

// tryCast makes a function that gives a text's value of a type as text, NULL if it is none.
const tryCast = `create function try_cast(x text, typ text) returns text language plpgsql as $$
	declare r text; begin execute format('select %L::%s::text', x, typ) into r; return r; exception when others then return null; end $$`

// value decodes one value into a column without a server.
func value(c *Type, json string) (string, *Refusal) {
	set, err := fields.New([]string{"v"})
	if err != nil {
		return "", Refuse("", err.Error())
	}
	values := make([]event.Value, 1)
	if r := RefusalOf(set.Read([]byte(`{"v":`+json+`}`), nil, values, nil)); r != nil {
		return "", r
	}
	if values[0].Kind == event.Null {
		return "", nil
	}
	text, r := c.AppendValue(nil, &values[0])
	return string(text), r
}
