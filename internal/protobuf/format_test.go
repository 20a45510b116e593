package protobuf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"google.golang.org/protobuf/encoding/prototext"

	"github.com/oncesink/oncesink/internal/event"
)

// text is a file of testdata.
func text(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// shop is a schema as a registry has it: a file of several messages, with what it imports.
func shop(t testing.TB) event.Schema {
	geo := event.Schema{Type: "PROTOBUF", Text: text(t, "geo.proto")}
	party := event.Schema{Type: "PROTOBUF", Text: text(t, "party.proto"), References: []event.Reference{{Name: "common/geo.proto", Schema: geo}}}
	return event.Schema{Type: "PROTOBUF", Text: text(t, "shop.proto"), References: []event.Reference{{Name: "common/party.proto", Schema: party}, {Name: "common/geo.proto", Schema: geo}}}
}

// describe compiles a schema, and finds a message.
func describe(t testing.TB, schema event.Schema, name string) protoreflect.MessageDescriptor {
	t.Helper()
	file, err := compile(schema)
	if err != nil {
		t.Fatal(err)
	}
	md, err := byName(file, name)
	if err != nil {
		t.Fatal(err)
	}
	return md
}

// wire makes a message's bytes of its text.
func wire(t testing.TB, md protoreflect.MessageDescriptor, message string) []byte {
	t.Helper()
	m := dynamicpb.NewMessage(md)
	if err := (prototext.UnmarshalOptions{Resolver: dynamicpb.NewTypes(filesOf(md.ParentFile()))}).Unmarshal([]byte(message), m); err != nil {
		t.Fatalf("%s: %v", message, err)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// framed puts the id of a schema and the indexes of a message before it.
func framed(id int, indexes string, message []byte) []byte {
	doc := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
	return append(append(doc, indexes...), message...)
}

type headers map[string][]byte

func (h headers) Header(name string) ([]byte, bool) {
	value, ok := h[name]
	return value, ok
}

// own is a plan for messages of one schema, without an id before them.
func own(t testing.TB, schema event.Schema, message string, paths ...string) *plan {
	t.Helper()
	p, err := New(Options{Message: message, Schema: &schema}).Plan(paths)
	if err != nil {
		t.Fatal(err)
	}
	return p.(*plan)
}

// show reads a message, and shows its values as JSON: - is what is absent.
func show(t testing.TB, p event.Plan, n int, doc []byte, h event.Headers) (string, error) {
	t.Helper()
	values := make([]event.Value, n)
	for i := range values {
		values[i] = event.Value{Kind: event.Unavailable}
	}
	arena := []byte("kept")
	if err := p.Read(doc, h, values, &arena); err != nil {
		return "", err
	}
	if !strings.HasPrefix(string(arena), "kept") {
		t.Fatalf("what was in the arena is gone: %.100q", arena)
	}
	var out []string
	for _, v := range values {
		if v.Kind == event.Absent {
			out = append(out, "-")
			continue
		}
		b, err := v.AppendJSON(nil)
		if err != nil {
			t.Fatalf("kind %d: %v", v.Kind, err)
		}
		kind := ""
		switch v.Kind {
		case event.Int, event.Uint, event.Float, event.Decimal, event.Date, event.Time, event.TimestampTZ, event.Bytes, event.String, event.Number:
			kind = map[event.Kind]string{event.Int: "i", event.Uint: "u", event.Float: "f", event.Decimal: "d", event.Date: "D", event.Time: "T", event.TimestampTZ: "Z", event.Bytes: "b", event.String: "s", event.Number: "n"}[v.Kind]
		}
		out = append(out, kind+string(b))
	}
	return strings.Join(out, " "), nil
}

func code(err error) string {
	var r *event.Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return fmt.Sprint(err)
}

// filesOf is a file with all that it imports.
func filesOf(file protoreflect.FileDescriptor) *protoregistry.Files {
	files := new(protoregistry.Files)
	var add func(protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if _, err := files.FindFileByPath(fd.Path()); err == nil {
			return
		}
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		if err := files.RegisterFile(fd); err != nil {
			panic(err)
		}
	}
	add(file)
	return files
}

// TestValues: what becomes of a field, by its type.
func TestValues(t *testing.T) {
	schema := shop(t)
	md := describe(t, schema, "Order")
	for _, tt := range []struct{ message, paths, want string }{
		{`order_id: -5 u32: 4000000000 s32: -7 s64: -9000000000000000000 f32: 4000000000 f64: 18446744073709551615 sf32: -3 sf64: -4 v: 18446744073709551615`, "order_id u32 s32 s64 f32 f64 sf32 sf64 v",
			"i-5 u4000000000 i-7 i-9000000000000000000 u4000000000 u18446744073709551615 i-3 i-4 u18446744073709551615"},
		{`amount: 12.5 ratio: 0.1 paid: true seal: "\000\377" note: "a\"é" last: "x"`, "amount ratio paid seal note last", `f12.5 f0.1 true b"AP8=" "a\"é" "x"`},
		{`amount: nan ratio: -inf`, "amount ratio", `f"NaN" f"-Infinity"`},
		{`status: STATUS_LOST`, "status status", `"STATUS_LOST" "STATUS_LOST"`},
		{`status: STATUS_ODD`, "status", `"STATUS_ODD"`},
		// Where nothing is set: what has presence is null.
		{``, "order_id currency status amount paid seal v u32 nothing", `i0 "" "STATUS_NEW" f0 false b"" u0 u0 null`},
		{``, "discount customer customer.id customer.country customer.tags customer.at.lat placed_at took wrapped blob attrs anything any card voucher invoice previous.order_id", strings.TrimSpace(strings.Repeat("null ", 17))},
		{``, "lines codes labels by_number extra", "[] [] {} {} {}"},
		{`customer {}`, "customer.id customer.segment customer.country customer.at customer.at.lat customer.nick customer.tags", `i0 null "" null null null []`},
		{`discount: 0 wrapped {} blob {} invoice { author {} }`, "discount wrapped blob card invoice.author.name invoice.text", `i0 i0 b"" null "" ""`},
		{`customer { id: 7 segment: "" at { lat: 1.5 } nick { value: "n" } tags: "a" tags: "b" }`, "customer.id customer.segment customer.at.lat customer.at.lon customer.nick customer.nick.value customer.tags", `i7 "" f1.5 f0 "n" "n" ["a","b"]`},
		// What is not in the schema, and paths through what has no fields.
		{`order_id: 1 lines { sku: "s" } labels { key: "k" value: "v" }`, "nothing_like_it order_id.x lines.sku customer.x codes.0 currency.y", "- - - - - -"},
		// Names as JSON has them, where they are no field's.
		{`order_id: 1 updated_at { seconds: 1 } customer { nick { value: "n" } }`, "orderId order_id changed updated_at updatedAt placedAt", `i1 i1 Z"1970-01-01T00:00:01Z" Z"1970-01-01T00:00:01Z" - null`},
		{`invoice { author { name: "n" } text: "t" }`, "invoice.author.name invoice.text card voucher invoice", `"n" "t" null null {"author":{"name":"n"},"text":"t"}`},
		// Well-known types.
		{`placed_at { seconds: 1767323045 nanos: 678901000 } updated_at { nanos: 1 }`, "placed_at updated_at placed_at.seconds placed_at.nanos", `Z"2026-01-02T03:04:05.678901Z" Z"1970-01-01T00:00:00.000000001Z" i1767323045 i678901000`},
		{`placed_at { seconds: 253402300799 nanos: 999999999 } updated_at { seconds: -62135596800 }`, "placed_at updated_at", `"9999-12-31T23:59:59.999999999Z" Z"0001-01-01T00:00:00Z"`},
		{`took { seconds: 90 nanos: 500000000 }`, "took", `"90.5s"`}, {`took { seconds: -1 nanos: -1 }`, "took", `"-1.000000001s"`}, {`took { nanos: -500000000 }`, "took", `"-0.5s"`}, {`took { }`, "took", `"0s"`},
		{`wrapped { value: 5 } blob { value: "a" }`, "wrapped blob wrapped.value", `i5 b"YQ==" i5`},
		{`mask { paths: "a_b" paths: "c.d" }`, "mask mask.paths", `"a_b,c.d" ["a_b","c.d"]`},
		{`day { year: 2026 month: 2 day: 28 } opens { hours: 24 } exact { value: "1.50e3" }`, "day opens exact day.year", `D"2026-02-28" T"24:00:00" "1.50e3" i2026`},
		{`day { year: 1 month: 1 day: 1 } opens { hours: 1 minutes: 2 seconds: 3 nanos: 4 }`, "day opens", `D"0001-01-01" T"01:02:03.000000004"`},
		{`total { value: "\373\056" scale: 2 precision: 9 } price { currency_code: "EUR" units: 3 nanos: 5 }`, "total price price.units total.scale", `d-12.34 {"currency_code":"EUR","units":3,"nanos":5} i3 i2`},
		{`attrs { fields { key: "b" value { number_value: 1.5 } } fields { key: "a" value { list_value { values { null_value: NULL_VALUE } values { bool_value: true } } } } fields { key: "c" value { struct_value {} } } }`, "attrs attrs.b attrs.a attrs.c.d attrs.x",
			`{"a":[null,true],"b":1.5,"c":{}} n1.5 [null,true] - -`},
		{`anything { string_value: "x" } list { values { string_value: "y" } values {} }`, "anything list", `s"x" ["y",null]`}, {`anything { null_value: NULL_VALUE }`, "anything", `null`}, {`anything {}`, "anything", `null`},
		{`anything { struct_value { fields { key: "a" value { string_value: "deep" } } } }`, "anything.a anything", `s"deep" {"a":"deep"}`},
		{`any { [type.googleapis.com/acme.common.Point] { lat: 1 } }`, "any any.lat any.@type", `{"@type":"type.googleapis.com/acme.common.Point","lat":1,"lon":0} n1 s"type.googleapis.com/acme.common.Point"`},
		{`any { [x/google.protobuf.Timestamp] { seconds: 1 } } parts { type_url: "x/no.such" value: "\001" } parts {}`, "any parts", `{"@type":"x/google.protobuf.Timestamp","value":"1970-01-01T00:00:01Z"} [{"@type":"x/no.such","value":"AQ=="},{}]`},
		// Containers are JSON in which all fields are, by their names in the schema.
		{`lines { sku: "s" count: 3 due { seconds: 5 } } lines { weight: 0 }`, "lines", `[{"sku":"s","count":3,"weight":null,"due":"1970-01-01T00:00:05Z"},{"sku":"","count":0,"weight":0,"due":null}]`},
		{`codes: [1, -2, 300] history: [STATUS_LOST, STATUS_NEW] route { lat: 1 } route {}`, "codes history route", `[1,-2,300] ["STATUS_LOST","STATUS_NEW"] [{"lat":1,"lon":0},{"lat":0,"lon":0}]`},
		{`labels { key: "z" value: "1" } labels { key: "a.b" value: "2" }  by_number { key: 10 value { sku: "t" } } by_number { key: -9 value {} } flags { key: true value: STATUS_SHIPPED }`, `labels labels.z labels.a\.b labels.q by_number.10.sku flags`,
			`{"a.b":"2","z":"1"} s"1" s"2" - s"t" {"true":"STATUS_SHIPPED"}`},
		{`by_number { key: 10 value { sku: "t" } } by_number { key: -9 value {} }`, "by_number", `{"-9":{"sku":"","count":0,"weight":null,"due":null},"10":{"sku":"t","count":0,"weight":null,"due":null}}`},
		{`extra { key: "k" value { number_value: 2 } }`, "extra extra.k", `{"k":2} n2`},
		{`previous { previous { order_id: 3 } }`, "previous.previous.order_id previous.previous.previous previous.previous.previous.order_id", `i3 null null`},
	} {
		paths := strings.Fields(tt.paths)
		got, err := show(t, own(t, schema, "acme.shop.Order", paths...), len(paths), wire(t, md, tt.message), nil)
		if err != nil || got != tt.want {
			t.Errorf("%s\n%s\n got %s, %v\nwant %s", tt.message, tt.paths, got, err, tt.want)
		}
	}
}
