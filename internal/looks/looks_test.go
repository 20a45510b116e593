package looks_test

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/looks"
)

func TestLike(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   string // a part of it; "": nothing is said
	}{
		{[]string{"\x00\x00\x00\x00\x07\x02a", "\x00\x00\x00\x00\x07\x04bb"}, "schema registry"},
		{[]string{"Obj\x01\x04"}, "Avro files"},
		{[]string{"\x1f\x8b\x08"}, "gzip"},
		{[]string{`{"before":null,"after":{"id":1},"source":{},"op":"c"}`}, "change events of Debezium"},
		{[]string{`{"schema":{},"payload":{"before":null,"after":{"id":1},"source":{},"op":"c"}}`}, "`from: payload.after.id`"},
		{[]string{`{"schema":{},"payload":{"id":1}}`}, "`from: payload.id`"},
		{[]string{`{"schema":{"type":"struct"},"payload":{"id":1}}`}, "JSON of Kafka Connect"},
		{[]string{"\x00\x00\x00\x00\x07{}"}, "JSON of a schema registry"},
		{[]string{`{"specversion":"1.0","type":"x","source":"y","data":{}}`}, "CloudEvents"},
		{[]string{`{"b":1,"a":2,"x y":3}`, `{"a":1,"b":2,"c":3}`}, "JSON objects with the fields a, b"},
		{[]string{`{"a":1}`, `{"b":1}`}, "no field in common"},
		{[]string{`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}`}, "a, b, c, d, e, f, g, h and more"},
		{[]string{`[1]`}, "arrays"}, {[]string{`"{}"`}, "encoded twice"}, {[]string{`7`}, "single JSON values"}, {[]string{`null`}, "single JSON values"},
		{[]string{`{"a":`}, "cut off"}, {[]string{`a;b;c`}, "text that is no JSON"}, {[]string{"<a/>"}, "XML"}, {[]string{"\xff\xfe"}, "binary"}, {[]string{""}, "empty"}, {[]string{" "}, "no JSON"},
		{[]string{`{"a":1}`, `[1]`}, ""}, {nil, ""},
	} {
		values := make([][]byte, 0, len(tt.values)+1)
		for _, v := range tt.values {
			values = append(values, []byte(v))
		}
		got := looks.Like(append(values, nil))
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%q look like %q, want %q", tt.values, got, tt.want)
		}
	}
}

// What reads records is said where something does.
func TestSetting(t *testing.T) {
	for value, want := range map[string]string{
		"\x00\x00\x00\x00\x07\x02a": "`topics: {a.b: {format: avro}}`, or format: protobuf, and `registry:", "\xff\xfe": "if their headers name a schema",
		"\x00\x00\x00\x00\x07{}": "{format: connect-json}", `{"schema":{"type":"struct"},"payload":{"id":1}}`: "{format: connect-json}",
		`{"after":{},"source":{},"op":"c"}`: "{envelope: debezium}", `{"schema":{"type":"struct"},"payload":{"after":{},"source":{},"op":"c"}}`: "{envelope: debezium}",
		`{"schema":{},"payload":{"id":1}}`: "", "<a/>": "", `{"a":1}`: "",
	} {
		if got := looks.Setting("a.b", looks.Like([][]byte{[]byte(value)})); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

// Nothing of a value is said, whatever it is.
func FuzzLike(f *testing.F) {
	f.Add([]byte(`{"canary":1}`))
	f.Add([]byte("\x00\x00\x00\x00\x01canary"))
	f.Fuzz(func(t *testing.T, v []byte) {
		if got := looks.Like([][]byte{v}); len(got) > 600 {
			t.Errorf("said %q", got)
		}
	})
}

func TestRows(t *testing.T) {
	for _, tt := range []struct {
		objects []string
		base    string
		change  bool
	}{
		{[]string{`{"a":1}`}, "", false},
		{[]string{`{"before":null,"after":{},"source":{},"op":"c"}`, `{"before":{},"source":{},"op":"d"}`}, "after", true},
		{[]string{`{"schema":{},"payload":{"after":{},"source":{},"op":"c"}}`}, "payload.after", true},
		{[]string{`{"schema":{},"payload":{"id":1}}`}, "payload", false},
		{[]string{`{"specversion":"1.0","type":"x","source":"y","data":{}}`}, "data", false},
		{[]string{`{"schema":{},"payload":{"id":1}}`, `{"id":1}`}, "", false},
	} {
		var objects [][]byte
		for _, o := range tt.objects {
			objects = append(objects, []byte(o))
		}
		if base, change := looks.Rows(objects); strings.Join(base, ".") != tt.base || change != tt.change {
			t.Errorf("%q: got %v, %v", tt.objects, base, change)
		}
	}
}
