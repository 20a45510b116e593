package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/sink"
)

// TestRulesOfTables: what is wrong with tables, whatever the database says, is refused by the file and by who opens them
// without one, at the same keys; and what is right by neither.
func TestRulesOfTables(t *testing.T) {
	const orders = `{ name: orders, topic: o, key: [id] }`
	child := func(more string) string {
		return orders + `, { name: items, strategy: children, parent: orders, each: items, parent_key: {order_id: id}, key: [order_id, line], ` + more + ` }`
	}
	var many []string
	for i := range 17 {
		many = append(many, fmt.Sprintf(`{ name: items%d, strategy: children, parent: orders, each: items, key: [id, line] }`, i))
	}
	for _, tt := range []struct {
		name, tables string
		want         string // the keys, or what is written there
	}{
		{"right", orders, ""},
		{"right children", child(""), ""},
		{"right appending", `{ name: log, topic: o, strategy: append, guard: none, tombstones: ignore }`, ""},
		{"right computed", `{ name: t, topic: o, key: [id], columns: { fee: { sql: a * b, inputs: { a: bigint, b: { from: x.y, type: numeric } } } } }`, ""},
		{"right at length", `{ name: t, topics: [a, b.c_D-1], key: [id, n], version: v, guard: engine, tombstones: delete, record_key: { id: $key.a.b, n: $key_json }, accept: ["volatile-default:x"],
			columns: { h: $header.a b, k: "$key.a\\.b", d: { from: $timestamp, zone: UTC, rounding: refuse }, u: { from: x, unit: us, encoding: hex } } }`, ""},
		{"no name", `{ topic: o, key: [id] }`, "name"},
		{"a name of three", `{ name: a.b.c, topic: o, key: [id] }`, "name"},
		{"an open quote", `{ name: '"a', topic: o, key: [id] }`, "name"},
		{"the engine's schema", `{ name: oncesink.offsets, topic: o, key: [id] }`, "name"},
		{"a table twice", orders + `, { name: '"public".orders', topic: p, key: [id] }`, "name"},
		{"no topic", `{ name: t, key: [id] }`, "topic"},
		{"no topics", `{ name: t, topics: [], key: [id] }`, "topics"},
		{"an empty topic", `{ name: t, topics: [""], key: [id] }`, "topics[0]"},
		{"a topic's name", `{ name: t, topic: a b, key: [id] }`, "topic"},
		{"a topic twice", `{ name: t, topics: [a, b, a], key: [id] }`, "topics[2]"},
		{"strategy", `{ name: t, topic: o, key: [id], strategy: merge }`, "strategy"},
		{"guard", `{ name: t, topic: o, key: [id], guard: soft }`, "guard"},
		{"tombstones", `{ name: t, topic: o, key: [id], tombstones: bury }`, "tombstones"},
		{"no key", `{ name: t, topic: o }`, "key"},
		{"an empty key", `{ name: t, topic: o, key: [""] }`, "key[0]"},
		{"a key twice", `{ name: t, topic: o, key: [a, b, a] }`, "key[2]"},
		{"the engine's key", `{ name: t, topic: o, key: [_oncesink_source] }`, "key[0]"},
		{"version in the key", `{ name: t, topic: o, key: [a, b], version: b }`, "version"},
		{"the engine's version", `{ name: t, topic: o, key: [a], version: _oncesink_offset }`, "version"},
		{"deleting without a key", `{ name: t, topic: o, key: [a], tombstones: delete }`, "record_key"},
		{"ignoring with a key", `{ name: t, topic: o, key: [a], tombstones: ignore, record_key: {a: $key} }`, "record_key"},
		{"a record key of another column", `{ name: t, topic: o, key: [a], record_key: {a: $key, b: $key} }`, "record_key.b"},
		{"half a record key", `{ name: t, topic: o, key: [a, b], record_key: {a: $key} }`, "record_key"},
		{"a record key of the value", `{ name: t, topic: o, key: [a], record_key: {a: id} }`, "record_key.a"},
		{"a record key without a path", `{ name: t, topic: o, key: [a], record_key: {a: $key.x..y} }`, "record_key.a"},
		{"append with keys", `{ name: t, topic: o, strategy: append, key: [a], version: v, record_key: {a: $key}, tombstones: delete }`, "key version record_key tombstones"},
		{"upsert with children's keys", `{ name: t, topic: o, key: [a], parent: orders, each: x, parent_key: {a: b} }`, "parent each parent_key"},
		{"children with their parent's keys", child(`topic: o, version: v, record_key: {line: $key}, tombstones: ignore, guard: none`), "topic version record_key tombstones guard"},
		{"children of nobody", `{ name: items, strategy: children, each: items, key: [id, line] }`, "parent"},
		{"children of the next", `{ name: items, strategy: children, parent: orders, each: items, key: [id, line] }, ` + orders, "parent"},
		{"children of an appending table", `{ name: log, topic: o, strategy: append }, { name: items, strategy: children, parent: log, each: items, key: [id, line] }`, "parent"},
		{"children without a guard", `{ name: orders, topic: o, key: [id], guard: none }, { name: items, strategy: children, parent: orders, each: items, key: [id, line] }`, "parent"},
		{"seventeen tables of children", orders + ", " + strings.Join(many, ", "), "parent"},
		{"children without an array", orders + `, { name: items, strategy: children, parent: orders, key: [id, line] }`, "each"},
		{"an array without a path", orders + `, { name: items, strategy: children, parent: orders, each: a..b, key: [id, line] }`, "each"},
		{"children without a key", orders + `, { name: items, strategy: children, parent: orders, each: items }`, "key"},
		{"children without the parent's key", orders + `, { name: items, strategy: children, parent: orders, each: items, key: [line] }`, "key"},
		{"a parent's key that is none", orders + `, { name: items, strategy: children, parent: orders, each: items, key: [id, line], parent_key: {line: number} }`, "parent_key.line"},
		{"the parent's key mapped", child(`columns: {order_id: x}`), "columns.order_id"},
		{"a finding", `{ name: t, topic: o, key: [a], accept: [volatile-defualt] }`, "accept[0]"},
		{"the engine's column", `{ name: t, topic: o, key: [a], columns: {_oncesink_source: x} }`, "columns._oncesink_source"},
		{"a source", `{ name: t, topic: o, key: [a], columns: {b: $now, c: {from: $key., unit: s}} }`, "columns.b columns.c.from"},
		{"a child's source elsewhere", `{ name: t, topic: o, key: [a], columns: {b: $index} }`, "columns.b"},
		{"a child's source", child(`columns: {b: $event.x..y}`), "columns.b"},
		{"a path", `{ name: t, topic: o, key: [a], columns: {b: x., c: "x\\"} }`, "columns.b columns.c"},
		{"forms", `{ name: t, topic: o, key: [a], columns: {b: {encoding: base32}, c: {zone: Local}, d: {unit: hours}, e: {rounding: up}} }`,
			"columns.b.encoding columns.c.zone columns.d.unit columns.e.rounding"},
		{"a unit of a time", `{ name: t, topic: o, key: [a], columns: {b: {from: $timestamp, unit: ms}} }`, "columns.b.unit"},
		{"a scale beyond all", `{ name: t, topic: o, key: [a], columns: {b: {scale: 1001}, c: {sql: x, inputs: {x: {type: numeric, scale: -1001}}}} }`, "columns.b.scale columns.c.inputs.x.scale"},
		{"a scale of what no payload has", `{ name: t, topic: o, key: [a], columns: {b: {from: $header.x, scale: 2}, c: {from: $key, scale: 2}, d: {from: $key.x, scale: 2}} }`, "columns.b.scale columns.c.scale"},
		{"inputs of one scale", `{ name: t, topic: o, key: [a], columns: {b: {sql: x, inputs: {x: {type: numeric, scale: 2}}}, c: {sql: x, inputs: {x: {type: numeric, scale: 2}}}} }`, ""},
		{"defaults", `{ name: t, topic: o, key: [a], columns: {b: {default: ""}, c: {default: 0, default_for: null}, d: {default: true, default_for: absent}} }`, ""},
		{"defaults of nothing", `{ name: t, topic: o, key: [a], columns: {b: {default_for: absent}, c: {default: x, default_for: missing}} }`, "columns.b.default_for columns.c.default_for"},
		{"a default of the key, and of the version", `{ name: t, topic: o, key: [a], version: v, columns: {a: {default: x}, v: {default: "0"}} }`, "columns.a.default columns.v.default"},
		{"a default of what is computed", `{ name: t, topic: o, key: [a], columns: {b: {sql: c + 1, default: "0"}} }`, "columns.b.sql"},
		{"a default of what tells of deletions", `{ name: t, topic: o, key: [a], delete_when: {x: y}, soft_delete: {d: $timestamp}, columns: {d: {default: "0"}} }`, "columns.d.default"},
		{"two sources", `{ name: t, topic: o, key: [a], columns: {b: {sql: c + 1, from: x}} }`, "columns.b.sql"},
		{"a computed key", `{ name: t, topic: o, key: [a], columns: {a: {sql: c + 1}} }`, "columns.a.sql"},
		{"a computed version", `{ name: t, topic: o, key: [a], version: v, columns: {v: {sql: c + 1}} }`, "columns.v.sql"},
		{"inputs of nothing", `{ name: t, topic: o, key: [a], columns: {b: {from: x, inputs: {y: int}}} }`, "columns.b.inputs"},
		{"inputs", `{ name: t, topic: o, key: [a], columns: {b: {sql: x, inputs: {_oncesink_x: int, x: {from: y}, y: {type: int, from: $x}, z: {type: date, unit: hours}}}} }`,
			"columns.b.inputs._oncesink_x columns.b.inputs.x.type columns.b.inputs.y.from columns.b.inputs.z.unit"},
		{"inputs of two meanings", `{ name: t, topic: o, key: [a], columns: {b: {sql: x, inputs: {x: int}}, c: {sql: x, inputs: {x: bigint}}} }`, "columns.c.inputs.x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc := []byte("kafka: { brokers: [b], group: g }\npostgres: { url: postgres://nobody@127.0.0.1:1/nowhere }\ntables: [" + tt.tables + "]\n")
			_, err := Parse("test.yaml", doc, environment)
			var broken *Error
			var got []string
			if errors.As(err, &broken) {
				for _, p := range broken.Problems {
					_, key, _ := strings.Cut(p.Path, ".")
					got = append(got, key)
				}
			}
			want := strings.Fields(tt.want)
			if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
				t.Errorf("the file: got %q, want %q: %v", got, want, err)
			}
			opened := opens(t, unchecked(t, doc))
			if len(opened) != len(want) {
				t.Errorf("without a file: got %q, want %d", opened, len(want))
			}
		})
	}
}

