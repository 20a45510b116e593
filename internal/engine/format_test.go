package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	payload "github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/testformat"
	"github.com/oncesink/oncesink/sink"
)

// schemas of the values and keys of topic o, by id.
var testSchemas = map[string]string{
	"1": "id:int note:text amount:cents at:millis day:day raw:bytes p:point",
	"2": "id:int note:text version:int items:list",
	"3": "id:int",
	"4": "id:int note:text",
	"5": "id:int note:text at:millis",
}

// openTagged opens a sink whose topics are of the format that tests have.
func (db *database) openTagged(tables ...sink.TableConfig) *engine {
	return db.openWith(sink.Config{Tables: tables}, Options{Formats: testformat.Formats})
}

// tagged is a record of the format that tests have.
func tagged(offset int64, key, value []byte) sink.Record {
	r := incoming("o", offset, "", "")
	r.Key, r.Value = key, value
	return r
}

// learn learns what a part lacks.
func (e *engine) learn(err error) {
	e.t.Helper()
	var missing *decode.MissingSchema
	if !errors.As(err, &missing) {
		e.t.Fatalf("got %v, want that a schema is missing", err)
	}
	if err := e.Learn(missing.SchemaOf, payload.Schema{Text: testSchemas[missing.Ref.ID]}); err != nil {
		e.t.Fatal(err)
	}
}

// addAll adds records as a consumer does, and returns after how many of them a schema was missing.
func (e *engine) addAll(p *decode.Part, records ...sink.Record) (stops []int) {
	e.t.Helper()
	for at := 0; ; {
		n, err := e.Add(p, records[at:]...)
		at += n
		if err == nil {
			if at != len(records) {
				e.t.Fatalf("%d records of %d were taken", at, len(records))
			}
			return stops
		}
		if len(stops) > 10 {
			e.t.Fatalf("it is asked for schemas without end: %v", err)
		}
		stops = append(stops, at)
		e.learn(err)
	}
}

