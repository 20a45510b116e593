package connect

import (
	"testing"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// BenchmarkRead: an update of a row of 33 columns, of which all are read, and what an envelope says beside.
func BenchmarkRead(b *testing.B) {
	placeholder, _ := NewPlaceholder(DefaultPlaceholder)
	for _, bb := range []struct {
		name    string
		f       event.Format
		form    string
		columns []string
	}{
		{"fields", fields.JSON{}, "plain", columns},
		{"plain", JSON{Placeholder: placeholder}, "plain", columns},
		{"schema", JSON{Placeholder: placeholder}, "schema", columns},
		{"fields-9", fields.JSON{}, "plain", columns[:9]},
		{"plain-9", JSON{Placeholder: placeholder}, "plain", columns[:9]},
		{"schema-9", JSON{Placeholder: placeholder}, "schema", columns[:9]},
	} {
		b.Run(bb.name, func(b *testing.B) {
			paths := []string{"op", "source.ts_ms"}
			for _, c := range bb.columns {
				paths = append(paths, "after."+c)
			}
			doc := []byte(envelopes(b, bb.form)[1])
			p := plans(b, bb.f, paths...)
			values, arena := make([]event.Value, len(paths)), make([]byte, 0, 1<<12)
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				arena = arena[:0]
				if err := p.Read(doc, none{}, values, &arena); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
