package protobuf

import (
	"errors"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
)

const many = `syntax = "proto3"; package a.b;
message First { int64 n = 1; }
message Second {
  map<string, Inner> entries = 1;
  message Inner { int64 n = 1; message Third { int64 n = 2; } }
  message Other { int64 n = 3; }
  int64 n = 4;
}
message Fourth { int64 n = 5; }`

// TestNames: which message of its schema a record is.
func TestNames(t *testing.T) {
	doc := join(enc(1, 1), enc(2, 2), enc(3, 3), enc(5, 5))
	second := join(enc(4, 4))
	confluent := func(indexes string) headers {
		return headers{"__value_schema_id": append([]byte{0, 0, 0, 0, 7}, indexes...)}
	}
	guid := headers{"__value_schema_id": append([]byte{1}, "0123456789abcdef\x02\x04"...)}
	apicurio := func(name string) headers {
		return headers{"apicurio.value.contentId": {0, 0, 0, 0, 0, 0, 0, 7}, "apicurio.protobuf.type": []byte(name)}
	}
	ref := func(name string) string { return string(enc(1, name)) }
	delimited := func(b string) string { return string(rune(len(b))) + b }
	for _, tt := range []struct {
		name    string
		pinned  string
		doc     []byte
		headers headers
		want    string
	}{
		{"the first", "", framed(7, "\x00", doc), nil, "i1"},
		{"the first, written out", "", framed(7, "\x02\x00", doc), nil, "i1"},
		{"the first, in more bytes", "", framed(7, "\x82\x00\x80\x00", doc), nil, "i1"},
		{"no index, in more bytes", "", framed(7, "\x80\x00", doc), nil, "i1"},
		{"the second", "", framed(7, "\x02\x02", second), nil, "i4"},
		{"within the second", "", framed(7, "\x04\x02\x00", doc), nil, "i1"},
		{"entries of maps are not counted", "", framed(7, "\x04\x02\x02", doc), nil, "i3"},
		{"three deep", "", framed(7, "\x06\x02\x00\x00", doc), nil, "i2"},
		{"the last", "", framed(7, "\x02\x04", doc), nil, "i5"},
		{"in a header", "", doc, confluent("\x00"), "i1"},
		{"in a header, the last", "", doc, confluent("\x02\x04"), "i5"},
		{"in a header with a GUID", "", doc, guid, "i5"},
		{"by Apicurio's header", "", doc, apicurio("Fourth"), "i5"},
		{"by Apicurio's header, with the full name", "", doc, apicurio("a.b.Second.Other"), "i3"},
		{"by Apicurio's reference", "", framed(7, delimited(ref("First")), doc), nil, "i1"},
		{"by Apicurio's reference, of an even length", "", framed(7, delimited(ref("Fourth")), doc), nil, "i5"},
		{"pinned", "Fourth", framed(7, "\x00", doc), nil, "i5"},
		{"pinned, without such indexes", "Fourth", framed(7, "\x02\x10", doc), nil, "i5"},
		{"pinned, in a header", "a.b.Fourth", doc, confluent("\x00"), "i5"},
		{"pinned, in a header without indexes", "a.b.Fourth", doc, confluent(""), "i5"},
		{"pinned, in Apicurio's header", "Fourth", doc, headers{"apicurio.value.contentId": {0, 0, 0, 0, 0, 0, 0, 7}}, "i5"},
		{"what is no reference of Apicurio's", "", framed(7, "\x07\x0a\x06First", doc), nil, badBytes},
		{"pinned, with Apicurio's reference", "Other", framed(7, delimited(ref("Gone")), doc), nil, "i3"},

		{"out of range", "", framed(7, "\x02\x06", doc), nil, badIndex},
		{"out of range, in a header", "", doc, confluent("\x02\x06"), badIndex},
		{"out of range, within", "", framed(7, "\x04\x04\x00", doc), nil, badIndex},
		{"a negative index", "", framed(7, "\x02\x01", doc), nil, badIndex},
		{"an index of 64 bits", "", framed(7, "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", doc), nil, badIndex},
		{"too many", "", framed(7, "\x7e"+strings.Repeat("\x00", 63), doc), nil, badBytes},
		{"a negative number of indexes", "", framed(7, "\x01", doc), nil, badBytes},
		{"no indexes", "", framed(7, "", nil), nil, badBytes},
		{"cut indexes", "", framed(7, "\x04\x02", nil), nil, badBytes},
		{"no indexes in the header", "", doc, confluent(""), badBytes},
		{"more than indexes in the header", "", doc, confluent("\x00\x00"), badBytes},
		{"no name in Apicurio's header", "", doc, headers{"apicurio.value.contentId": {0, 0, 0, 0, 0, 0, 0, 7}}, badIndex},
		{"another name in Apicurio's header", "", doc, apicurio("Fifth"), badIndex},
		{"another name in Apicurio's reference", "", framed(7, delimited(ref("Fifth")), doc), nil, badIndex},
		{"no id", "", doc, nil, "ONS21"},
		{"nothing", "", []byte{}, nil, "ONS21"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New(Options{Message: tt.pinned}).Plan([]string{"n"})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // learnt once, and kept
				got, err := show(t, p, 1, tt.doc, tt.headers)
				var unknown *event.UnknownSchema
				if errors.As(err, &unknown) {
					if err := p.Learn(unknown.Ref, event.Schema{Type: "PROTOBUF", Text: many}); err != nil {
						t.Fatal(err)
					}
					got, err = show(t, p, 1, tt.doc, tt.headers)
				}
				if err != nil {
					got = code(err)
				}
				if got != tt.want {
					t.Errorf("got %s, %v, want %s", got, err, tt.want)
				}
			}
		})
	}
}

