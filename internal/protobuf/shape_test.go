package protobuf

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

// TestShape: which message of a schema it is, and paths into it. Most types are in the tables of package ddl.
func TestShape(t *testing.T) {
	const two = `syntax = "proto3"; package p; message A { int64 id = 1; A self = 2; map<string, A> by = 3; string net_total = 4; } message B { string id = 1; message C {} }`
	for _, tt := range []struct{ text, message, want string }{
		{two, "A", "p.A"}, {two, "p.B", "p.B"}, {two, "C", "p.B.C"},
		{two, "", "the schema has several messages: name the topic's as `message:`, one of p.A, p.B"},
		{two, "D", "no message has the name D"},
		{`syntax = "proto3";`, "", "the schema has no message"},
		{`syntax = "proto3"; message A { int64 id = 1; }`, "", "A"},
		{`no`, "", "compile Protobuf schema"},
	} {
		s, err := Shape(event.Schema{Text: tt.text}, tt.message)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = s.Said
		}
		if err == nil && got != tt.want || !strings.HasPrefix(got, tt.want) {
			t.Errorf("message %q of %s: got %s, want %s", tt.message, tt.text, got, tt.want)
		}
	}
	s, err := Shape(event.Schema{Text: two}, "A")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.At("self", "by", "x", "self", "netTotal"); got == nil || got.Kind != event.Text {
		t.Errorf("got %+v", got)
	}
}