// What a format knows the type of ends up in the table as that.
func TestTypedValues(t *testing.T) {
	db := newDatabase(t, "create table o (id bigint primary key, note text, amount numeric(9,2), at timestamptz, day date, raw bytea, p jsonb, y int, headline text)")
	e := db.openTagged(sink.TableConfig{Name: "o", Topics: []string{"o"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key.id"},
		Columns: map[string]sink.ColumnConfig{"y": {From: "p.y"}, "raw": {Encoding: "hex"}, "headline": {From: "$header.h"}}})
	text, cents, millis, point := testformat.Value("a\"é\n"), testformat.Value("\xfb\x2e"), testformat.Value("\x00\x00\x01\x9b\x7c\xa9\x8f\x46"), testformat.Value("\x01\x02")
	value := testformat.Record(1, testformat.Int(-5), text, cents, millis, testformat.Int(20455), testformat.Value("\x00\xff"), point)
	inHeader := tagged(1, nil, value[4:])
	inHeader.Value = slices.Concat([]byte(testformat.Int(6)), inHeader.Value[len(testformat.Int(0)):])
	inHeader.Headers = []sink.Header{{Key: "schema", Value: value[:4]}, {Key: "h", Value: []byte("x")}}
	p := &decode.Part{Claim: e.claim("o", 0)}
	stops := e.addAll(p, tagged(0, nil, value), inHeader,
		tagged(2, nil, testformat.Record(1, testformat.Int(7), testformat.Null, testformat.Null, testformat.Null, testformat.Null, testformat.Null, testformat.Null)),
		tagged(3, nil, value[:9]), tagged(4, nil, testformat.Record(1, testformat.Int(8), testformat.Value("\xff"))))
	if fmt.Sprint(stops) != "[0]" {
		t.Errorf("a schema was missing after %v records, want once, before the first", stops)
	}
	e.write(p)
	db.Want("-5|a\"é\n|-12.34|2026-01-02 03:04:05.702+00|2026-01-02|\\x00ff|{\"x\": 1, \"y\": 2}|2|-\n6|a\"é\n|-12.34|2026-01-02 03:04:05.702+00|2026-01-02|\\x00ff|{\"x\": 1, \"y\": 2}|2|x\n7|-|-|-|-|-|-|-|-",
		"select id, note, amount, at, day, raw, p, y, headline from o order by id")
	db.Want("3|ONS21\n4|ONS21", `select "offset", code from oncesink.dead_letters order by 1`)

	p = &decode.Part{Claim: e.claim("o", 0)}
	if stops = e.addAll(p, tagged(5, testformat.Record(3, testformat.Int(6)), nil)); fmt.Sprint(stops) != "[0]" {
		t.Errorf("a key's schema was missing after %v records, want once", stops)
	}
	e.write(p)
	db.Want("-5\n7", "select id from o order by id")
}

// Add stops at a record whose schema is missing and goes on there: the part is the one that it would have been.
func TestAddStopsAtAnUnknownSchema(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key, note text, version int)", "create table items (order_id bigint, sku text, primary key (order_id, sku))")
	tables := []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key.id"}},
		{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"}, ParentKey: map[string]string{"order_id": "id"}},
	}
	e := db.openTagged(tables...)
	var records []sink.Record
	for i := range int64(40) {
		id := testformat.Int(i)
		switch {
		case i%10 == 9:
			records = append(records, tagged(i, testformat.Record(3, id), nil))
		case i%10 == 4:
			records = append(records, tagged(i, nil, []byte("cut")))
		case i < 20:
			records = append(records, tagged(i, nil, testformat.Record(2, id, testformat.Value("n"), id, testformat.Value(`[{"sku":"a"},{"sku":"b"}]`))))
		default:
			records = append(records, tagged(i, nil, testformat.Record(1, id)))
		}
	}
	stepwise := &decode.Part{}
	if stops := e.addAll(stepwise, records...); fmt.Sprint(stops) != "[0 9 20]" {
		t.Errorf("a schema was missing after %v records, want 0, 9 and 20", stops)
	}
	whole := &decode.Part{Claim: e.claim("o", 0)}
	if stops := e.addAll(whole, records...); stops != nil {
		t.Errorf("schemas are missing that were learnt: %v", stops)
	}
	if got, want := e.texts(stepwise), e.texts(whole); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if stepwise.To != whole.To || stepwise.Bytes() != whole.Bytes() || stepwise.Len() != whole.Len() {
		t.Errorf("%d records in %d bytes up to %+v, want %d in %d up to %+v", stepwise.Len(), stepwise.Bytes(), stepwise.To, whole.Len(), whole.Bytes(), whole.To)
	}
	if n, err := e.Add(whole, records...); n != len(records) || err != nil || whole.Len() != len(records) {
		t.Errorf("records that are in the part already: %d taken, %v", n, err)
	}
	unusable := decode.SchemaOf{Topic: "o", Ref: testformat.Ref(9)}
	var schemaError *decode.SchemaError
	if err := e.Learn(unusable, payload.Schema{Text: "id"}); !errors.As(err, &schemaError) || schemaError.SchemaOf != unusable {
		t.Errorf("a schema that can't be used: got %v", err)
	}
	if n, err := e.Add(&decode.Part{}, tagged(50, nil, testformat.Record(9))); n != 0 || !errors.As(err, new(*decode.MissingSchema)) {
		t.Errorf("after a schema that can't be used: %d taken, %v", n, err)
	}
}