// TestKeys: keys have headers of their own.
func TestKeys(t *testing.T) {
	none := headers{"apicurio.key.contentId": {0, 0, 0, 0, 0, 0, 0, 7}, "apicurio.protobuf.type": []byte("First"), "apicurio.protobuf.type.key": []byte("Fourth")}
	apicurio, err := New(Options{Key: true}).Plan([]string{"n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := apicurio.Learn(event.SchemaRef{Space: "contentId", ID: "7"}, event.Schema{Text: many}); err != nil {
		t.Fatal(err)
	}
	if got, err := show(t, apicurio, 1, enc(5, 5), none); err != nil || got != "i5" {
		t.Errorf("a key with Apicurio's headers: got %s, %v", got, err)
	}
	h := headers{"__key_schema_id": {0, 0, 0, 0, 8, 0}, "__value_schema_id": {0, 0, 0, 0, 7, 0}}
	for key, want := range map[bool]string{true: "id 8", false: "id 7"} {
		p, err := New(Options{Key: key}).Plan([]string{"n"})
		if err != nil {
			t.Fatal(err)
		}
		var unknown *event.UnknownSchema
		if _, err = show(t, p, 1, enc(1, 1), h); !errors.As(err, &unknown) || unknown.Ref.String() != want {
			t.Errorf("key %t: got %v, want %s", key, err, want)
		}
	}
}

// TestManyNames: however often a message is named in another way, a bounded number of them is kept.
func TestManyNames(t *testing.T) {
	p, err := New(Options{}).Plan([]string{"n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Learn(event.SchemaRef{Space: "id", ID: "7"}, event.Schema{Text: many}); err != nil {
		t.Fatal(err)
	}
	for n := range 6561 {
		var indexes []byte
		for _, number := range []byte{6, 2, 0, 0} { // in one to nine bytes
			indexes = append(indexes, number|0x80)
			for range n % 9 {
				indexes = append(indexes, 0x80)
			}
			indexes, n = append(indexes, 0), n/9
		}
		if got, err := show(t, p, 1, framed(7, string(indexes), enc(2, 1)), headers{}); err != nil || got != "i1" {
			t.Fatalf("% x: got %s, %v", indexes, got, err)
		}
	}
	for _, s := range *p.(*plan).schemas.Load() {
		if n := len(*s.messages.Load()); n != mostKept {
			t.Errorf("%d ways are kept", n)
		}
	}
}

// TestSchemas: what is wrong with a schema is said, and is no record's fault.
func TestSchemas(t *testing.T) {
	ref := event.SchemaRef{Space: "id", ID: "7"}
	for _, tt := range []struct {
		name    string
		schema  event.Schema
		message string
		want    []string
	}{
		{"Avro", event.Schema{Type: "AVRO", Text: `"int"`}, "", []string{"type AVRO", "format"}},
		{"no .proto", event.Schema{Text: `{"type":"record"}`}, "", []string{"compile Protobuf schema", "syntax error"}},
		{"no import", event.Schema{Text: `syntax = "proto3"; import "a/b.proto"; message M {}`}, "", []string{"a/b.proto", "not among the schema's references"}},
		{"an import of an import", event.Schema{Text: `syntax = "proto3"; import "a.proto";`, References: []event.Reference{{Name: "a.proto", Schema: event.Schema{Text: `syntax = "proto3"; import "b.proto";`}}}}, "", []string{"b.proto", "not among"}},
		{"no such Google file", event.Schema{Text: `syntax = "proto3"; import "google/protobuf/no.proto";`}, "", []string{"google/protobuf/no.proto"}},
		{"no such message", event.Schema{Text: many}, "Fifth", []string{"no message has the name Fifth", "a.b.First", "a.b.Second.Inner.Third"}},
		{"two such messages", event.Schema{Text: `syntax = "proto3"; package p; message A { message M {} } message B { message M {} }`}, "M", []string{"several messages", "p.A.M", "p.B.M", "full name"}},
		{"a later edition", event.Schema{Text: `edition = "2099"; message M {}`}, "", []string{"2099"}},
	} {
		p, err := New(Options{Message: tt.message}).Plan([]string{"n"})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Learn(ref, tt.schema)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", tt.name, err, want)
			}
		}
		if errors.As(err, new(*event.Refusal)) {
			t.Errorf("%s: %v is a record's fault", tt.name, err)
		}
		if _, err := New(Options{Message: tt.message, Schema: &tt.schema}).Plan([]string{"n"}); err == nil {
			t.Errorf("%s, as one's own: no error", tt.name)
		}
	}
	for text, want := range map[string]string{
		many: "several messages", `syntax = "proto3";`: "no message",
	} {
		if _, err := New(Options{Schema: &event.Schema{Text: text}}).Plan(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("one's own schema: got %v, want %s", err, want)
		}
	}
	p, _ := New(Options{}).Plan([]string{"n"})
	if err := p.Learn(event.SchemaRef{Space: "id", ID: "x"}, event.Schema{Text: many}); err == nil {
		t.Error("a reference that no record has: no error")
	}
	if _, err := New(Options{}).Plan([]string{"a..b"}); err == nil || !strings.Contains(err.Error(), "a..b") {
		t.Errorf("a path that is none: got %v", err)
	}
	// All that registries know without a reference.
	all := `syntax = "proto3"; message M {}`
	for _, name := range []string{"calendar_period", "color", "date", "datetime", "dayofweek", "decimal", "expr", "fraction", "interval", "latlng", "localized_text", "money", "month", "phone_number", "postal_address", "quaternion", "timeofday"} {
		all += ` import "google/type/` + name + `.proto";`
	}
	for _, name := range []string{"any", "api", "descriptor", "duration", "empty", "field_mask", "source_context", "struct", "timestamp", "type", "wrappers"} {
		all += ` import "google/protobuf/` + name + `.proto";`
	}
	if err := p.Learn(ref, event.Schema{Text: all + ` import "confluent/meta.proto"; import "confluent/type/decimal.proto";`}); err != nil {
		t.Error(err)
	}
	// A reference of a name comes before what is known by it, and the nearest before others.
	own := event.Schema{Text: `syntax = "proto3"; import "google/type/date.proto"; message M { google.type.Date at = 1; }`,
		References: []event.Reference{{Name: "google/type/date.proto", Schema: event.Schema{Text: `syntax = "proto3"; package google.type; message Date { string iso = 1; }`, References: []event.Reference{{Name: "google/type/date.proto"}}}}}}
	mine, err := New(Options{Schema: &own}).Plan([]string{"at", "at.iso"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := show(t, mine, 2, enc(1, enc(1, "x")), nil); err != nil || got != `{"iso":"x"} "x"` {
		t.Errorf("a reference with a known name: got %s, %v", got, err)
	}
	older := event.Schema{Text: `syntax = "proto3"; import "confluent/type/decimal.proto"; message M { confluent.type.Decimal at = 1; }`,
		References: []event.Reference{{Name: "confluent/type/decimal.proto", Schema: event.Schema{Text: `syntax = "proto3"; package confluent.type; message Decimal { bytes value = 1; int32 scale = 2; }`}}}}
	if mine, err = New(Options{Schema: &older}).Plan([]string{"at"}); err != nil {
		t.Fatal(err)
	}
	if got, err := show(t, mine, 1, enc(1, join(enc(1, "\x7f"), enc(2, 1))), nil); err != nil || got != "d12.7" {
		t.Errorf("a decimal of before: got %s, %v", got, err)
	}
}

// TestBare: messages with nothing before them, of a schema that is given or that a registry has.
func TestBare(t *testing.T) {
	ref := event.SchemaRef{Space: "id", ID: "7"}
	for _, message := range []string{"First", "a.b.First"} {
		p, err := New(Options{Ref: ref, Message: message}).Plan([]string{"n"})
		if err != nil {
			t.Fatal(err)
		}
		var unknown *event.UnknownSchema
		if _, err := show(t, p, 1, enc(1, 5), nil); !errors.As(err, &unknown) || unknown.Ref != ref {
			t.Fatalf("got %v, want it to ask for %v", err, ref)
		}
		if err := p.Learn(ref, event.Schema{Text: many}); err != nil {
			t.Fatal(err)
		}
		if got, err := show(t, p, 1, enc(1, 5), nil); err != nil || got != "i5" {
			t.Errorf("got %s, %v", got, err)
		}
		if _, err := show(t, p, 1, []byte{8}, nil); err == nil || err.Error() != "read Protobuf a.b.First (schema id 7): a Protobuf message that ends too early" {
			t.Errorf("got %v, want it to say where", err)
		}
	}
	p, err := New(Options{Ref: ref}).Plan([]string{"n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Learn(ref, event.Schema{Text: many}); err == nil || !strings.Contains(err.Error(), "name the message") {
		t.Errorf("got %v, want that the message is to be named", err)
	}
	if _, err := New(Options{Ref: event.SchemaRef{Space: "id", ID: "x"}}).Plan(nil); err == nil {
		t.Error("a reference that is none: no error")
	}
}

// TestSchemaName: a message's full name tells several of one topic apart.
func TestSchemaName(t *testing.T) {
	p, err := New(Options{}).Plan([]string{event.SchemaName, "n", event.SchemaName})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Learn(event.SchemaRef{Space: "id", ID: "7"}, event.Schema{Text: many}); err != nil {
		t.Fatal(err)
	}
	for indexes, want := range map[string]string{"\x00": `"a.b.First" i5 "a.b.First"`, "\x04\x02\x00": `"a.b.Second.Inner" i5 "a.b.Second.Inner"`} {
		if got, err := show(t, p, 3, framed(7, indexes, enc(1, 5)), headers{}); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

// TestPlaceholder: what the source withheld is unavailable, and neither null nor a text.
func TestPlaceholder(t *testing.T) {
	placeholder, err := connect.NewPlaceholder(connect.DefaultPlaceholder)
	if err != nil {
		t.Fatal(err)
	}
	schema := event.Schema{Text: `syntax = "proto3"; import "google/protobuf/wrappers.proto"; message M { string a = 1; google.protobuf.StringValue b = 2; bytes c = 3; repeated string d = 4; string e = 5; }`}
	p, err := New(Options{Schema: &schema, Placeholder: placeholder}).Plan([]string{"a", "b", "c", "d", "e"})
	if err != nil {
		t.Fatal(err)
	}
	const withheld = connect.DefaultPlaceholder
	values := make([]event.Value, 5)
	var arena []byte
	if err := p.Read(join(enc(1, withheld), enc(2, enc(1, withheld)), enc(3, withheld), enc(4, withheld), enc(5, withheld+"s")), nil, values, &arena); err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if want := i < 4; (v.Kind == event.Unavailable) != want {
			t.Errorf("value %d is of kind %d", i, v.Kind)
		}
	}
}
