package avro

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/avro"

	"github.com/oncesink/oncesink/internal/event"
)

type headers map[string][]byte

func (h headers) Header(name string) ([]byte, bool) {
	v, ok := h[name]
	return v, ok
}

// framed puts a payload behind the id 7.
func framed(payload []byte) []byte { return append([]byte{0, 0, 0, 0, 7}, payload...) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// encode writes a value with the library.
func encode(t testing.TB, schema string, v any) []byte {
	t.Helper()
	s, err := avro.Parse(schema)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// planOf compiles paths, and learns a schema as id 7.
func planOf(t testing.TB, f event.Format, schema string, paths ...string) event.Plan {
	t.Helper()
	p, err := f.Plan(paths)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Learn(event.SchemaRef{Space: "id", ID: "7"}, event.Schema{Type: "AVRO", Text: schema}); err != nil {
		t.Fatal(err)
	}
	return p
}

var kindNames = map[event.Kind]string{
	event.Absent: "absent", event.Null: "null", event.Unavailable: "unavailable", event.Bool: "bool", event.Int: "int", event.Float: "float", event.Text: "text",
	event.Bytes: "bytes", event.Decimal: "decimal", event.Date: "date", event.Time: "time", event.Timestamp: "timestamp",
	event.TimestampTZ: "timestamptz", event.Infinity: "infinity", event.Object: "object", event.Array: "array",
}

// say renders values: their kinds, and their texts, or those of containers.
func say(t testing.TB, values []event.Value) string {
	t.Helper()
	var said []string
	for i := range values {
		v := &values[i]
		name, ok := kindNames[v.Kind]
		if !ok {
			t.Fatalf("a value of kind %d", v.Kind)
		}
		switch v.Kind {
		case event.Absent, event.Null, event.Unavailable:
		case event.Object, event.Array:
			name += " " + string(v.Raw)
		case event.Bytes:
			name += fmt.Sprintf(" %x", v.Raw)
		default:
			text, err := v.AppendText(nil)
			if err != nil {
				t.Fatal(err)
			}
			name += " " + string(text)
		}
		said = append(said, name)
	}
	return strings.Join(said, "; ")
}

// read reads one record behind a plan, and says its values or its refusal.
func read(t testing.TB, p event.Plan, doc []byte, paths int) string {
	t.Helper()
	values, arena := make([]event.Value, paths), []byte("kept")
	if err := p.Read(doc, headers{}, values, &arena); err != nil {
		var refusal *event.Refusal
		if !errors.As(err, &refusal) {
			t.Fatalf("%v is no refusal", err)
		}
		return "!" + refusal.Code + " " + refusal.Message
	}
	if string(arena[:4]) != "kept" {
		t.Fatal("the arena was written to")
	}
	return say(t, values)
}
