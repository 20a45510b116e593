package avro

import (
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

// TestShape: what schemas say, also those that lead back to themselves. Most types are in the tables of package ddl.
func TestShape(t *testing.T) {
	s, err := Shape(event.Schema{Text: `{"type": "record", "name": "Node", "fields": [
		{"name": "next", "type": ["null", "Node"]},
		{"name": "by", "type": {"type": "map", "values": {"type": "record", "name": "By", "fields": [{"name": "at", "type": "long"}]}}},
		{"name": "several", "type": ["By", "Node"]},
		{"name": "any", "type": ["int", "string", "null"]},
		{"name": "id", "type": "int"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path []string
		want event.Kind // Absent: nobody can say
		said string
	}{
		{nil, event.Object, "record Node"},
		{[]string{"id"}, event.Int, "int"},
		{[]string{"next"}, event.Object, "record Node"},
		{[]string{"next", "next", "next", "id"}, event.Int, "int"},
		{[]string{"by"}, event.Object, "map of record By"},
		{[]string{"by", "whoever", "at"}, event.Int, "long"},
		{[]string{"several"}, event.Object, "record By or record Node"},
		{[]string{"any"}, event.Absent, "int or string"},
	} {
		got := s.At(tt.path...)
		if got == nil || got.Kind != tt.want || got.Said != tt.said {
			t.Errorf("%v: got %+v, want kind %d, %s", tt.path, got, tt.want, tt.said)
		}
	}
	for _, path := range [][]string{{"nothing"}, {"id", "x"}, {"next", "nothing"}} {
		if got := s.At(path...); got != nil {
			t.Errorf("%v: got %+v, want nothing", path, got)
		}
	}
	if _, err := Shape(event.Schema{Text: `{"type": "record"}`}); err == nil {
		t.Error("of a schema that is none: no error")
	}
}
