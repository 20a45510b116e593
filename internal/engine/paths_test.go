package engine

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/fields"
)

func TestParseSource(t *testing.T) {
	for _, tt := range []struct {
		from, def string
		want      source
	}{
		{"", "id", source{path: "id"}},
		{"", "a.b", source{path: `a\.b`}},
		{"", `a\b`, source{path: `a\\b`}},
		{"", "$topic", source{path: "$topic"}},
		{"customer.id", "id", source{path: "customer.id"}},
		{"_id.$oid", "id", source{path: "_id.$oid"}},
		{"$topic", "id", source{meta: metaTopic}},
		{"$partition", "id", source{meta: metaPartition}},
		{"$offset", "id", source{meta: metaOffset}},
		{"$timestamp", "id", source{meta: metaTimestamp}},
		{"$value", "id", source{meta: metaValue}},
		{"$key", "id", source{meta: metaKey}},
		{"$key.customer.id", "id", source{meta: metaKey, path: "customer.id"}},
		{"$header.trace.id", "id", source{meta: metaHeader, header: "trace.id"}},
	} {
		got, err := parseSource(tt.from, tt.def)
		if err != nil || got != tt.want {
			t.Errorf("parseSource(%q, %q) = %+v, %v, want %+v", tt.from, tt.def, got, err, tt.want)
		}
	}
	for _, from := range []string{"$", "$Topic", "$offset.x", "$value.x", "$key.", "$key..a", "$header", "$header.", "a.", `a\`, "."} {
		if got, err := parseSource(from, "id"); err == nil {
			t.Errorf("parseSource(%q) = %+v, want an error", from, got)
		}
	}
	_, err := parseSource("$stamp", "id")
	for _, name := range strings.Split(metaSources, ", ") {
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
		if src, err := parseSource(s, "x"); err == nil && src.path != "" {
			if _, err := fields.New([]string{src.path}); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
		src, err := parseSource("", s)
		if (err == nil) != (s != "") {
			t.Fatalf("column %q: %v", s, err)
		}
		if err != nil {
			return
		}
		if set, err := fields.New([]string{src.path}); err != nil || set.Len() != 1 || src.meta != metaField {
			t.Errorf("column %q: %+v, %v", s, src, err)
		}
	})
}
