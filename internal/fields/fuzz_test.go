package fields

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/event"
)

// FuzzExtract compares with encoding/json, which decodes into maps. It takes some
// documents that Extract refuses, and never the other way around.
func FuzzExtract(f *testing.F) {
	for _, doc := range []string{
		order, escapedOrder, string(envelopes(f)[0]), string(wide(70)), `{"\u0061":{"b\\":"\"\/\b\f\n\r\t"},"\ud83d\ude00":1}`, `{"\u0061":1,"a":2}`, `{"a":"\ud83d\u0041","b":"\udc00"}`, "{\"a\":\"\\n\xff\"}", `{"a":{"b":{"c":1}}}`, `{"a":{"b":null},"b":"x"}`, `{"a":[{"b":1}]}`, `{"a":"\ud83d\ude00\u0000"}`, `{"\u0061":1}`,
		`{"a":1,"a":2}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":1e400,"b":-12.50}`, ` [] `, `null`, `1 2`, `{"a.b":1}`, `{"":{"":{}}}`, `{"a":{"b":{},"c":[]},"b":{"c":1}}`,
	} {
		for _, paths := range []string{"a\na.b\na.b.c\nb", "order_id\ncustomer\ncustomer.id", `a\.b`} {
			f.Add([]byte(doc), paths)
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, list string) {
		paths := strings.Split(list, "\n")
		s, err := New(paths)
		if err != nil {
			return
		}
		values := make([]event.Value, s.Len())
		refused := s.Extract(doc, values)
		if p := (plain{doc: doc, values: make([]event.Value, s.Len())}); p.extract(&s.root) {
			// What is plain is nothing else than what the library makes of it.
			slow := make([]event.Value, s.Len())
			if err := s.extract(doc, slow); err != nil || !reflect.DeepEqual(slow, p.values) {
				t.Fatalf("plain, but the library says %v, %v: %v", err, slow, p.values)
			}
		}
		tree, err := decodeAll(doc)
		if refused != nil {
			if err == nil && utf8.Valid(doc) && !bytes.Contains(doc, []byte(`\u`)) && len(doc) < 1000 && !repeats(doc) {
				t.Fatalf("refused without a reason: %v", refused)
			}
			return
		}
		if err != nil {
			t.Fatalf("accepted: %v", err)
		}
		if !utf8.Valid(doc) {
			t.Fatal("accepted invalid UTF-8")
		}
		for i, path := range paths {
			names, _ := Split(path)
			want, ok := walk(tree, names)
			v := values[i]
			if ok != (v.Kind != event.Absent) {
				t.Fatalf("path %q: kind %d, there: %v", path, v.Kind, ok)
			}
			if !ok {
				continue
			}
			got, err := decodeAll(v.Raw)
			if err != nil {
				t.Fatalf("path %q: raw %q: %v", path, v.Raw, err)
			}
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			if !bytes.Equal(a, b) || kindOf(want) != v.Kind {
				t.Fatalf("path %q: got %s (kind %d), want %s", path, a, v.Kind, b)
			}
			if v.Short && (v.Kind != event.Number || !exactly(v)) {
				t.Fatalf("path %q: %s is said to be %d, with %d digits after the point", path, v.Raw, v.N, v.Scale)
			}
			if v.Kind == event.String {
				if text, err := AppendString(nil, v.Raw); err != nil || string(text) != want {
					t.Fatalf("path %q: got %q, %v, want %q", path, text, err, want)
				}
			}
		}
	})
}

func decodeAll(doc []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, io.ErrUnexpectedEOF
	}
	return v, nil
}

func walk(v any, names []string) (any, bool) {
	for _, name := range names {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

// repeats reports whether an object repeats a name.
func repeats(doc []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	type level struct {
		names map[string]bool // nil in an array
		value bool            // the next string is not a name
	}
	stack := []level{{}}
	for {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		top := &stack[len(stack)-1]
		if name, ok := tok.(string); ok && top.names != nil && !top.value {
			if top.names[name] {
				return true
			}
			top.names[name], top.value = true, true
			continue
		}
		top.value = false
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{names: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}

func kindOf(v any) event.Kind {
	switch v.(type) {
	case nil:
		return event.Null
	case bool:
		return event.Bool
	case json.Number:
		return event.Number
	case string:
		return event.String
	case []any:
		return event.Array
	}
	return event.Object
}
