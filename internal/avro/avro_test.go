package avro

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
)

const orderSchema = `{"type":"record","name":"Order","namespace":"com.acme","fields":[
	{"name":"id","type":"long"},
	{"name":"customer","type":{"type":"record","name":"Customer","fields":[
		{"name":"name","type":"string"},
		{"name":"email","type":["null","string"],"default":null}]}},
	{"name":"shipping","type":["null","Customer"]},
	{"name":"billing","type":["Customer","null"]},
	{"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","SENT"]}},
	{"name":"tags","type":{"type":"array","items":"string"}},
	{"name":"counts","type":{"type":"map","values":"int"}},
	{"name":"any","type":["null","long","string",{"type":"array","items":"Customer"}]}]}`

func orderOf(last any) map[string]any {
	ann, bob := map[string]any{"name": "Ann", "email": nil}, map[string]any{"name": "Bob \"B\"", "email": "b@x"}
	return map[string]any{"id": int64(42), "customer": ann, "shipping": nil, "billing": bob, "status": "SENT",
		"tags": []any{"a", "é"}, "counts": map[string]any{"x": int32(-1)}, "any": last}
}

// TestPaths: what stands at paths into records, unions, and containers.
func TestPaths(t *testing.T) {
	doc := encode(t, orderSchema, orderOf(int64(5)))
	for _, tt := range []struct{ path, want string }{
		{"id", "int 42"},
		{"status", "text SENT"},
		{"customer.name", "text Ann"},
		{"customer.email", "null"},
		{"customer", `object {"name":"Ann","email":null}`},
		{"shipping", "null"},
		{"shipping.name", "absent"},
		{"billing", `object {"name":"Bob \"B\"","email":"b@x"}`},
		{"billing.email", "text b@x"},
		{"tags", `array ["a","é"]`},
		{"counts", `object {"x":-1}`},
		{"counts.x", "absent"}, // a map's keys are no fields
		{"any", "int 5"},
		{"nowhere", "absent"},
		{"id.x", "absent"},
		{"customer.name.x", "absent"},
		{event.SchemaName, "text com.acme.Order"},
		{"", `object {"id":42,"customer":{"name":"Ann","email":null},"shipping":null,"billing":{"name":"Bob \"B\"","email":"b@x"},"status":"SENT","tags":["a","é"],"counts":{"x":-1},"any":5}`},
	} {
		if got := read(t, planOf(t, New(Options{}), orderSchema, tt.path), framed(doc), 1); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.path, got, tt.want)
		}
	}
	// Many at once, repeated, and through each other.
	p := planOf(t, New(Options{}), orderSchema, "billing.email", "billing", "id", "billing", "id", "tags", "billing.name", "shipping.email", event.SchemaName)
	want := `text b@x; object {"name":"Bob \"B\"","email":"b@x"}; int 42; object {"name":"Bob \"B\"","email":"b@x"}; int 42; array ["a","é"]; text Bob "B"; absent; text com.acme.Order`
	if got := read(t, p, framed(doc), 9); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p = planOf(t, New(Options{}), orderSchema, "any")
	for _, tt := range []struct {
		v    any
		want string
	}{
		{nil, "null"}, {"x", "text x"}, {[]any{map[string]any{"name": "C", "email": nil}}, `array [{"name":"C","email":null}]`}, {[]any{}, "array []"},
	} {
		if got := read(t, p, framed(encode(t, orderSchema, orderOf(tt.v))), 1); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.v, got, tt.want)
		}
	}
	if _, err := New(Options{}).Plan([]string{"a..b"}); err == nil {
		t.Error("an empty name is no error")
	}
}