// A value that the source withheld leaves its column as it is, and is no value of what a row can't be without.
func TestWithheldValues(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key, note text, loud text, version int)", "create table log (note text)",
		"create table items (order_id bigint, sku text, note text, primary key (order_id, sku))")
	orders := sink.TableConfig{Name: "orders", Topics: []string{"o"}, Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key.id"},
		Columns: map[string]sink.ColumnConfig{"loud": {SQL: "upper(note)"}}}
	items := sink.TableConfig{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"}, ParentKey: map[string]string{"order_id": "id"},
		Columns: map[string]sink.ColumnConfig{"note": {From: "$event.note"}}}
	e := db.openTagged(orders, items, sink.TableConfig{Name: "log", Topics: []string{"l"}, Strategy: sink.Append})
	const w = testformat.Withheld
	one, list, a := testformat.Int(1), testformat.Value(`[{"sku":"a"}]`), testformat.Value("a")
	p := &decode.Part{Claim: e.claim("o", 0)}
	e.addAll(p, tagged(0, nil, testformat.Record(2, one, a, one, list)),
		tagged(1, nil, testformat.Record(2, one, w, testformat.Int(2), w)), // wins, and leaves note and items
		tagged(2, nil, testformat.Record(2, w, a, one, list)),
		tagged(3, nil, testformat.Record(2, one, a, w, list)),
		tagged(4, nil, testformat.Record(2, one, w, testformat.Int(3), list)), // its items would lack the note
		tagged(5, testformat.Record(3, w), nil))
	l := &decode.Part{Claim: e.claim("l", 0)}
	appended := tagged(0, nil, testformat.Record(4, one, w))
	appended.Topic = "l"
	e.addAll(l, appended)
	e.write(p, l)
	db.Want("1|a|A|2", "select id, note, loud, version from orders")
	db.Want("1|a|a", "select order_id, sku, note from items")
	db.Want("0", "select count(*) from log")
	db.Want("l|0|ONS30|note\no|2|ONS30|id\no|3|ONS30|version\no|4|ONS30|note\no|5|ONS30|id", `select topic, "offset", code, column_name from oncesink.dead_letters order by 1, 2`)
}

