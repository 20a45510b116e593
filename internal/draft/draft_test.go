package draft_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/draft"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// records are made of keys and values in turn; "-" is none.
func records(keysAndValues ...string) (out []sink.Record) {
	some := func(s string) []byte {
		if s == "-" {
			return nil
		}
		return []byte(s)
	}
	for pair := range slices.Chunk(keysAndValues, 2) {
		out = append(out, sink.Record{Key: some(pair[0]), Value: some(pair[1]), Offset: int64(len(out))})
	}
	return out
}

func look(t *testing.T, keysAndValues ...string) *draft.Table {
	t.Helper()
	table, err := draft.Look("shop.public.orders", records(keysAndValues...))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestKey(t *testing.T) {
	for name, c := range map[string]struct {
		records []string
		key     string // and how a tombstone names the row
		version string
	}{
		"the record's key is a field":          {[]string{"1", `{"id":1,"n":7}`, "2", `{"id":2,"n":7}`}, "id=$key", ""},
		"of several fields, the likelier name": {[]string{"1", `{"a":1,"order_id":1}`}, "order_id=$key", ""},
		"a text in quotes":                     {[]string{`"a"`, `{"name":"a"}`}, "name=$key_json", ""},
		"an object":                            {[]string{`{"b":1,"a":"x"}`, `{"a":"x","b":1}`}, "b=$key.b a=$key.a", ""},
		"an object with its schema":            {[]string{`{"schema":{},"payload":{"id":1}}`, `{"id":1}`}, "id=$key.payload.id", ""},
		"a field by its name":                  {[]string{"-", `{"orderId":1}`, "-", `{"orderId":1}`}, "order_id", ""},
		"a field by name, all of them distinct; keys choose partitions": {[]string{"7", `{"id":1,"user":7}`, "7", `{"id":2,"user":7}`}, "id", ""},
		"but not where there are tombstones":                            {[]string{"7", `{"id":1,"user":7}`, "7", `{"id":2,"user":7}`, "7", "-"}, "user=$key", ""},
		"a key that no field has":                                       {[]string{"x", `{"a":1}`}, "record_key=$key", ""},
		"nothing":                                                       {[]string{"-", `{"a":1}`}, "", ""},
		"a field that some lack":                                        {[]string{"-", `{"id":1}`, "-", `{"a":1}`}, "", ""},
		"a field that is null once":                                     {[]string{"-", `{"id":1}`, "-", `{"id":null}`}, "", ""},
		"a number with a fraction":                                      {[]string{"1.5", `{"id":1.5}`}, "record_key=$key", ""},
		"keys that repeat may only choose partitions":                   {[]string{"7", `{"user_id":7,"a":1}`, "7", `{"user_id":7,"a":2}`}, "", ""},
		"so may those that no field has":                                {[]string{"7", `{"a":1}`, "7", `{"a":2}`}, "", ""},
		"but not if something says what is newer":                       {[]string{"7", `{"user_id":7,"seq":1}`, "7", `{"user_id":7,"seq":2}`}, "user_id=$key", "seq"},
		"nor if they have the table's name":                             {[]string{"7", `{"order_id":7}`, "7", `{"order_id":7}`}, "order_id=$key", ""},
		"a version":                                                     {[]string{"1", `{"id":1,"updated_at":"2026-01-31T08:00:00Z","version":3}`}, "id=$key", "version"},
		"a version in camels":                                           {[]string{"1", `{"id":1,"updatedAt":1769846400000}`}, "id=$key", "updated_at"},
		"a version that some lack":                                      {[]string{"1", `{"id":1,"version":3}`, "1", `{"id":1}`}, "id=$key", ""},
		"a version that is a text":                                      {[]string{"1", `{"id":1,"version":"3"}`}, "id=$key", ""},
		"changes come in order":                                         {[]string{`{"id":1}`, `{"after":{"id":1,"version":1},"before":null,"op":"c","source":{}}`}, "id=$key.id", ""},
	} {
		t.Run(name, func(t *testing.T) {
			table := look(t, c.records...)
			var got []string
			for i, k := range table.Key {
				if table.RecordKey != nil {
					k += "=" + table.RecordKey[i].From
				}
				got = append(got, k)
			}
			if s := strings.Join(got, " "); s != c.key || table.Version != c.version {
				t.Errorf("got key %s, version %q; want %s, %q", s, table.Version, c.key, c.version)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	for value, want := range map[string]string{
		`7`: "integer", `-1000000`: "integer", `1000001`: "bigint", `9223372036854775808`: "numeric", `1.5`: "numeric", `1e3`: "numeric", `1e999999`: "text",
		`true`: "boolean", `"x"`: "text", `"2026-01-31T08:00:00Z"`: "timestamptz", `"2026-01-31 08:00:00.5+02:00"`: "timestamptz",
		`"2026-01-31T08:00:00"`: "timestamp", `"2026-01-31"`: "date", `"2026-02-31"`: "text", `"0000-01-31"`: "text", `"2026-01-31T08:00:00+23:00"`: "text",
		`"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`: "uuid", `{}`: "jsonb", `[1]`: "jsonb", `{"a":1e999999}`: "text",
		"7 ` 8.5": "numeric", "7 ` true": "text", "7 ` \"x\"": "text", "7 ` {}": "jsonb", "7 ` null": "integer", "\"2026-01-31\" ` \"\"": "text",
		`at: 1769846400`: "timestamptz s", `created_ms: 1769846400000`: "timestamptz ms", `ts: 1769846400000000`: "timestamptz us",
		`ts: 1769846400000000000`: "timestamptz ns", `ts: 5`: "integer", `ts: 0`: "integer", `amount: 1769846400`: "bigint", `customer_id: 5`: "bigint",
	} {
		name, values, named := strings.Cut(value, ": ")
		if !named || strings.ContainsAny(name, `"{`) {
			name, values = "f", value
		}
		var all []string
		for _, v := range strings.Split(values, " ` ") {
			all = append(all, "-", `{"`+name+`":`+v+`}`)
		}
		table := look(t, all...)
		got := strings.TrimSpace(table.Columns[0].Type + " " + table.Columns[0].Unit)
		if got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
}

// What is said names fields, and has nothing of their values; and not the names of an object that is a map.
func TestSaysNoValue(t *testing.T) {
	table := look(t, "c4nary", `{"id":"c4nary","note":"c4nary","at":["c4nary"],"in":{"a":"c4nary"},"c4nary@example.org":1,"gone":null}`, "c4nary", "-", "c4nary", "c4nary")
	draft.Tables([]*draft.Table{table})
	said := draft.YAML([]*draft.Table{table}, "x.sql") + draft.SQL([]*draft.Table{table})
	if strings.Contains(said, "c4nary") || !strings.Contains(said, "1 field(s) whose names look like data") || !strings.Contains(said, "gone: it was always null") ||
		!strings.Contains(said, "DEAD LETTERS: of 3 records, 1 can't be read as JSON") {
		t.Error(said)
	}
}

// It says of which records the table can't keep everything.
func TestUnfit(t *testing.T) {
	for name, c := range map[string]struct {
		records []string
		want    string
	}{
		"a text with a zero":          {[]string{"1", `{"id":1,"a":"x"}`, "2", `{"id":2,"a":"\u0000"}`}, `1 hold the character \u0000, which PostgreSQL has in no text`},
		"a zero within":               {[]string{"1", `{"id":1,"a":["\u0000"]}`}, `1 hold the character \u0000, which PostgreSQL has in no text`},
		"none, where JSON is a text":  {[]string{"1", `{"id":1,"a":["\u0000",1e999999]}`}, ""},
		"no key":                      {[]string{"k", `{"a":1}`, "-", "-"}, "1 are tombstones whose key names no row"},
		"tombstones without a key":    {[]string{"-", `{"id":1}`, "-", "-"}, ""}, // an event a row, and one for the tombstone
		"deletes and tombstones":      {[]string{`{"id":1}`, `{"after":{"id":1},"op":"c","source":{}}`, `{"id":1}`, `{"after":null,"op":"d","source":{}}`, `{"id":1}`, "-"}, ""},
		"deletes without tombstones":  {[]string{`{"id":1}`, `{"after":{"id":1},"op":"c","source":{}}`, `{"id":1}`, `{"after":null,"op":"d","source":{}}`}, ""},
		"a delete that names no row":  {[]string{"-", `{"after":{"id":1},"op":"c","source":{}}`, "-", `{"before":null,"after":null,"op":"d","source":{}}`}, "1 delete a row, and neither the event nor the record's key names it"},
		"a delete by what was":        {[]string{"-", `{"after":{"id":1},"op":"c","source":{}}`, "-", `{"before":{"id":1},"after":null,"op":"d","source":{}}`}, ""},
		"a truncate":                  {[]string{`{"id":1}`, `{"after":{"id":1},"op":"c","source":{}}`, "-", `{"op":"t","source":{}}`}, "1 say that the source's table was truncated (op: t): `truncate: ignore` would leave them out"},
		"an op that nobody knows":     {[]string{`{"id":1}`, `{"after":{"id":1},"op":"c","source":{}}`, `{"id":1}`, `{"after":null,"op":"c4nary","source":{}}`, `{"id":1}`, "-"}, "1 do not say what has happened in one of the ways that the envelope knows"},
		"other values than an object": {[]string{"1", `{"id":1}`, "2", "[1]"}, "1 are JSON without a row in it"},
	} {
		table := look(t, c.records...)
		if got := strings.Join(table.Unfit, "; "); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if strings.Contains(draft.YAML([]*draft.Table{table}, "x.sql"), "c4nary") {
			t.Errorf("%s: a value is written", name)
		}
	}
}

func TestUnreadable(t *testing.T) {
	_, err := draft.Look("t", records("-", "\x00\x00\x00\x00\x07\x02a", "-", "\x00\x00\x00\x00\x07\x04bb"))
	var unreadable *draft.Unreadable
	if !errors.As(err, &unreadable) || !strings.Contains(err.Error(), "schema registry") || !strings.Contains(err.Error(), "`topics: {t: {format: avro}}`") {
		t.Errorf("got %v", err)
	}
}

// What a connector of Debezium has sent gets the types that its schema says.
func TestTypesOfSchema(t *testing.T) {
	doc, err := os.ReadFile("../connect/testdata/schema.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(doc)) {
		all = append(all, `{"id":1}`, line)
	}
	table := look(t, all...)
	got := map[string]string{}
	for _, c := range table.Columns {
		got[c.Name] = c.Type
	}
	for name, want := range map[string]string{"id": "bigint", "n": "numeric", "nv": "numeric", "ts": "timestamp", "ts3": "timestamp", "tz": "timestamptz", "d": "date",
		"tm": "time", "tmz": "timetz", "j": "jsonb", "u": "uuid", "b": "bytea", "arr": "text[]", "ia": "integer[]", "ua": "uuid[]", "bits": "bit varying", "i2": "smallint",
		"f4": "real", "f8": "double precision", "p": "point", "iv": "interval"} {
		if got[name] != want {
			t.Errorf("%s: got %s, want %s", name, got[name], want)
		}
	}
	if table.Settings != "envelope: debezium" {
		t.Errorf("got settings %q", table.Settings)
	}
}

// Names that PostgreSQL has for itself are quoted, and those of two fields are never one column's.
func TestNames(t *testing.T) {
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select word from pg_get_keywords() union select attname from pg_attribute where attrelid = 'pg_class'::regclass and attnum < 0")
	if err != nil {
		t.Fatal(err)
	}
	words, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(words)
	n := 0
	for some := range slices.Chunk(append(words, "userId", "user_id", "User Id", "USER_ID", "a.b", "a_b", "_oncesink_offset"), 120) {
		var members []string
		for _, w := range some {
			members = append(members, `"`+w+`":1`)
		}
		table := look(t, "-", "{"+strings.Join(members, ",")+"}")
		for _, name := range []string{"order", "select", "t", "authorization"} {
			table.Name = name
			n++
			if _, err := conn.Exec(ctx, draft.SQL([]*draft.Table{table})+"drop table \""+name+"\""); err != nil {
				t.Errorf("%v\n%s", err, draft.SQL([]*draft.Table{table}))
			}
		}
		if len(table.Columns) != len(some) {
			t.Errorf("%d columns for %d fields", len(table.Columns), len(some))
		}
	}
	if n < 16 {
		t.Errorf("%d tables: nothing is shown", n)
	}
}

// Whatever a record is, it is looked at.
func FuzzLook(f *testing.F) {
	f.Add([]byte("1"), []byte(`{"id":1,"a":[{"b":"2026-01-31"}],"c":{"d":1e5}}`))
	f.Add([]byte(`{"payload":{"id":1}}`), []byte(`{"schema":{},"payload":{"after":{"id":1},"op":"c","source":{}}}`))
	f.Add([]byte(nil), []byte(`{"":1,"\u0000":"\u0000"}`))
	f.Fuzz(func(_ *testing.T, key, value []byte) {
		if table, err := draft.Look("t", []sink.Record{{Key: key, Value: value}, {Key: key}}); err == nil {
			draft.YAML([]*draft.Table{table}, "x.sql")
			draft.SQL([]*draft.Table{table})
		}
	})
}
