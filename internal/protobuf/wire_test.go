package protobuf

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/oncesink/oncesink/internal/event"
)

// enc is a field as it stands on the wire: enc(1, 5) is a varint, enc(1, "x") are bytes.
func enc(num protowire.Number, v any) []byte {
	switch v := v.(type) {
	case int:
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(v))
	case uint32:
		return protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), v)
	case uint64:
		return protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), v)
	case string:
		return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), v)
	case []byte:
		return enc(num, string(v))
	}
	panic("no such field")
}

func group(num protowire.Number, contents ...[]byte) []byte {
	b := protowire.AppendTag(nil, num, protowire.StartGroupType)
	b = append(b, bytes.Join(contents, nil)...)
	return protowire.AppendTag(b, num, protowire.EndGroupType)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestWire: the same message may be written in many ways.
func TestWire(t *testing.T) {
	schema := shop(t)
	md := describe(t, schema, "Order")
	m := func(s string) []byte { return wire(t, md, s) }
	for _, tt := range []struct {
		name  string
		doc   []byte
		paths string
		want  string
	}{
		{"the last one wins", join(m(`order_id: 1 currency: "a"`), m(`order_id: 2`)), "order_id currency", `i2 "a"`},
		{"the last one wins, also with its default", join(enc(1, 1), enc(1, 0)), "order_id", `i0`},
		{"messages merge", join(m(`customer { id: 1 country: "a" tags: "x" at { lat: 1 } }`), m(`order_id: 1`), m(`customer { id: 2 tags: "y" at { lon: 2 } }`)), "customer.id customer.country customer.tags customer.at.lat customer.at customer",
			`i2 "a" ["x","y"] f1 {"lat":1,"lon":2} {"id":2,"segment":null,"country":"a","at":{"lat":1,"lon":2},"nick":null,"tags":["x","y"]}`},
		{"well-known messages merge", join(m(`placed_at { seconds: 1 }`), m(`placed_at { nanos: 1000 }`)), "placed_at", `Z"1970-01-01T00:00:01.000001Z"`},
		{"packed and not", join(enc(15, 1), enc(15, "\x02\x03"), m(`lines { sku: "s" }`), enc(15, ""), enc(15, 4)), "codes", `[1,2,3,4]`},
		{"nothing packed", enc(15, ""), "codes", `[]`},
		{"an int32 in ten bytes, or cut from more", join(enc(6, -1), enc(22, 1<<40|5)), "items u32", `i-1 u5`},
		{"a sint32 of more bits", enc(23, 1<<32|4), "s32", "i2"},
		{"a bool of any number", enc(12, 300), "paid", "true"},
		{"an enum's number without a name", join(enc(3, 77), enc(42, 78)), "status history", `i77 [78]`},
		{"unknown fields and groups", join(enc(900, 5), enc(901, "x"), enc(902, uint32(1)), enc(903, uint64(1)), group(904, enc(1, 2), group(1, enc(7, "y")), group(3)), enc(1, 4)), "order_id", "i4"},
		{"the last of a oneof", join(m(`card: "c"`), m(`voucher: 5`)), "card voucher invoice.text", "null i5 null"},
		{"the last of a oneof is what nobody wants", join(m(`card: "c"`), m(`voucher: 5`)), "card invoice.text invoice", "null null null"},
		{"a message of a oneof starts again", join(m(`invoice { text: "t" author { name: "n" } }`), m(`card: "c"`), m(`invoice { text: "u" }`)), "card invoice.text invoice.author.name invoice", `null "u" null {"author":null,"text":"u"}`},
		{"a message of a oneof merges", join(m(`invoice { text: "t" author { name: "n" } }`), m(`invoice { text: "u" }`)), "invoice.text invoice.author.name", `"u" "n"`},
		{"a oneof within JSON", enc(44, join(m(`invoice { text: "t" }`), m(`card: "c"`), m(`voucher: 1`), m(`card: "d"`))), "previous.card previous.invoice previous.voucher", `"d" null null`},
		{"keys of a map repeat", join(enc(16, join(enc(1, "k"), enc(2, "1"))), enc(16, join(enc(1, "j"), enc(2, "0"))), enc(16, join(enc(2, "2"), enc(1, "k")))), "labels labels.k", `{"j":"0","k":"2"} s"2"`},
		{"entries without a key or a value", join(enc(16, enc(2, "v")), enc(16, enc(1, "k")), enc(17, enc(1, 3)), enc(18, "")), "labels by_number flags", `{"":"v","k":""} {"3":{"sku":"","count":0,"weight":null,"due":null}} {"false":"STATUS_NEW"}`},
		{"the value of an entry merges, and entries don't", join(enc(17, join(enc(1, 1), enc(2, enc(1, "s")), enc(2, enc(2, 5)))), enc(17, join(enc(1, 2), enc(2, enc(1, "s")))), enc(17, join(enc(1, 2), enc(2, enc(2, 5))))), "by_number.1.sku by_number.1.count by_number.2.sku by_number.2.count", `s"s" n5 s"" n5`},
		{"the last of a Value", join(enc(33, enc(3, "x")), enc(33, enc(2, uint64(0)))), "anything", "n0"},
		{"wrapped twice", enc(31, join(enc(1, 1), enc(1, 2), enc(2, "no such field"))), "wrapped", "i2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			paths := strings.Fields(tt.paths)
			if got, err := show(t, own(t, schema, "Order", paths...), len(paths), tt.doc, nil); err != nil || got != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

// TestWhole: path "" is the message, and as JSON it says what the paths say.
func TestWhole(t *testing.T) {
	schema := event.Schema{Text: `syntax = "proto3"; message M { int64 id = 1; oneof o { string a = 2; M b = 3; } repeated M c = 4; }`}
	doc := join(enc(2, "x"), enc(1, 7), enc(3, enc(1, 8)), enc(4, ""))
	want := `{"id":7,"a":null,"b":{"id":8,"a":null,"b":null,"c":[]},"c":[{"id":0,"a":null,"b":null,"c":[]}]} i7 null`
	if got, err := show(t, own(t, schema, "", "", "id", "a"), 3, doc, nil); err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

// TestSyntax: presence, packing and groups are as the schema's syntax or edition has them.
func TestSyntax(t *testing.T) {
	for _, tt := range []struct {
		file, message string
		doc           []byte
		paths, want   string
	}{
		{"old.proto", "Old", nil, "id name color result result.url item plain", `null null null null null [] []`},
		{"old.proto", "Old", join(enc(1, 0), enc(2, ""), enc(7, 1)), "id name color", `i0 "" "RED"`},
		{"old.proto", "Old", join(group(3, enc(1, "u"), enc(2, 1), enc(2, 2)), group(4, enc(1, 1)), group(3, enc(2, "\x03\x04")), group(4)), "result.url result.marks item result", `"u" [1,2,3,4] [{"n":1},{"n":null}] {"url":"u","marks":[1,2,3,4]}`},
		{"old.proto", "Old", join(enc(5, 1), enc(5, "\x02"), enc(6, 1), enc(6, "\x02")), "plain packed", `[1,2] [1,2]`},
		{"old.proto", "Old", enc(100, "x"), "more", `-`},
		{"edition.proto", "Event", nil, "id bare part part.name open parts", `null i0 null null [] {}`},
		{"edition.proto", "Event", join(enc(1, 0), group(3, enc(1, "p")), enc(4, 1), enc(5, "\x01"), enc(6, join(enc(1, "k"), enc(2, enc(1, "n"))))), "id part.name part open packed parts", `i0 "p" {"name":"p"} [1] [1] {"k":{"name":"n"}}`},
	} {
		paths := strings.Fields(tt.paths)
		if got, err := show(t, own(t, event.Schema{Text: text(t, tt.file)}, tt.message, paths...), len(paths), tt.doc, nil); err != nil || got != tt.want {
			t.Errorf("%s, % x\n%s\n got %s, %v\nwant %s", tt.file, tt.doc, tt.paths, got, err, tt.want)
		}
	}
}

// nested are messages within each other, each the field of the one around it.
func nested(num protowire.Number, depth int) []byte {
	var b []byte
	for range depth {
		b = enc(num, b)
	}
	return b
}

func nestedGroups(num protowire.Number, depth int) (b []byte) {
	for range depth {
		b = protowire.AppendTag(b, num, protowire.StartGroupType)
	}
	for range depth {
		b = protowire.AppendTag(b, num, protowire.EndGroupType)
	}
	return b
}

// TestRefused: what is no message of the schema is refused with a code, and quotes nothing.
func TestRefused(t *testing.T) {
	schema := shop(t)
	md := describe(t, schema, "Order")
	for _, tt := range []struct {
		name  string
		doc   []byte
		paths string
		code  string
	}{
		{"cut tag", []byte{0x80}, "order_id", badBytes},
		{"cut varint", []byte{8, 0x80}, "order_id", badBytes},
		{"no varint", []byte{8}, "order_id", badBytes},
		{"endless varint", append([]byte{8}, bytes.Repeat([]byte{0xff}, 11)...), "order_id", badBytes},
		{"endless tag", bytes.Repeat([]byte{0xff}, 11), "order_id", badBytes},
		{"cut bytes", []byte{8<<3 | 2, 5, 'a'}, "order_id", badBytes},
		{"cut length", []byte{8<<3 | 2, 0x80}, "order_id", badBytes},
		{"length of everything", append(protowire.AppendTag(nil, 8, protowire.BytesType), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), "order_id", badBytes},
		{"cut fixed32", []byte{8<<3 | 5, 1, 2, 3}, "order_id", badBytes},
		{"cut fixed64", []byte{4<<3 | 1, 1, 2, 3}, "order_id", badBytes},
		{"field 0", []byte{0, 1}, "order_id", badBytes},
		{"a number that is too large", protowire.AppendVarint(nil, 1<<32), "order_id", badBytes},
		{"wire type 6", []byte{8<<3 | 6}, "order_id", badBytes},
		{"wire type 7", []byte{8<<3 | 7}, "order_id", badBytes},
		{"group without end", protowire.AppendTag(nil, 900, protowire.StartGroupType), "order_id", badBytes},
		{"group 0 in a group", group(900, []byte{0<<3 | 3, 0<<3 | 4}), "order_id", badBytes},
		{"end without group", protowire.AppendTag(nil, 900, protowire.EndGroupType), "order_id", badBytes},
		{"group with another's end", append(protowire.AppendTag(nil, 900, protowire.StartGroupType), protowire.AppendTag(nil, 901, protowire.EndGroupType)...), "order_id", badBytes},
		{"groups in groups", nestedGroups(900, maxGroups+1), "order_id", tooDeep},
		{"a field of another type", enc(1, "x"), "order_id", badBytes},
		{"a text that is a number", enc(5, 1), "currency", badBytes},
		{"elements of another type", enc(15, uint32(1)), "codes", badBytes},
		{"a message that is a number", enc(2, 1), "customer.id", badBytes},
		{"a packed field that is cut", enc(15, "\x80"), "codes", badBytes},
		{"a packed field of texts", enc(2, enc(6, 1)), "customer.tags", badBytes},
		{"a map's key of another type", enc(16, enc(1, 1)), "labels", badBytes},
		{"a map's value of another type", enc(16, enc(2, 1)), "labels", badBytes},
		{"a map that is a number", enc(16, 1), "labels", badBytes},
		{"a cut message", enc(2, []byte{8}), "customer", badBytes},
		{"a cut message within JSON", enc(44, enc(2, []byte{8})), "previous", badBytes},
		{"a cut message below a path", enc(2, enc(4, []byte{9})), "customer.at.lat", badBytes},
		{"another type within JSON", enc(44, enc(1, "x")), "previous", badBytes},
		{"a wrapper of another type", enc(31, enc(1, "x")), "wrapped", badBytes},
		{"a timestamp of another type", enc(7, enc(1, "x")), "placed_at", badBytes},
		{"a mask of another type", enc(36, enc(1, 1)), "mask", badBytes},
		{"an Any of another type", enc(35, enc(1, 1)), "any", badBytes},
		{"invalid UTF-8", enc(5, "\xff"), "currency", badCharacter},
		{"invalid UTF-8 within JSON", enc(2, enc(6, "\xff")), "customer.tags", badCharacter},
		{"invalid UTF-8 in a key", enc(16, enc(1, "\xed\xa0\x80")), "labels", badCharacter},
		{"invalid UTF-8 in a mask", enc(36, enc(1, "\xff")), "mask", badCharacter},
		{"invalid UTF-8 in a decimal", enc(39, enc(1, "\xff")), "exact", badCharacter},
		{"invalid UTF-8 in an Any", enc(35, enc(1, "\xff")), "any", badCharacter},
		{"too deep", nested(44, maxDepth+1), "previous", tooDeep},
		{"a timestamp that is none", wire(t, md, `placed_at { nanos: -1 }`), "placed_at", badRange},
		{"a second too many", wire(t, md, `placed_at { nanos: 1000000000 }`), "placed_at", badRange},
		{"before year 1", wire(t, md, `placed_at { seconds: -62135596801 }`), "placed_at", badRange},
		{"after year 9999", wire(t, md, `placed_at { seconds: 253402300800 }`), "placed_at", badRange},
		{"a duration with two signs", wire(t, md, `took { seconds: 1 nanos: -1 }`), "took", badRange},
		{"a duration without end", wire(t, md, `took { seconds: 315576000001 }`), "took", badRange},
		{"a date without a day", wire(t, md, `day { year: 2026 month: 2 }`), "day", badRange},
		{"no date", wire(t, md, `day { year: 2026 month: 2 day: 29 }`), "day", badRange},
		{"a time beyond the day", wire(t, md, `opens { hours: 24 nanos: 1 }`), "opens", badRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			paths := strings.Fields(tt.paths)
			p := own(t, schema, "Order", paths...)
			got, err := show(t, p, len(paths), tt.doc, nil)
			if code(err) != tt.code {
				t.Errorf("got %.100s, %v, want %s", got, err, tt.code)
			}
			if r, ok := err.(*event.Refusal); ok && !r.Plain {
				t.Errorf("%v may quote the record", err)
			}
			// Nothing is left behind.
			if got, err := show(t, p, len(paths), nil, nil); err != nil || strings.Contains(got, "-") {
				t.Errorf("the next one: got %s, %v", got, err)
			}
		})
	}
	if got, err := show(t, own(t, schema, "Order", "previous"), 1, nested(44, maxDepth-1), nil); err != nil || len(got) < maxDepth {
		t.Errorf("as deep as may be: got %.100s, %v", got, err)
	}
	if got, err := show(t, own(t, schema, "Order", "order_id"), 1, nestedGroups(900, maxGroups), nil); err != nil {
		t.Errorf("as many groups as may be: got %.100s, %v", got, err)
	}
}

// TestLimits: what a record makes of itself is bounded, and one leaves nothing to the next.
func TestLimits(t *testing.T) {
	const limit = 10_000
	var byNumber []byte
	for n := range 500 {
		byNumber = append(byNumber, enc(17, enc(1, n))...)
	}
	for _, tt := range []struct {
		name, path string
		doc        []byte
	}{
		{"elements", "lines", bytes.Repeat(enc(14, ""), 500)},
		{"elements of elements", "previous", enc(44, enc(44, bytes.Repeat(enc(14, ""), 500)))},
		{"packed elements", "history", enc(42, strings.Repeat("\x01", 1000))},
		{"entries", "by_number", byNumber},
		{"pieces", "previous.order_id", bytes.Repeat(enc(44, bytes.Repeat([]byte{8, 1}, 500)), 11)},
	} {
		p := own(t, shop(t), "Order", tt.path)
		if got, err := show(t, p, 1, tt.doc, nil); err != nil {
			t.Errorf("%s: got %.100s, %v, want no limit of %d", tt.name, got, err, limit)
		}
		p.limit = limit
		if got, err := show(t, p, 1, tt.doc, nil); code(err) != tooLarge {
			t.Errorf("%s: got %.100s, %v, want %s", tt.name, got, err, tooLarge)
		}
	}
	p, sc, values := own(t, shop(t), "Order", "previous.order_id", "customer"), &scratch{limit: limit}, make([]event.Value, 2)
	for range 1000 {
		var arena []byte
		if err := sc.top(p.own.pinned, bytes.Repeat(enc(44, enc(1, 300)), 10), values, &arena); err != nil || values[0].N != 300 {
			t.Fatalf("got %v, %v", values[0], err)
		}
		sc.release()
		if err := sc.top(p.own.pinned, enc(2, enc(4, enc(1, "x"))), values, &arena); code(err) != badBytes {
			t.Fatalf("got %v", err)
		}
		sc.release()
	}
	if len(sc.slots)+len(sc.seen)+len(sc.entries) > 0 {
		t.Errorf("%d slots, %d fields and %d entries are left", len(sc.slots), len(sc.seen), len(sc.entries))
	}
}
