package source

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/fields"
)

func TestParseSource(t *testing.T) {
	for _, tt := range []struct {
		from, def string
		want      Source
	}{
		{"", "id", Source{Path: "id"}},
		{"", "a.b", Source{Path: `a\.b`}},
		{"", `a\b`, Source{Path: `a\\b`}},
		{"", "$topic", Source{Path: "$topic"}},
		{"customer.id", "id", Source{Path: "customer.id"}},
		{"_id.$oid", "id", Source{Path: "_id.$oid"}},
		{"$topic", "id", Source{Meta: Topic}},
		{"$partition", "id", Source{Meta: Partition}},
		{"$offset", "id", Source{Meta: Offset}},
		{"$timestamp", "id", Source{Meta: Timestamp}},
		{"$value", "id", Source{Meta: Value}},
		{"$key", "id", Source{Meta: Key}},
		{"$key.customer.id", "id", Source{Meta: Key, Path: "customer.id"}},
		{"$header.trace.id", "id", Source{Meta: Header, Header: "trace.id"}},
		{"$schema", "id", Source{Meta: Schema}},
		{"$envelope.source.lsn", "id", Source{Meta: Envelope, Path: "source.lsn"}},
	} {
		got, err := Parse(tt.from, tt.def)
		if err != nil || got != tt.want {
			t.Errorf("Parse(%q, %q) = %+v, %v, want %+v", tt.from, tt.def, got, err, tt.want)
		}
	}
	for _, from := range []string{"$", "$Topic", "$offset.x", "$value.x", "$key.", "$key..a", "$header", "$header.", "$envelope", "$envelope.", "a.", `a\`, "."} {
		if got, err := Parse(from, "id"); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", from, got)
		}
	}
	_, err := Parse("$stamp", "id")
	for _, name := range ofRecord {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
	_, err = ParseChild("$stamp", "id")
	for _, name := range append(ofRecord, ofChild...) {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
}

// FuzzParseSource: a source that is accepted can be compiled, and a name without
// a configuration is always one field.
func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"a.b", "$key.a", "$header.x", `a\.b`, "$", "$offset", "", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if src, err := Parse(s, "x"); err == nil && src.Path != "" {
			if _, err := fields.New([]string{src.Path}); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
		src, err := Parse("", s)
		if (err == nil) != (s != "") {
			t.Fatalf("column %q: %v", s, err)
		}
		if err != nil {
			return
		}
		if set, err := fields.New([]string{src.Path}); err != nil || set.Len() != 1 || src.Meta != Field {
			t.Errorf("column %q: %+v, %v", s, src, err)
		}
	})
}
