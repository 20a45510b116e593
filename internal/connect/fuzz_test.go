package connect

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// checked reads a document twice, once with a schema that is new, and sees that values are sound.
func checked(t *testing.T, p event.Plan, doc []byte, n int) ([]event.Value, error) {
	var first []string
	var failed string
	for range 2 {
		values, arena := make([]event.Value, n), []byte("kept")
		err := p.Read(doc, none{}, values, &arena)
		var r *event.Refusal
		if err != nil && !errors.As(err, &r) {
			t.Fatalf("%s: an error that is no refusal: %v", doc, err)
		}
		if string(arena[:4]) != "kept" {
			t.Fatalf("%s: the arena was written to", doc)
		}
		if err != nil {
			if failed = err.Error(); first != nil {
				t.Fatalf("%s: refused the second time: %v", doc, err)
			}
			continue
		}
		if failed != "" {
			t.Fatalf("%s: refused the first time: %s", doc, failed)
		}
		var said []string
		for _, v := range values {
			if v.Kind == event.Object || v.Kind == event.Array || v.Kind == event.String || v.Kind == event.Number || v.Kind == event.Bool {
				if !json.Valid(v.Raw) {
					t.Fatalf("%s: %s is no JSON", doc, v.Raw)
				}
			}
			said = append(said, say(v))
		}
		if first != nil && fmt.Sprint(first) != fmt.Sprint(said) {
			t.Fatalf("%s: first %s, then %s", doc, first, said)
		}
		first = said
	}
	values, arena := make([]event.Value, n), []byte(nil)
	return values, p.Read(doc, none{}, values, &arena)
}

// FuzzRead: no document makes it panic, and none is read in two ways.
func FuzzRead(f *testing.F) {
	// Small ones: those of a real Debezium take the fuzzer minutes to make smaller.
	const row = `{"type":"struct","fields":[{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"n"},{"type":"bytes","field":"b"},{"type":"array","items":{"type":"int32","name":"io.debezium.time.Date"},"field":"p"}],"optional":true,"field":"after"}`
	f.Add([]byte(`{"schema":{"type":"struct","fields":[` + row + `,{"type":"string","field":"op"}]},"payload":{"after":{"n":"BNI=","b":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==","p":[1,null]},"op":"u"}}`))
	f.Add([]byte(`{"payload":{"after":null,"op":"d"},"schema":{"type":"struct","fields":[` + row + `]}}`))
	f.Add([]byte(`{"after":{"n":"BNI=","b":"__debezium_unavailable_value","nv":{"scale":38,"value":"ESIQ9H3pgRU="}},"op":"u"}`))
	f.Add([]byte(`{"schema":{"type":"map","keys":{"type":"int32"},"values":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}},"payload":[[1,"AQ=="]]}`))
	f.Add([]byte("\x00\x00\x00\x00\x01{}"))
	placeholder, _ := NewPlaceholder(DefaultPlaceholder)
	paths := []string{"", "after", "after.n", "after.p", "after.nv", "after.b", "id", "op"}
	f.Fuzz(func(t *testing.T, doc []byte) {
		_, _ = checked(t, plans(t, JSON{Placeholder: placeholder}, paths...), doc, len(paths))
	})
}

// FuzzSchema: a schema of any kind, with a payload of any kind. What is not converted is as it is without a schema, and what
// is no schema makes a document of two fields.
func FuzzSchema(f *testing.F) {
	for name := range types {
		for _, doc := range []string{`{"a":1}`, `"AQ=="`, `[1,"x"]`, `{"a":{"scale":1,"value":"AQ=="}}`} {
			f.Add(`{"type":"struct","fields":[{"type":"int64","name":"io.debezium.`+name+`","parameters":{"scale":"2","length":"5"},"field":"a"}]}`, doc)
			f.Add(`{"type":"array","items":{"type":"bytes","name":"io.debezium.`+name+`","parameters":{"length":"5"}}}`, doc)
		}
	}
	f.Add(`{"type":"map","keys":{"type":"string"},"values":{"type":"struct","fields":[{"type":"bytes","field":"a"}]}}`, `{"a":{"a":"AP8="}}`)
	f.Fuzz(func(t *testing.T, schema, payload string) {
		paths := []string{"", "a", "a.a"}
		doc := `{"schema":` + schema + `,"payload":` + payload + `}`
		values, err := checked(t, plans(t, JSON{}, paths...), []byte(doc), len(paths))
		if err != nil {
			return
		}
		// With the members the other way around it is the same.
		var whole map[string]json.RawMessage
		if json.Unmarshal([]byte(doc), &whole) != nil || len(whole) != 2 || whole["schema"] == nil || whole["payload"] == nil || parse(whole["schema"]) == nil {
			return
		}
		other, err := checked(t, plans(t, JSON{}, paths...), fmt.Appendf(nil, `{"payload":%s,"schema":%s}`, whole["payload"], whole["schema"]), len(paths))
		if err != nil {
			t.Fatalf("%s: the other way around: %v", doc, err)
		}
		bare := make([]event.Value, len(paths))
		if err := plans(t, fields.JSON{}, paths...).Read(whole["payload"], none{}, bare, nil); err != nil {
			t.Fatalf("%s: without its schema: %v", doc, err)
		}
		s := parse(whole["schema"])
		for i := range paths {
			if say(values[i]) != say(other[i]) || values[i].Kind != other[i].Kind {
				t.Fatalf("%s at %q: got %s, and the other way around %s", doc, paths[i], say(values[i]), say(other[i]))
			}
			if at := s.at([][]string{nil, {"a"}, {"a", "a"}}[i]); at.same() && (say(values[i]) != say(bare[i]) || values[i].Short != bare[i].Short) {
				t.Fatalf("%s at %q: got %s, without a schema %s", doc, paths[i], say(values[i]), say(bare[i]))
			}
		}
	})
}

// FuzzType: whatever a value is, a type reads or refuses it, and what it makes can be written.
func FuzzType(f *testing.F) {
	for name := range types {
		f.Add(name, "5", `"AQ=="`)
		f.Add(name, "2", `{"scale":1,"value":"AQ==","x":1,"y":2,"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAABA","srid":1,"dimensions":3,"vector":[[1,2]],"year":1,"month":2,"second":1,"picoseconds":3}`)
		f.Add(name, "2", `-1767323045678901`)
	}
	f.Fuzz(func(t *testing.T, name, parameter, doc string) {
		set, err := fields.JSON{}.Plan([]string{""})
		if err != nil {
			t.Fatal(err)
		}
		values := make([]event.Value, 1)
		if set.Read([]byte(doc), none{}, values, nil) != nil {
			return
		}
		for _, prefix := range []string{"", "io.debezium.", "org.apache.kafka.connect."} {
			typ, ok := TypeOf(prefix+name, map[string]string{"scale": parameter, "length": parameter})
			if !ok {
				continue
			}
			v, arena := values[0], []byte("kept")
			err := typ.Value(&v, &arena)
			var r *event.Refusal
			if err != nil && !errors.As(err, &r) || string(arena[:4]) != "kept" {
				t.Fatalf("%s of %s: %v", name, doc, err)
			}
			if err != nil {
				continue
			}
			if b, err := v.AppendJSON(nil); err == nil && !json.Valid(b) {
				t.Fatalf("%s of %s: %s is no JSON", name, doc, b)
			} else if err != nil && !errors.As(err, &r) {
				t.Fatalf("%s of %s: %v", name, doc, err)
			}
		}
	})
}
