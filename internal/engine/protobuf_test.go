package engine

import (
	"context"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/oncesink/oncesink/internal/decode"
	payload "github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/sink"
)

const shopProto = `syntax = "proto3";
package acme;
import "confluent/type/decimal.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/type/date.proto";
import "google/type/timeofday.proto";
enum Status { NEW = 0; SHIPPED = 1; }
message Key { int64 id = 1; }
message Order {
  message Line { string sku = 1; optional int32 count = 2; google.protobuf.Timestamp due = 3; }
  message Customer { string name = 1; }
  int64 id = 1;
  Customer customer = 2;
  Status status = 3;
  confluent.type.Decimal amount = 4;
  google.protobuf.Timestamp at = 5;
  google.protobuf.Duration took = 6;
  google.type.Date day = 7;
  google.type.TimeOfDay opens = 8;
  bytes raw = 9;
  uint64 big = 10;
  double ratio = 11;
  google.protobuf.Int32Value maybe = 12;
  bool paid = 13;
  repeated string tags = 14;
  map<string, string> labels = 15;
  google.protobuf.Struct attrs = 16;
  repeated Line lines = 17;
  oneof contact { string mail = 18; string phone = 19; }
}`

// message is a record of a message of shopProto, by its indexes, with the id of the schema before it.
func message(t *testing.T, offset int64, name, indexes, text string) sink.Record {
	t.Helper()
	decimal := `syntax = "proto3"; package confluent.type; message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }`
	date := `syntax = "proto3"; package google.type; message Date { int32 year = 1; int32 month = 2; int32 day = 3; }`
	clock := `syntax = "proto3"; package google.type; message TimeOfDay { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }`
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{
		"shop.proto": shopProto, "confluent/type/decimal.proto": decimal, "google/type/date.proto": date, "google/type/timeofday.proto": clock,
	})})}
	files, err := compiler.Compile(context.Background(), "shop.proto")
	if err != nil {
		t.Fatal(err)
	}
	m := dynamicpb.NewMessage(files[0].Messages().ByName(protoreflect.Name(name)))
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r := incoming("o", offset, "", "")
	r.Key, r.Value = nil, append([]byte("\x00\x00\x00\x00\x07"+indexes), b...)
	return r
}

// TestProtobufValues: fields of Protobuf's types, those that are not set among them, and repeated messages end up in columns and children.
func TestProtobufValues(t *testing.T) {
	db := newDatabase(t, `create type status as enum ('NEW', 'SHIPPED')`,
		`create table o (id bigint primary key, name text default 'd', status status, amount numeric, at timestamptz, took interval, day date, opens time, raw bytea, big numeric(20), ratio float4, maybe int, paid bool, tags text[], labels jsonb, env text, attrs jsonb, color text, mail text, phone text, gone text default 'd')`,
		"create table lines (order_id bigint, sku text, count int, due timestamptz, primary key (order_id, sku))")
	e := db.openWith(sink.Config{Topics: map[string]sink.TopicConfig{"o": {Format: sink.Protobuf}}, Tables: []sink.TableConfig{
		{Name: "o", Topics: []string{"o"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"name": {From: "customer.name"}, "env": {From: "labels.env"}, "color": {From: "attrs.color"}, "raw": {Encoding: "hex"}}},
		{Name: "lines", Strategy: sink.Children, Parent: "o", Each: "lines", Key: []string{"order_id", "sku"}, ParentKey: map[string]string{"order_id": "id"}},
	}}, Options{})
	full := message(t, 0, "Order", "\x02\x02", `id: 1 customer { name: "Zoë" } status: SHIPPED amount { value: "\373\056" scale: 2 } at { seconds: 1767323045 nanos: 678901000 } took { seconds: -90061 nanos: -500000000 }
		day { year: 2026 month: 2 day: 28 } opens { hours: 9 minutes: 30 } raw: "\000\377" big: 18446744073709551615 ratio: 0.1 maybe { value: 0 } paid: true tags: "a" tags: "b,\"c" labels { key: "env" value: "prod" }
		attrs { fields { key: "color" value { string_value: "red" } } } lines { sku: "s1" count: 0 due { seconds: 1 } } lines { sku: "s2" } mail: "m@x"`)
	empty := message(t, 1, "Order", "\x02\x02", `id: 2 customer {}`)
	nothing := message(t, 2, "Order", "\x02\x02", `id: 3`)
	short := full
	short.Offset, short.Value = 3, full.Value[:len(full.Value)-1]
	other := message(t, 4, "Key", "\x02\x20", `id: 5`)
	long := message(t, 5, "Order", "\x02\x02", `id: 4 at { seconds: 253402300800 }`)
	p := &decode.Part{Claim: e.claim("o", 0)}
	records := []sink.Record{full, empty, nothing, short, other, long}
	n, err := e.Add(p, records...)
	if n != 0 || err == nil {
		t.Fatalf("%d records were taken, %v, want that the schema is missing", n, err)
	}
	if err := e.Learn(decode.SchemaOf{Topic: "o", Ref: payload.SchemaRef{Space: "id", ID: "7"}}, payload.Schema{Type: "PROTOBUF", Text: shopProto}); err != nil {
		t.Fatal(err)
	}
	if n, err = e.Add(p, records...); n != len(records) || err != nil {
		t.Fatalf("%d records were taken, %v", n, err)
	}
	e.write(p)
	db.Want(`1|Zoë|SHIPPED|-12.34|2026-01-02 03:04:05.678901+00|-25:01:01.5|2026-02-28|09:30:00|\x00ff|18446744073709551615|0.1|0|t|{a,"b,\"c"}|{"env": "prod"}|prod|{"color": "red"}|red|m@x|-|d
2||NEW|-|-|-|-|-|\x|0|0|-|f|{}|{}|-|-|-|-|-|d
3|-|NEW|-|-|-|-|-|\x|0|0|-|f|{}|{}|-|-|-|-|-|d`, "select id, name, status, amount, at, took, day, opens, raw, big, ratio, maybe, paid, tags, labels, env, attrs, color, mail, phone, gone from o order by id")
	db.Want("1|s1|0|1970-01-01 00:00:01+00\n1|s2|-|-", "select order_id, sku, count, due from lines order by sku")
	db.Want("3|ONS22\n4|ONS23\n5|22008", `select "offset", code from oncesink.dead_letters order by 1`)

	// A field that is set no more is null, and a list without elements has none.
	p = &decode.Part{Claim: e.claim("o", 0)}
	if n, err := e.Add(p, message(t, 6, "Order", "\x02\x02", `id: 1 phone: "5"`)); n != 1 || err != nil {
		t.Fatal(err)
	}
	e.write(p)
	db.Want("1|-|NEW|-|{}|-|5", "select id, name, status, amount, tags, mail, phone from o where id = 1")
	db.Want("0", "select count(*) from lines")
}