// TestTypes: a value of each type, alone and as an element of an array.
func TestTypes(t *testing.T) {
	const connectName = "org.apache.kafka.connect.data."
	for _, tt := range []struct{ schema, hex, want, json string }{
		{`"null"`, "", "null", "null"},
		{`"boolean"`, "01", "bool true", "true"},
		{`"boolean"`, "00", "bool false", "false"},
		{`"int"`, "ffffffff0f", "int -2147483648", "-2147483648"},
		{`"long"`, "ffffffffffffffffff01", "int -9223372036854775808", "-9223372036854775808"},
		{`"long"`, "feffffffffffffffff01", "int 9223372036854775807", "9223372036854775807"},
		{`"float"`, "cdcccc3d", "float 0.1", "0.1"},
		{`"double"`, "9a9999999999b93f", "float 0.1", "0.1"},
		{`"double"`, "000000000000f87f", "float NaN", `"NaN"`},
		{`"double"`, "000000000000f0ff", "float -Infinity", `"-Infinity"`},
		{`"string"`, "06616222", `text ab"`, `"ab\""`},
		{`"string"`, "00", "text ", `""`},
		{`"bytes"`, "0400ff", "bytes 00ff", `"AP8="`},
		{`{"type":"fixed","name":"F","size":2}`, "00ff", "bytes 00ff", `"AP8="`},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, "02", "text B", `"B"`},
		{`{"type":"array","items":"int"}`, "04 02 04 02 06 00", "array [1,2,3]", "[1,2,3]"},
		{`{"type":"array","items":"int"}`, "03 04 02 04 00", "array [1,2]", "[1,2]"},
		{`{"type":"map","values":["null","int"]}`, "04 0278 0202 0279 00 00", `object {"x":1,"y":null}`, `{"x":1,"y":null}`},
		{`{"type":"record","name":"R","fields":[]}`, "", "object {}", "{}"},

		{`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, "04 ff85", "decimal -1.23", "-1.23"},
		{`{"type":"fixed","name":"F","size":3,"logicalType":"decimal","precision":5,"scale":0}`, "00007b", "decimal 123", "123"},
		{`{"type":"int","logicalType":"date"}`, "cebf02", "date 2026-01-02", `"2026-01-02"`},
		{`{"type":"int","logicalType":"time-millis"}`, "02", "time 00:00:00.001", `"00:00:00.001"`},
		{`{"type":"long","logicalType":"time-micros"}`, "02", "time 00:00:00.000001", `"00:00:00.000001"`},
		{`{"type":"long","logicalType":"timestamp-millis"}`, "01", "timestamptz 1969-12-31T23:59:59.999Z", `"1969-12-31T23:59:59.999Z"`},
		{`{"type":"long","logicalType":"timestamp-micros"}`, "02", "timestamptz 1970-01-01T00:00:00.000001Z", `"1970-01-01T00:00:00.000001Z"`},
		{`{"type":"long","logicalType":"timestamp-nanos"}`, "02", "timestamptz 1970-01-01T00:00:00.000000001Z", `"1970-01-01T00:00:00.000000001Z"`},
		{`{"type":"long","logicalType":"local-timestamp-millis"}`, "02", "timestamp 1970-01-01T00:00:00.001", `"1970-01-01T00:00:00.001"`},
		{`{"type":"long","logicalType":"local-timestamp-micros"}`, "02", "timestamp 1970-01-01T00:00:00.000001", `"1970-01-01T00:00:00.000001"`},
		{`{"type":"long","logicalType":"local-timestamp-nanos"}`, "02", "timestamp 1970-01-01T00:00:00.000000001", `"1970-01-01T00:00:00.000000001"`},
		{`{"type":"string","logicalType":"uuid"}`, "02 61", "text a", `"a"`},
		{`{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}`, "000102030405060708090a0b0c0d0eff", "text 00010203-0405-0607-0809-0a0b0c0d0eff", `"00010203-0405-0607-0809-0a0b0c0d0eff"`},
		{`{"type":"fixed","name":"D","size":12,"logicalType":"duration"}`, "0e000000 03000000 d2040000", "text P14M3DT1.234S", `"P14M3DT1.234S"`},
		{`{"type":"fixed","name":"D","size":12,"logicalType":"duration"}`, "00000000 00000000 60ea0000", "text P0M0DT60S", `"P0M0DT60S"`},
		{`{"type":"long","logicalType":"date"}`, "02", "int 1", "1"},   // a type that it is not for
		{`{"type":"int","logicalType":"nothing"}`, "02", "int 1", "1"}, // an unknown one
		{`{"type":"string","logicalType":"decimal"}`, "02 31", "text 1", `"1"`},

		{`{"type":"int","connect.name":"io.debezium.time.Date"}`, "cebf02", "date 2026-01-02", `"2026-01-02"`},
		{`{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}`, "02", "timestamp 1970-01-01T00:00:00.000001", `"1970-01-01T00:00:00.000001"`},
		{`{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}`, "80d6e5e3ffffffffff01", "infinity infinity", `"infinity"`},
		{`{"type":"long","logicalType":"timestamp-millis","connect.version":1,"connect.name":"` + connectName + `Timestamp"}`, "02", "timestamptz 1970-01-01T00:00:00.001Z", `"1970-01-01T00:00:00.001Z"`},
		{`{"type":"bytes","scale":2,"precision":64,"connect.version":1,"connect.parameters":{"scale":"2"},"connect.name":"` + connectName + `Decimal","logicalType":"decimal"}`, "04 ff85", "decimal -1.23", "-1.23"},
		{`{"type":"bytes","connect.parameters":{"scale":"2"},"connect.name":"` + connectName + `Decimal"}`, "04 ff85", "decimal -1.23", "-1.23"},
		{`{"type":"record","name":"VariableScaleDecimal","namespace":"io.debezium.data","connect.name":"io.debezium.data.VariableScaleDecimal","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}`, "04 04 ff85", "decimal -1.23", "-1.23"},
		{`{"type":"string","connect.name":"io.debezium.data.Unknown"}`, "02 61", "text a", `"a"`},
		{`{"type":"string","connect.name":"io.debezium.data.Uuid"}`, "02 61", "text a", `"a"`},
	} {
		if got := read(t, planOf(t, New(Options{}), tt.schema, ""), framed(unhex(t, tt.hex)), 1); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.schema, got, tt.want)
		}
		record := `{"type":"record","name":"Rec","fields":[{"name":"before","type":` + tt.schema + `},{"name":"after","type":"int"}]}`
		if got := read(t, planOf(t, New(Options{}), record, "after", "", "before"), framed(unhex(t, tt.hex+"0e")), 3); got != `int 7; object {"before":`+tt.json+`,"after":7}; `+tt.want {
			t.Errorf("%s in a record: got %s", tt.schema, got)
		}
		if got := read(t, planOf(t, New(Options{}), record, "after"), framed(unhex(t, tt.hex+"0e")), 1); got != "int 7" {
			t.Errorf("%s skipped: got %s", tt.schema, got)
		}
	}
}

