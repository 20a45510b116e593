package fields

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func extract(t *testing.T, doc string, paths ...string) ([]Value, error) {
	t.Helper()
	s, err := New(paths)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]Value, s.Len())
	for i := range values {
		values[i] = Value{Array, []byte("stale")}
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

func render(values []Value) string {
	var out []string
	for _, v := range values {
		if v.Kind == Absent {
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
		{"duplicate", `{"a":1,"a":2}`, ErrDuplicateName, 7},
		{"duplicate by escape", `{"a":1,"\u0061":2}`, ErrDuplicateName, 7},
		{"duplicate in a skipped object", `{"b":{"x":1,"x":1}}`, ErrDuplicateName, 12},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", ErrEncoding, 6},
		{"overlong", "{\"a\":\"\xc0\x80\"}", ErrEncoding, 6},
		{"encoded surrogate", "{\"a\":\"\xed\xa0\x80\"}", ErrEncoding, 6},
		{"invalid UTF-8 in a name", "{\"\xff\":1}", ErrEncoding, 2},
		{"invalid UTF-8 where no path goes", "{\"b\":[\"\xff\"]}", ErrEncoding, 7},
		{"high surrogate", `{"a":"\ud800"}`, ErrSurrogate, 6},
		{"high surrogate and text", `{"a":"\uD800abcdefgh"}`, ErrSurrogate, 6},
		{"low surrogate", `{"a":"\udc00 abcdefgh"}`, ErrSurrogate, 6},
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
	values := make([]Value, 2)
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

func orderSet(t testing.TB) (*Set, []Value) {
	s, err := New([]string{"order_id", "customer.id", "status", "amount", "currency", "items", "placed_at", "note", "updated_at"})
	if err != nil {
		t.Fatal(err)
	}
	return s, make([]Value, s.Len())
}

func BenchmarkExtract(b *testing.B) {
	s, values := orderSet(b)
	doc := []byte(order)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Extract(doc, values); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDocument(t *testing.T) {
	for doc, want := range map[string]Value{
		` "a\"" `: {String, []byte(`"a\""`)}, "\n1.50\t": {Number, []byte("1.50")}, `{"a": [1 ]}`: {Object, []byte(`{"a": [1 ]}`)}, ` [ ] `: {Array, []byte("[ ]")}, "null ": {Null, []byte("null")}, " false": {Bool, []byte("false")},
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
