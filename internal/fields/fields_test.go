package fields

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

func extract(t *testing.T, doc string, paths ...string) ([]event.Value, error) {
	t.Helper()
	s, err := New(paths)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]event.Value, s.Len())
	for i := range values {
		values[i] = event.Value{Kind: event.Array, Raw: []byte("stale")}
	}
	err = s.Extract([]byte(doc), values)
	return values, err
}

// Rule 27: names match byte for byte, and values come as they are.
func TestExtract(t *testing.T) {
	for _, tt := range []struct {
		name, doc string
		paths     []string
		want      string // kind:raw, separated by spaces; - is Absent
	}{
		{"scalars", `{"a":1,"b":"x","c":null,"d":true,"e":false,"f":[1, 2],"g":{"h": 1}}`, []string{"a", "b", "c", "d", "e", "f", "g", "z"},
			`3:1|4:"x"|1:null|2:true|2:false|6:[1, 2]|5:{"h": 1}|-`},
		{"digits as they came", `{"a":9007199254740993,"b":1.10,"c":-0,"d":1E400,"e":12345678901234567890.12345678901234567890}`, []string{"a", "b", "c", "d", "e"},
			`3:9007199254740993|3:1.10|3:-0|3:1E400|3:12345678901234567890.12345678901234567890`},
		{"nested", `{"a":{"b":{"c":1}},"d":{"b":2}}`, []string{"a.b.c", "d.b", "b"}, `3:1|3:2|-`},
		{"shared prefixes", `{"a":{"b":1,"c":2,"d":3}}`, []string{"a.c", "a.b"}, `3:2|3:1`},
		{"a path through another", ` { "x" : 1, "a" : { "b" : [ ] , "c":"}" } } `, []string{"a", "a.b", "a.b.c"}, `5:{ "b" : [ ] , "c":"}" }|6:[ ]|-`},
		{"repeated path", `{"a":1}`, []string{"a", "a"}, `3:1|3:1`},
		{"through a number, null, string, array", `{"a":1,"b":null,"c":"{}","d":[{"x":1}]}`, []string{"a.x", "b.x", "c.x", "d.x", "e.x", "b"}, `-|-|-|-|-|1:null`},
		{"not an object", `[{"a":1}]`, []string{"a"}, `-`},
		{"only null", ` null `, []string{"a"}, `-`},
		{"case matters", `{"ID":1,"id":2,"Id":3}`, []string{"id"}, `3:2`},
		{"escaped names", `{"\u0061":1,"\u00e9":2,"b\"":3,"\ud83d\ude00":4}`, []string{"a", "é", `b"`, "😀"}, `3:1|3:2|3:3|3:4`},
		{"names with and without escapes", `{"a\\b":1,"a\u0062":2,"ab\"":3,"c":{"\t":4,"\n":5}}`, []string{`a\\b`, "ab", `ab"`, "c.\t", "c.\n"}, `3:1|3:2|3:3|3:4|3:5`},
		{"escapes", `{"a":"\"\\\/\b\f\n\r\t","b":["\u00E9\ud83d\uDE00\u0000"]}`, []string{"a", "b"}, `4:"\"\\\/\b\f\n\r\t"|6:["\u00E9\ud83d\uDE00\u0000"]`},
		{"not normalised", "{\"e\u0301\":1}", []string{"é"}, `-`},
		{"dots and backslashes", `{"a.b":1,"a\\b":2,"a":{"b":3}}`, []string{`a\.b`, `a\\b`, "a.b"}, `3:1|3:2|3:3`},
		{"empty names", `{"":1,"a":{"":2}}`, []string{"a"}, `5:{"":2}`},
		{"empty object", `{}`, []string{"a"}, `-`},
		{"without paths", `[1]`, nil, ``},
		{"space", "\t{\r\n\"a\" :\n1 }\n", []string{"a"}, `3:1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			values, err := extract(t, tt.doc, tt.paths...)
			if err != nil {
				t.Fatal(err)
			}
			if got := render(values); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func render(values []event.Value) string {
	var out []string
	for _, v := range values {
		if v.Kind == event.Absent {
			out = append(out, "-")
			continue
		}
		out = append(out, fmt.Sprintf("%d:%s", v.Kind, v.Raw))
	}
	return strings.Join(out, "|")
}

// Rule 27: what is not quite JSON is refused, wherever it stands, and never mended.
func TestRule27Refused(t *testing.T) {
	syntax := errors.New("syntax")
	for _, tt := range []struct {
		name, doc string
		want      error
		offset    int64
	}{
		{"empty", ``, syntax, 0},
		{"space", `  `, syntax, 0},
		{"cut", `{"a":1`, syntax, 6},
		{"cut string", `{"a":"b`, syntax, 7},
		{"two values", `{"a":1} {"a":2}`, syntax, 9},
		{"garbage", `{"a":1}x`, syntax, 7},
		{"byte order mark", "\ufeff{}", syntax, 0},
		{"single quotes", `{'a':1}`, syntax, 1},
		{"number for a name", `{1:1}`, syntax, 1},
		{"trailing comma", `{"a":1,}`, syntax, 7},
		{"comment", `{"a":1/**/}`, syntax, 6},
		{"leading zero", `{"a":07}`, syntax, 6},
		{"plus", `{"a":+7}`, syntax, 5},
		{"NaN", `{"a":NaN}`, syntax, 5},
		{"upper case", `{"a":True}`, syntax, 5},
		{"raw newline", "{\"a\":\"x\ny\"}", syntax, 7},
		{"bad escape", `{"a":"\x"}`, syntax, 6},
		{"bad hex", `{"a":"\u12g4"}`, syntax, 6},
		{"bad hex behind half a pair", `{"a":"\ud83d\udc0g"}`, ErrSurrogate, 6},
		{"escape of no letter", `{"a":"\U0041"}`, syntax, 6},
		{"bad escape where no path goes", `{"b":["\'"]}`, syntax, 7},
		{"bad escape in a name", `{"\a":1}`, syntax, 2},
		{"cut escape", `{"a":"\`, syntax, 6},
		{"cut hex", `{"a":"\u00`, syntax, 6},
		{"cut pair", `{"a":"\ud83d\udc`, syntax, 6},
		{"escaped quote at the end", `{"a":"\"`, syntax, 8},
		{"raw newline behind an escape", "{\"a\":\"\\n\n\"}", syntax, 8},
		{"duplicate", `{"a":1,"a":2}`, ErrDuplicateName, 7},
		{"duplicate by escape", `{"a":1,"\u0061":2}`, ErrDuplicateName, 7},
		{"duplicate of an escape", `{"\u0061":1,"a":2}`, ErrDuplicateName, 12},
		{"duplicate by two escapes", `{"b":{"\u0061\n":1,"\u0061\u000a":2}}`, ErrDuplicateName, 19},
		{"duplicate in a skipped object", `{"b":{"x":1,"x":1}}`, ErrDuplicateName, 12},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", ErrEncoding, 6},
		{"overlong", "{\"a\":\"\xc0\x80\"}", ErrEncoding, 6},
		{"encoded surrogate", "{\"a\":\"\xed\xa0\x80\"}", ErrEncoding, 6},
		{"invalid UTF-8 in a name", "{\"\xff\":1}", ErrEncoding, 2},
		{"invalid UTF-8 behind an escape", "{\"a\":\"\\n\xff\"}", ErrEncoding, 8},
		{"character cut by an escape", "{\"a\":\"\xc3\\n\xa9\"}", ErrEncoding, 6},
		{"invalid UTF-8 where no path goes", "{\"b\":[\"\xff\"]}", ErrEncoding, 7},
		{"high surrogate", `{"a":"\ud800"}`, ErrSurrogate, 6},
		{"high surrogate and text", `{"a":"\uD800abcdefgh"}`, ErrSurrogate, 6},
		{"low surrogate", `{"a":"\udc00 abcdefgh"}`, ErrSurrogate, 6},
		{"high surrogate and a letter's escape", `{"a":"\ud83d\u0041"}`, ErrSurrogate, 6},
		{"high surrogate and another escape", `{"a":"\ud83d\n    "}`, ErrSurrogate, 6},
		{"high surrogate at the end", `{"a":"x\ud83d"}`, ErrSurrogate, 7},
		{"two low surrogates", `{"a":"\udc00\udc00"}`, ErrSurrogate, 6},
		{"pair and half of one", `{"b":"\ud83d\ude00\udbff"}`, ErrSurrogate, 18},
		{"two high surrogates", `{"a":"\ud800\ud800"}`, ErrSurrogate, 6},
		{"surrogate in a name", `{"\ud800":1}`, ErrSurrogate, 2},
		{"deep", `{"b":` + strings.Repeat(`[`, 10001) + strings.Repeat(`]`, 10001) + `}`, ErrDepth, 10004},
		{"deep objects", strings.Repeat(`{"b":`, 10001) + `1` + strings.Repeat(`}`, 10001), ErrDepth, 50000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := extract(t, tt.doc, "a", "b.c")
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.Offset != tt.offset {
				t.Errorf("%v: at byte %d, want %d", err, e.Offset, tt.offset)
			}
			for _, sentinel := range []error{ErrEncoding, ErrSurrogate, ErrDuplicateName, ErrDepth} {
				if errors.Is(err, sentinel) != (sentinel == tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
			if !strings.Contains(err.Error(), fmt.Sprint(tt.offset)) {
				t.Errorf("%q does not name the offset", err)
			}
		})
	}
}

func TestDepthThatPasses(t *testing.T) {
	doc := `{"a":` + strings.Repeat(`[`, 9999) + strings.Repeat(`]`, 9999) + `}`
	if _, err := extract(t, doc, "a"); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, path := range []string{"", ".", "a.", ".a", "a..b", `a\`, `a\b`, `\`} {
		if _, err := New([]string{path}); err == nil {
			t.Errorf("path %q: no error", path)
		}
	}
}

func TestEscape(t *testing.T) {
	const name = `a.b\c`
	values, err := extract(t, `{"a.b\\c":1}`, Escape(name))
	if err != nil || render(values) != "3:1" {
		t.Errorf("got %s, %v", render(values), err)
	}
}

func TestAppendString(t *testing.T) {
	for raw, want := range map[string]string{
		`""`:                           "",
		`"plain é"`:                    "plain é",
		`"\"\\\/\b\f\n\r\t"`:           "\"\\/\b\f\n\r\t",
		`"\u0000\u00e9\uD83D\uDE00 x"`: "\x00é😀 x",
	} {
		got, err := AppendString([]byte("<"), []byte(raw))
		if err != nil || string(got) != "<"+want {
			t.Errorf("%s: got %q, %v, want %q", raw, got, err, want)
		}
	}
}

// The scanner is reused: an error leaves nothing behind.
func TestReuseAfterError(t *testing.T) {
	s, err := New([]string{"a", "b.c"})
	if err != nil {
		t.Fatal(err)
	}
	values := make([]event.Value, 2)
	for range 100 {
		if err := s.Extract([]byte(`{"a":1,"b":{"c":[`), values); err == nil {
			t.Fatal("no error")
		}
		if err := s.Extract([]byte(`{"b":{"c":2}}`), values); err != nil || render(values) != "-|3:2" {
			t.Fatalf("got %s, %v", render(values), err)
		}
	}
}

// order is an event of 270 bytes.
const order = `{"order_id":1002003,"customer":{"id":88123,"segment":"retail","country":"DE"},"status":"shipped","amount":1234.50,"currency":"EUR","items":3,"placed_at":"2026-01-02T03:04:05.678901Z","note":"ring twice, leave at the door","updated_at":"2026-01-02T03:04:59.000001Z","v":12}`

var orderPaths = []string{"order_id", "customer.id", "status", "amount", "currency", "items", "placed_at", "note", "updated_at"}

// escapedOrder is the order with a few escapes in its strings, as programs write them that leave nothing but ASCII.
var escapedOrder = strings.NewReplacer("ring twice, leave at the door", `ring \"twice\", leave at the t\u00fcr\n`, `"retail"`, `"a\/b \ud83d\ude00"`).Replace(order)

// wide is an object of so many members.
func wide(members int) []byte {
	doc := []byte("{")
	for i := range members {
		doc = fmt.Appendf(doc, `"column_%d":%d,`, i, 1000*i)
	}
	doc[len(doc)-1] = '}'
	return doc
}

// envelopes are three updates that Debezium 3.5 wrote for PostgreSQL: a row of many types, a row that is mostly null, and
// the first one with its schema. All have strings with escapes.
func envelopes(t testing.TB) [][]byte {
	all, err := os.ReadFile("testdata/debezium.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	docs := bytes.Split(bytes.TrimSpace(all), []byte("\n"))
	if len(docs) != 3 {
		t.Fatalf("%d envelopes, want 3", len(docs))
	}
	return docs
}

// TestPlain: what events look like is read in one pass.
func TestPlain(t *testing.T) {
	docs := append(envelopes(t), []byte(order), []byte(escapedOrder), wide(64), wide(65), wide(maxPlainNames), []byte(`{"\u0061":1,"\u00e9\ud83d\ude00":{"a":"\\"}}`))
	s, err := New([]string{"a", "note", "after.j", "payload.after.j", "é😀.a"})
	if err != nil {
		t.Fatal(err)
	}
	for i, doc := range docs {
		p := plain{doc: doc, values: make([]event.Value, s.Len())}
		if !p.extract(&s.root) {
			t.Errorf("document %d is left to the library: %.100s", i, doc)
		}
		slow := make([]event.Value, s.Len())
		if err := s.extract(doc, slow); err != nil || render(slow) != render(p.values) {
			t.Errorf("document %d: got %s, want %s, %v", i, render(p.values), render(slow), err)
		}
	}
	for _, doc := range [][]byte{wide(maxPlainNames + 1), []byte(strings.Repeat(`{"a":`, maxPlainDepth+1) + "1" + strings.Repeat("}", maxPlainDepth+1))} {
		p := plain{doc: doc, values: make([]event.Value, s.Len())}
		if p.extract(&s.root) {
			t.Errorf("more than is plain is taken: %.100s", doc)
		}
		if err := s.Extract(doc, make([]event.Value, s.Len())); err != nil {
			t.Error(err)
		}
	}
}

// TestManyNames: a name that is repeated is found among any number.
func TestManyNames(t *testing.T) {
	for _, members := range []int{1, 63, 64, 65, 128, maxPlainNames - 1, maxPlainNames} {
		for _, at := range []int{0, members / 2, members - 1} {
			doc := wide(members)
			doc = fmt.Appendf(doc[:len(doc)-1], `,"column_%d":1}`, at)
			if _, err := extract(t, string(doc), "a"); !errors.Is(err, ErrDuplicateName) {
				t.Errorf("%d members, the one at %d again: got %v", members, at, err)
			}
		}
	}
}

func BenchmarkExtract(b *testing.B) {
	debezium := envelopes(b)
	row := []string{"id", "n", "ts", "tz", "j", "u", "big", "ip", "f8"}
	under := func(prefix string) (paths []string) {
		for _, name := range row {
			paths = append(paths, prefix+"after."+name)
		}
		return append(paths, prefix+"op", prefix+"source.ts_ms")
	}
	for _, bb := range []struct {
		name  string
		doc   []byte
		paths []string
	}{
		{"order", []byte(order), orderPaths},
		{"escapes", []byte(escapedOrder), orderPaths},
		{"wide", wide(200), []string{"column_7", "column_77", "column_177", "note"}},
		{"debezium", debezium[0], under("")},
		{"debezium-nulls", debezium[1], under("")},
		{"debezium-schema", debezium[2], under("payload.")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s, err := New(bb.paths)
			if err != nil {
				b.Fatal(err)
			}
			values := make([]event.Value, s.Len())
			b.SetBytes(int64(len(bb.doc)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Extract(bb.doc, values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestDocument(t *testing.T) {
	for doc, want := range map[string]event.Value{
		` "a\"" `: {Kind: event.String, Raw: []byte(`"a\""`)}, "\n1.50\t": {Kind: event.Number, Raw: []byte("1.50")}, `{"a": [1 ]}`: {Kind: event.Object, Raw: []byte(`{"a": [1 ]}`)}, ` [ ] `: {Kind: event.Array, Raw: []byte("[ ]")}, "null ": {Kind: event.Null, Raw: []byte("null")}, " false": {Kind: event.Bool, Raw: []byte("false")},
	} {
		if got := Document([]byte(doc)); got.Kind != want.Kind || string(got.Raw) != string(want.Raw) {
			t.Errorf("%q: got %d %q, want %d %q", doc, got.Kind, got.Raw, want.Kind, want.Raw)
		}
	}
}

// TestMembers: names and values of an object, in order.
func TestMembers(t *testing.T) {
	for doc, want := range map[string]string{
		` {} `: "",
		`{ "a" : 1 , "b\u0063":{"d":[1,"}"]}, "":"x"}`: `a=1 bc={"d":[1,"}"]} ="x" `,
		`{"a":"\"","n":null}`:                          `a="\"" n=null `,
	} {
		values, err := extract(t, `{"o":`+doc+`}`, "o")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for name, v := range Members(values[0].Raw) {
			got += string(name) + "=" + string(v.Raw) + " "
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", doc, got, want)
		}
	}
}