// TestRefusals: what can't be read is refused, wherever it is and whether it is wanted or not; nothing panics or goes on for long.
func TestRefusals(t *testing.T) {
	wide := `{"type":"record","name":"A0","fields":[{"name":"x","type":"null"},{"name":"y","type":"null"}]}`
	for i := range 40 {
		wide = fmt.Sprintf(`{"type":"record","name":"A%d","fields":[{"name":"x","type":%s},{"name":"y","type":"A%d"}]}`, i+1, wide, i)
	}
	const list = `{"type":"record","name":"L","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","L"]}]}`
	for _, tt := range []struct{ schema, hex, want string }{
		{`"int"`, "", "ONS22 read Avro (schema id 7): the record ends too early"},
		{`"int"`, "80", "ONS22 read Avro (schema id 7): the record ends too early"},
		{`"int"`, "8080808010", "ONS22 read Avro (schema id 7): an int of more than 32 bits"},
		{`"long"`, "ffffffffffffffffff02", "ONS22 read Avro (schema id 7): a number of more than 64 bits"},
		{`"long"`, "ffffffffffffffffffff01", "ONS22 read Avro (schema id 7): a number of more than 64 bits"},
		{`"boolean"`, "02", "ONS22 read Avro (schema id 7): a boolean that is neither 0 nor 1"},
		{`"float"`, "000000", "ONS22 read Avro (schema id 7): the record ends too early"},
		{`"double"`, "00000000000000", "ONS22 read Avro (schema id 7): the record ends too early"},
		{`"string"`, "0661", "ONS22 read Avro (schema id 7): a length of 3 bytes, where 1 are left"},
		{`"bytes"`, "01", "ONS22 read Avro (schema id 7): a length below zero"},
		{`"string"`, "feffffffffffffffff01", "ONS22 read Avro (schema id 7): a length of 9223372036854775807 bytes, where 0 are left"},
		{`{"type":"fixed","name":"F","size":3}`, "0000", "ONS22 read Avro (schema id 7): the record ends too early"},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, "04", "ONS22 read Avro (schema id 7): a union or an enum has no 2: they count from 0 to 1"},
		{`["null","int"]`, "03", "ONS22 read Avro (schema id 7): a union or an enum has no -2"},
		{`["null","int"]`, "04", "ONS22 read Avro (schema id 7): a union or an enum has no 2"},
		{orderSchema, "02 0261 02", "ONS22 read Avro, field customer.email (schema id 7): the record ends too early"},
		{`{"type":"array","items":"int"}`, "0202", "ONS22 read Avro (schema id 7): the record ends too early"},
		{`{"type":"array","items":"int"}`, "feffffffffffffffff01", "ONS22 read Avro (schema id 7): the record ends too early"},
		{`{"type":"array","items":"int"}`, "ffffffffffffffffff01", "ONS22 read Avro (schema id 7): a block of an array or a map with too many elements"},
		{`{"type":"array","items":"int"}`, "03 02 02 04 00", "ONS22 read Avro (schema id 7): a block of an array or a map has another length than it says"},
		{`{"type":"array","items":"int"}`, "03 06 02 04 00", "ONS22 read Avro (schema id 7): a block of an array or a map has another length than it says"},
		{`{"type":"array","items":"int"}`, "03 0c 02 04 00", "ONS22 read Avro (schema id 7): a block of an array or a map has another length than it says"},
		{`{"type":"map","values":"int"}`, "02 08 61", "ONS22 read Avro (schema id 7): a length of 4 bytes, where 1 are left"},
		{`{"type":"array","items":"null"}`, "feffffffffffffffff01", "54000 read Avro (schema id 7): too many values that take no byte"},
		{`{"type":"array","items":{"type":"array","items":"null"}}`, "02feffffffffffffffff01", "54000 read Avro (schema id 7): too many values that take no byte"},
		{`{"type":"array","items":{"type":"record","name":"R","fields":[]}}`, "feffffffffffffffff01", "54000 read Avro (schema id 7): too many values that take no byte"},
		{wide, "", "54000 read Avro, field "},
		{list, strings.Repeat("0202", maxDepth+1) + "0200", "54001 read Avro, field "},
		{`{"type":"array","items":` + list + `}`, "02" + strings.Repeat("0202", maxDepth+1) + "020000", "54001 read Avro, field "},
	} {
		record := `{"type":"record","name":"Rec","fields":[{"name":"before","type":` + tt.schema + `},{"name":"after","type":["null","int"]}]}`
		doc := unhex(t, tt.hex)
		if got := read(t, planOf(t, New(Options{}), tt.schema, ""), framed(doc), 1); !strings.HasPrefix(got, "!"+tt.want) {
			t.Errorf("%.60s: got %.200s, want %s", tt.schema, got, tt.want)
		}
		for _, paths := range [][]string{{}, {"after"}, {"before"}, {""}} {
			if got := read(t, planOf(t, New(Options{}), record, paths...), framed(doc), len(paths)); !strings.HasPrefix(got, "!"+tt.want[:5]) {
				t.Errorf("%.60s at %q: got %.200s, want %s", tt.schema, paths, got, tt.want[:5])
			}
		}
	}
	if got, want := read(t, planOf(t, New(Options{}), `"int"`), framed([]byte{2, 0, 0}), 0), "!ONS22 read Avro (schema id 7): 2 bytes are left over"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// What is wrong in what is wanted only.
	for _, tt := range []struct{ schema, hex, want string }{
		{`{"type":"array","items":"string"}`, "02 02 ff 00", "22021 read Avro (schema id 7): invalid UTF-8"},
		{`{"type":"map","values":"string"}`, "02 02 ff 00 00", "22021 read Avro (schema id 7): invalid UTF-8 in the key of a map"},
		{`{"type":"record","name":"R","fields":[{"name":"d","type":{"type":"long","logicalType":"timestamp-millis"}}]}`, "feffffffffffffffff01", "22008 read Avro, field d (schema id 7): a date beyond"},
		{`{"type":"record","name":"R","fields":[{"name":"d","type":{"type":"string","connect.name":"io.debezium.data.Json"}}]}`, "02 7b", "22P02 read Avro, field d (schema id 7): "},
	} {
		if got := read(t, planOf(t, New(Options{}), tt.schema, ""), framed(unhex(t, tt.hex)), 1); !strings.HasPrefix(got, "!"+tt.want) {
			t.Errorf("%s: got %s, want %s", tt.schema, got, tt.want)
		}
		if got := read(t, planOf(t, New(Options{}), tt.schema), framed(unhex(t, tt.hex)), 0); got != "" {
			t.Errorf("%s, skipped: got %s", tt.schema, got)
		}
	}
}