// With an envelope whose topics have the row's key in their records' a table needs no record key, whether or not it says that tombstones delete.
func TestRecordKeyOfAnEnvelope(t *testing.T) {
	for table, want := range map[string]string{
		`{ name: t, topic: d, key: [id], tombstones: delete }`:                                      "",
		`{ name: t, topic: d, key: [id], strategy: upsert, tombstones: delete }`:                    "",
		`{ name: t, topics: [d, f], key: [a, b], tombstones: delete, columns: {b: {from: x.y}} }`:   "",
		`{ name: t, topic: d, key: [id], tombstones: delete, columns: {id: {from: $header.x}} }`:    "record_key",
		`{ name: t, topics: [d, plain], key: [id], tombstones: delete }`:                            "record_key",
		`{ name: t, topics: [d, plain], key: [id], tombstones: delete, record_key: {id: $key.id} }`: "",
	} {
		_, err := Parse("test.yaml", []byte("kafka: { brokers: [b], group: g }\npostgres: { url: postgres://nobody@127.0.0.1:1/nowhere }\n"+
			"topics: { d: { envelope: debezium }, f: { envelope: flattened } }\n"+
			"tables: ["+table+", { name: more, topics: [d, f], key: [id] }]\n"), environment)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", table, err, want)
		}
	}
}

// unchecked reads a document without looking for what is wrong with it.
func unchecked(t *testing.T, doc []byte) sink.Config {
	t.Helper()
	d := newDecoder(nil, environment)
	cfg := &Config{}
	d.value("", d.parse(doc), reflect.ValueOf(cfg).Elem())
	if len(d.problems) > 0 {
		t.Fatal(d.problems)
	}
	return cfg.ToSink()
}

// opens are the problems that the configuration has before the database is asked, which is not there.
func opens(t *testing.T, cfg sink.Config) (problems []*sink.ConfigError) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	_, err = engine.Open(t.Context(), pool, nil, cfg)
	if err == nil {
		t.Fatal("opened a database that is not there")
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || strings.Contains(err.Error(), "connect") {
		return nil
	}
	for _, err := range joined.Unwrap() {
		var problem *sink.ConfigError
		if !errors.As(err, &problem) {
			t.Errorf("got %v (%T), want a *ConfigError", err, err)
		}
		problems = append(problems, problem)
	}
	return problems
}
