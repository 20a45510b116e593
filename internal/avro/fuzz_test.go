package avro

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/avro"

	"github.com/oncesink/oncesink/internal/event"
)

// fuzzed are schemas without logical types, whose values the library hands out as they are.
var fuzzed = []string{
	orderSchema,
	`["null","boolean","int","long","float","double","string","bytes",{"type":"fixed","name":"F","size":3},{"type":"enum","name":"E","symbols":["A","B","C"]}]`,
	`{"type":"record","name":"T","fields":[{"name":"v","type":"int"},{"name":"l","type":["null","T"]},{"name":"all","type":{"type":"array","items":"T"}}]}`,
	`{"type":"map","values":{"type":"array","items":["null","string",{"type":"map","values":"double"}]}}`,
	`{"type":"record","name":"R","fields":[{"name":"a","type":"float"},{"name":"b","type":"bytes"},{"name":"c","type":{"type":"array","items":"boolean"}},{"name":"d","type":["string","null"]}]}`,
	`{"type":"array","items":{"type":"record","name":"N","fields":[{"name":"n","type":"null"}]}}`,
}

// plain makes of what the library decoded what JSON makes of what this package writes.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for name, x := range v {
			m[name] = plain(x)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = plain(x)
		}
		return list
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case float32:
		return number(float64(v), 32)
	case float64:
		return number(v, 64)
	case int32:
		return float64(v)
	case int64:
		return float64(v)
	}
	if r := reflect.ValueOf(v); r.IsValid() && r.Kind() == reflect.Array { // a fixed
		b := make([]byte, r.Len())
		reflect.Copy(reflect.ValueOf(b), r)
		return base64.StdEncoding.EncodeToString(b)
	}
	return v
}

// number is a float as [event.Value.AppendJSON] writes it, and JSON reads it.
func number(f float64, bits int32) any {
	text, _ := event.Value{Kind: event.Float, Scale: bits, N: int64(math.Float64bits(f))}.AppendJSON(nil)
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		panic(err)
	}
	return v
}

// FuzzDecode reads any bytes with the library and with this package: both read them, as the same, or neither does.
func FuzzDecode(f *testing.F) {
	f.Add(byte(0), encode(f, orderSchema, orderOf("x")))
	f.Add(byte(0), encode(f, orderSchema, orderOf([]any{map[string]any{"name": "C", "email": nil}})))
	for _, v := range []any{nil, true, int32(7), int64(-7), float32(0.5), math.Inf(1), "x", []byte{1}, "B"} {
		f.Add(byte(1), encode(f, fuzzed[1], v))
	}
	f.Add(byte(2), unhex(f, "02 02 04 02 06 00 00 00 02 08 00 00 00"))
	f.Add(byte(3), unhex(f, "02 0261 04 02 0278 04 00 00 00"))
	f.Add(byte(3), unhex(f, "01 0e 0261 03 06 02 0278 00 00 00"))
	f.Add(byte(4), unhex(f, "00000000 0401ff 04010000 0002"))
	f.Add(byte(5), unhex(f, "0600"))
	var schemas []*avro.Schema
	for _, s := range fuzzed {
		schemas = append(schemas, avro.MustParse(s))
	}
	f.Fuzz(func(t *testing.T, which byte, doc []byte) {
		n := int(which) % len(fuzzed)
		given := &event.Schema{Text: fuzzed[n]}
		paths := []string{"", "id", "customer.name", "shipping.email", "any", "l.l.v", "v", "a", "d", event.SchemaName}
		whole, err := New(Options{Schema: given}).Plan(paths)
		if err != nil {
			t.Fatal(err)
		}
		values, arena := make([]event.Value, len(paths)), []byte(nil)
		failed := whole.Read(doc, headers{}, values, &arena)
		// The library skips a block that says its size by that, and finds more to be too much: these may differ.
		var decoded any
		rest, libraryFailed := schemas[n].Decode(doc, &decoded)
		if failed != nil {
			if libraryFailed != nil || len(rest) > 0 {
				return
			}
			for _, strict := range []string{"invalid UTF-8", "take no byte", "nested too deeply", "another length", "neither 0 nor 1", "of more than 32 bits", "of more than 64 bits"} {
				if strings.Contains(failed.Error(), strict) {
					return
				}
			}
			t.Fatalf("refused, where the library reads %v: %v", decoded, failed)
		}
		if libraryFailed != nil && strings.Contains(libraryFailed.Error(), "zero-byte items exceeds") {
			return
		}
		if libraryFailed != nil || len(rest) > 0 {
			t.Fatalf("read, where the library says %v, with %d bytes left", libraryFailed, len(rest))
		}
		// Without the whole the same values are found.
		few, err := New(Options{Schema: given}).Plan(paths[1:])
		if err != nil {
			t.Fatal(err)
		}
		again := make([]event.Value, len(paths)-1)
		if err := few.Read(doc, headers{}, again, &arena); err != nil {
			t.Fatalf("refused without the whole: %v", err)
		}
		if !reflect.DeepEqual(values[1:], again) && say(t, values[1:]) != say(t, again) {
			t.Fatalf("%s, and without the whole %s", say(t, values[1:]), say(t, again))
		}
		text, err := values[0].AppendJSON(nil)
		if err != nil {
			return // a text that is no UTF-8
		}
		var got any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if want := plain(decoded); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %s, want %v", text, want)
		}
	})
}