// TestMuchJSON: a small record does not become any amount of memory.
func TestMuchJSON(t *testing.T) {
	schema := `{"type":"array","items":{"type":"record","name":"R","fields":[{"name":"` + strings.Repeat("n", 60_000) + `","type":"null"}]}}`
	got := read(t, planOf(t, New(Options{}), schema, ""), framed(unhex(t, "80f104 00")), 1)
	if want := "!54000 read Avro (schema id 7): its arrays, maps and records become too much JSON"; got != want {
		t.Errorf("got %.100s, want %s", got, want)
	}
}

// TestFraming: where the id of a schema is, or that there is none.
func TestFraming(t *testing.T) {
	const schema = `"int"`
	payload := []byte{6}
	guid := event.SchemaRef{Space: "guid", ID: "89791762-2336-4186-9674-299b90a802e2"}
	header := unhex(t, "01 89791762 2336 4186 9674 299b90a802e2")
	for _, tt := range []struct {
		name    string
		o       Options
		doc     []byte
		headers headers
		ask     event.SchemaRef // first
	}{
		{"prefix", Options{}, framed(payload), nil, event.SchemaRef{Space: "id", ID: "7"}},
		{"header", Options{}, payload, headers{"__value_schema_id": header}, guid},
		{"key's header", Options{Key: true}, payload, headers{"__key_schema_id": header, "__value_schema_id": {9}}, guid},
		{"given", Options{Schema: &event.Schema{Text: schema}}, payload, headers{"__value_schema_id": {9}}, event.SchemaRef{}},
		{"given by id", Options{Ref: guid}, payload, nil, guid},
	} {
		p, err := New(tt.o).Plan([]string{""})
		if err != nil {
			t.Fatal(err)
		}
		values, arena := make([]event.Value, 1), []byte(nil)
		err = p.Read(tt.doc, tt.headers, values, &arena)
		if tt.ask != (event.SchemaRef{}) {
			var unknown *event.UnknownSchema
			if !errors.As(err, &unknown) || unknown.Ref != tt.ask {
				t.Errorf("%s: asks by %v", tt.name, err)
				continue
			}
			for range 2 {
				if err := p.Learn(unknown.Ref, event.Schema{Type: "AVRO", Text: schema}); err != nil {
					t.Fatal(err)
				}
			}
			err = p.Read(tt.doc, tt.headers, values, &arena)
		}
		if got := say(t, values); err != nil || got != "int 3" {
			t.Errorf("%s: got %s, %v", tt.name, got, err)
		}
	}
	if got := read(t, planOf(t, New(Options{}), schema, ""), []byte(`{"a":1}`), 1); !strings.HasPrefix(got, "!ONS21 no schema id") {
		t.Errorf("JSON: got %s", got)
	}
}