// Where there is no row yet, or none any more, an event of which the source withheld a value is a dead letter: nobody knows what
// the column was to be, and neither null nor its default is it.
func TestRule16Withheld(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key, note text default 'none yet', version int)",
		"create table strict (id bigint primary key, note text not null, version int)")
	var tables []sink.TableConfig
	for _, name := range []string{"orders", "strict"} {
		tables = append(tables, sink.TableConfig{Name: name, Topics: []string{name[:1]}, Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key.id"}})
	}
	e := db.openTagged(tables...)
	const w = testformat.Withheld
	write := func(topic string, offset int64, key, value []byte) {
		t.Helper()
		p := &decode.Part{Claim: e.claim(topic, 0)}
		r := tagged(offset, key, value)
		r.Topic = topic
		e.addAll(p, r)
		e.write(p)
	}
	event := func(version int64, note string) []byte {
		return testformat.Record(2, testformat.Int(1), note, testformat.Int(version), testformat.Null)
	}
	key := testformat.Record(3, testformat.Int(1))
	const row = "select id, note, version from orders"
	for i, step := range []struct {
		key, value []byte
		want       string
	}{
		{nil, event(1, w), ""},
		{nil, event(2, testformat.Value("a")), "1|a|2"},
		{nil, event(3, w), "1|a|3"},
		{nil, event(4, testformat.Null), "1|-|4"},
		{nil, event(5, w), "1|-|5"},
		{key, nil, ""},
		{nil, event(6, w), ""},
	} {
		write("o", int64(i), step.key, step.value)
		db.Want(step.want, row)
	}
	write("s", 0, nil, event(1, w))
	write("s", 1, nil, event(2, testformat.Value("a")))
	write("s", 2, nil, event(3, w))
	db.Want("1|a|3", "select id, note, version from strict")
	db.Want("o|0|ONS30|note\no|6|ONS30|note\ns|0|ONS30|note", `select topic, "offset", code, column_name from oncesink.dead_letters order by 1, 2`)
}

// A mapping that is compiled when a table was altered knows the schemas that were learnt before, and the one before it those
// that were learnt since.
func TestSchemasOutliveAMapping(t *testing.T) {
	db := newDatabase(t, "create table o (id bigint primary key)")
	e := db.openTagged(sink.TableConfig{Name: "o", Topics: []string{"o"}, Key: []string{"id"}})
	was := e.plan()
	early, late := &decode.Part{Claim: e.claim("o", 0)}, &decode.Part{}
	e.addAll(early, tagged(0, nil, testformat.Record(4, testformat.Int(1), testformat.Value("a"))))
	db.Do("alter table o add column note text")
	now, err := e.recompile(t.Context(), was)
	if err != nil {
		t.Fatal(err)
	}
	e.addAll(late, tagged(1, nil, testformat.Record(5, testformat.Int(2), testformat.Value("b"), testformat.Null)))
	if late.DecodedBy != now.decode || early.DecodedBy != was.decode {
		t.Fatal("the parts were not decoded by the two mappings")
	}
	if err := early.Append(late); err != nil {
		t.Fatal(err)
	}
	e.write(early)
	db.Want("1|a\n2|b", "select id, note from o order by id")
}

// A record may need a schema only since its table was altered: Write leaves it to its caller, and then to be added again. Or
// none can be used by what the table is now, which halts.
func TestSchemaMissingSinceAnAlter(t *testing.T) {
	db := newDatabase(t, "create table o (id bigint primary key)")
	e := db.openWith(sink.Config{Tables: []sink.TableConfig{{Name: "o", Topics: []string{"o"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"id": {From: "$offset"}}}}},
		Options{Formats: func(string) (payload.Format, payload.Format) { return fussy{}, fussy{} }})
	value := func(offset int64) sink.Record {
		return tagged(offset, nil, testformat.Record(4, testformat.Int(9), testformat.Value("a")))
	}
	p, more := &decode.Part{Claim: e.claim("o", 0)}, &decode.Part{}
	if stops := e.addAll(p, value(0), value(1)); stops != nil {
		t.Fatal("values that no column takes need a schema")
	}
	db.Do("alter table o add column note text")
	out := e.Write(t.Context(), []*decode.Part{p})
	if p.Len() != 2 {
		t.Errorf("the part has %d records, want 2", p.Len())
	}
	e.addAll(more, value(2)) // decoded by the new mapping, for which it learns the schema
	if err := p.Append(more); err != nil || p.Len() != 3 {
		t.Errorf("join a part that was not decoded for want of a schema: %d records, %v", p.Len(), err)
	}
	var missing *decode.MissingSchema
	if !errors.As(out[0].Err, &missing) || missing.Ref != testformat.Ref(4) {
		t.Fatalf("got %v, want that schema 4 is missing", out[0].Err)
	}
	db.Want("0", "select count(*) from o")
	e.write(p)
	db.Want("0|a\n1|a\n2|a", "select id, note from o order by id")

	p = &decode.Part{Claim: e.claim("o", 0)}
	e.addAll(p, value(3))
	db.Do("alter table o add column bad text")
	var halt *sink.HaltError
	if out = e.Write(t.Context(), []*decode.Part{p}); !errors.As(out[0].Err, &halt) {
		t.Errorf("got %v, want a halt", out[0].Err)
	}
}

// fussy is a format that can use no schema if a column is named bad.
type fussy struct{ testformat.Format }

func (f fussy) Plan(paths []string) (payload.Plan, error) {
	plan, err := f.Format.Plan(paths)
	return fussyPlan{plan, slices.Contains(paths, "bad")}, err
}

type fussyPlan struct {
	payload.Plan
	bad bool
}

func (p fussyPlan) Learn(ref payload.SchemaRef, schema payload.Schema) error {
	if p.bad {
		return errors.New("the field bad is of a type that is not supported")
	}
	return p.Plan.Learn(ref, schema)
}