// TestLearn: schemas that can't be used, and those that refer to others.
func TestLearn(t *testing.T) {
	p, err := New(Options{}).Plan([]string{"a.x"})
	if err != nil {
		t.Fatal(err)
	}
	ref := event.SchemaRef{Space: "id", ID: "7"}
	for _, tt := range []struct {
		schema event.Schema
		want   string
	}{
		{event.Schema{Type: "PROTOBUF", Text: `syntax = "proto3";`}, "it is a schema of type PROTOBUF"},
		{event.Schema{Type: "AVRO", Text: `{`}, "read its text: "},
		{event.Schema{Type: "AVRO", Text: `"com.acme.Nowhere"`}, "read its text: "},
		{event.Schema{Type: "AVRO", Text: `{"type":"record","name":"R","fields":[{"name":"a","type":"com.acme.Nowhere"}]}`}, "read its text: "},
		{event.Schema{Text: `"int"`, References: []event.Reference{{Name: "com.acme.B", Schema: event.Schema{Text: `{"type":"rec"}`}}}}, "read the schema com.acme.B, which it refers to: "},
	} {
		if err := p.Learn(ref, tt.schema); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.schema, err, tt.want)
		}
	}
	if err := p.Learn(event.SchemaRef{Space: "other", ID: "7"}, event.Schema{Text: `"int"`}); err == nil {
		t.Error("a reference that no record has is learnt")
	}
	// A diamond: D is what B and C refer to, and A to these.
	d := event.Schema{Text: `{"type":"record","name":"D","namespace":"com.acme","fields":[{"name":"x","type":"int"}]}`}
	of := func(name string) event.Reference {
		return event.Reference{Name: name, Schema: event.Schema{Text: `{"type":"record","name":"` + name + `","fields":[{"name":"d","type":"com.acme.D"}]}`, References: []event.Reference{{Name: "com.acme.D", Schema: d}}}}
	}
	a := event.Schema{Type: "AVRO", Text: `{"type":"record","name":"A","fields":[{"name":"b","type":"com.acme.B"},{"name":"c","type":"com.acme.C"},{"name":"d","type":["null","com.acme.D"]}]}`,
		References: []event.Reference{of("com.acme.B"), of("com.acme.C")}}
	if p, err = New(Options{}).Plan([]string{"b.d.x", "c.d.x", "d.x", ""}); err != nil {
		t.Fatal(err)
	}
	if err := p.Learn(ref, a); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, p, framed([]byte{2, 4, 2, 6}), 4), `int 1; int 2; int 3; object {"b":{"d":{"x":1}},"c":{"d":{"x":2}},"d":{"x":3}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// A schema that leads back to itself.
	p = planOf(t, New(Options{}), `{"type":"record","name":"T","fields":[{"name":"v","type":"int"},{"name":"l","type":["null","T"]},{"name":"all","type":{"type":"array","items":"T"}}]}`, "l.v", "l.l.v", "l.l.l.v", "all")
	if got, want := read(t, p, framed(unhex(t, "02 02 04 02 06 00 00 00 02 08 00 00 00")), 4), `int 2; int 3; absent; array [{"v":4,"l":null,"all":[]}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Names that Avro does not allow, and that producers have.
	p = planOf(t, New(Options{}), `{"type":"record","name":"my-order","fields":[{"name":"order-id","type":"int"}]}`, "order-id", event.SchemaName)
	if got, want := read(t, p, framed([]byte{2}), 2), `int 1; text my-order`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := New(Options{Schema: &event.Schema{Text: "{"}}).Plan(nil); err == nil {
		t.Error("a schema that can't be read is taken from the configuration")
	}
}

// TestManyBranches: unions of records that lead to each other don't multiply with the length of a path.
func TestManyBranches(t *testing.T) {
	const schema = `{"type":"record","name":"A","fields":[{"name":"x","type":["null","A",{"type":"record","name":"B","fields":[{"name":"x","type":["null","A","B"]},{"name":"y","type":"int"}]}]},{"name":"y","type":"int"}]}`
	p := planOf(t, New(Options{}), schema, strings.Repeat("x.", 60)+"y", "x.y")
	if got, want := read(t, p, framed(unhex(t, "04 00 06 08")), 2), "absent; int 3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestSchemaName: of a union, the name is that of its branch.
func TestSchemaName(t *testing.T) {
	p := planOf(t, New(Options{}), `["null",{"type":"record","name":"A","namespace":"n","fields":[]},{"type":"record","name":"B","fields":[{"name":"x","type":"int"}]},"int"]`, event.SchemaName, "x")
	for hex, want := range map[string]string{"00": "absent; absent", "02": "text n.A; absent", "04 02": "text B; int 1", "06 02": "absent; absent"} {
		if got := read(t, p, framed(unhex(t, hex)), 2); got != want {
			t.Errorf("%s: got %s, want %s", hex, got, want)
		}
	}
}

// TestUnavailable: placeholders, in each form that Debezium's Avro has.
func TestUnavailable(t *testing.T) {
	placeholder, err := connect.NewPlaceholder(connect.DefaultPlaceholder)
	if err != nil {
		t.Fatal(err)
	}
	f := New(Options{Placeholder: placeholder})
	mark := []byte(connect.DefaultPlaceholder)
	var days []any
	for _, b := range mark {
		days = append(days, int32(b))
	}
	const json = `{"type":"string","connect.name":"io.debezium.data.Json"}`
	for _, tt := range []struct {
		schema string
		v      any
		want   string
	}{
		{`"string"`, string(mark), "unavailable"},
		{`["null","string"]`, string(mark), "unavailable"},
		{`"string"`, string(mark) + " ", "text " + string(mark) + " "},
		{`"bytes"`, mark, "unavailable"},
		{`{"type":"bytes","connect.name":"org.apache.kafka.connect.data.Decimal","connect.parameters":{"scale":"2"}}`, mark, "unavailable"},
		{`{"type":"bytes","logicalType":"decimal","precision":99,"scale":2}`, mark, "unavailable"},
		{json, string(mark), "unavailable"},
		{`{"type":"array","items":"string"}`, []any{string(mark)}, "unavailable"},
		{`{"type":"array","items":` + json + `}`, []any{string(mark)}, "unavailable"},
		{`{"type":"array","items":` + json + `}`, []any{"{}"}, `array ["{}"]`},
		{`{"type":"array","items":"bytes"}`, []any{mark}, "unavailable"},
		{`{"type":"array","items":["null","int"]}`, days, "unavailable"},
		{`{"type":"array","items":{"type":"int","connect.name":"io.debezium.time.Date"}}`, days, "unavailable"},
		{`{"type":"array","items":{"type":"int","connect.name":"io.debezium.time.Date"}}`, []any{int32(1)}, `array ["1970-01-02"]`},
		{`{"type":"map","values":"string"}`, map[string]any{string(mark): string(mark)}, "unavailable"},
		{`{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`, map[string]any{"a": string(mark)}, `object {"a":"` + string(mark) + `"}`},
	} {
		plain := strings.NewReplacer(`"logicalType":"decimal",`, "").Replace(tt.schema)
		doc := framed(encode(t, plain, tt.v))
		got := read(t, planOf(t, f, tt.schema, ""), doc, 1)
		if strings.Contains(tt.want, "{}") {
			tt.want = got // what an array of JSON becomes is not this test's
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.schema, got, tt.want)
		}
		if got := read(t, planOf(t, New(Options{}), strings.NewReplacer(json, `"string"`).Replace(tt.schema), ""), doc, 1); got == "unavailable" {
			t.Errorf("%s: got %s without a placeholder", tt.schema, got)
		}
	}
}

// TestAllocates: a record costs no memory, once the arena is there.
func TestAllocates(t *testing.T) {
	doc := framed(encode(t, orderSchema, orderOf("x")))
	p := planOf(t, New(Options{}), orderSchema, "id", "customer.name", "billing.email", "status", "tags", "billing", "counts", event.SchemaName)
	values, arena, h := make([]event.Value, 8), make([]byte, 0, 1<<10), headers{}
	var of event.Headers = h
	if n := testing.AllocsPerRun(100, func() {
		arena = arena[:0]
		if err := p.Read(doc, of, values, &arena); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a record allocates %v times", n)
	}
	const connectSchema = `{"type":"record","name":"R","fields":[{"name":"d","type":{"type":"int","connect.name":"io.debezium.time.Date"}},{"name":"a","type":{"type":"array","items":{"type":"long","connect.name":"io.debezium.time.MicroTime"}}}]}`
	doc = framed(unhex(t, "02 04 02 04 00"))
	p = planOf(t, New(Options{}), connectSchema, "d", "a")
	if n := testing.AllocsPerRun(100, func() {
		arena = arena[:0]
		if err := p.Read(doc, of, values[:2], &arena); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a record with types of Kafka Connect allocates %v times", n)
	}
}
