package pgtext

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// parseArray reads an array of one dimension as PostgreSQL writes it, quoted elements
// and NULL only: what appendArray makes of strings.
func parseArray(t *testing.T, s string) []any {
	t.Helper()
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		t.Fatalf("not an array: %q", s)
	}
	var out []any
	for s = s[1:]; s != "}"; s = strings.TrimPrefix(s, ",") {
		if rest, ok := strings.CutPrefix(s, "NULL"); ok {
			out, s = append(out, nil), rest
			continue
		}
		if s[0] != '"' {
			t.Fatalf("no quote at %q", s)
		}
		var b strings.Builder
		i := 1
		for ; s[i] != '"'; i++ {
			if s[i] == '\\' {
				i++
			}
			b.WriteByte(s[i])
		}
		out, s = append(out, b.String()), s[i+1:]
	}
	return out
}

// FuzzArray: an array of strings and nulls comes back as it went.
func FuzzArray(f *testing.F) {
	for _, doc := range []string{`[]`, `["a",null,"NULL",""]`, `["\"","\\","{,}","\\\""]`, `[ "é" , "\ud83d\ude00\n" ]`, `[["a"]]`, `[1]`, `["\u0000"]`, `{}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var want []any
		if json.Unmarshal(doc, &want) != nil {
			return
		}
		for _, v := range want {
			if _, ok := v.(string); !ok && v != nil {
				return
			}
		}
		c := &Type{Kind: KindText, Base: "text[]", Array: true}
		text, r := value(c, string(doc))
		if r != nil || bytes.Equal(bytes.TrimSpace(doc), []byte("null")) {
			return
		}
		got := parseArray(t, text)
		if len(got) != len(want) {
			t.Fatalf("%s: got %q, want %q", text, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: got %q, want %q", text, got, want)
			}
		}
	})
}

// Rule 27: PostgreSQL reads the arrays as they were meant.
func TestRule27ArraysOnServer(t *testing.T) {
	db := newDatabase(t)
	c := &Type{Kind: KindText, Base: "text[]", Array: true}
	for _, doc := range []string{`[]`, `["a",null,"NULL","null",""," "]`, `["\"","\\","{,}","\\\"","\\\\","a\\"]`, `["é","😀\n\t","'","''"]`, `[["a","\""],[null,"{}"]]`} {
		text, r := value(c, doc)
		if r != nil {
			t.Fatal(r)
		}
		db.Want(db.Lines("select $1::jsonb", doc), "select to_jsonb($1::text[])", text)
	}
}

// FuzzBytea: bytes come back as they went, whatever way they are written, and a
// text that is no bytes is refused.
func FuzzBytea(f *testing.F) {
	for _, s := range []string{"", "AP8=", "AP8", "00ff", `\x00FF`, "A", "====", "AP9=", "\\x0", "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want := `\x` + hex.EncodeToString(b)
		for _, tt := range []struct{ encoding, text string }{
			{"base64", base64.StdEncoding.EncodeToString(b)}, {"base64", base64.RawStdEncoding.EncodeToString(b)},
			{"hex", hex.EncodeToString(b)}, {"hex", strings.ToUpper(hex.EncodeToString(b))}, {"hex", want},
		} {
			c := &Type{Kind: KindBytea, Base: "bytea", Encoding: tt.encoding}
			got, r := c.fit(append([]byte("before"), tt.text...), len("before"))
			if r != nil || string(got) != "before"+want {
				t.Fatalf("%s %q: got %q, %v, want %q", tt.encoding, tt.text, got, r, want)
			}
			// As a text of its own: refused, or read in one way only.
			c = &Type{Kind: KindBytea, Base: "bytea", Encoding: tt.encoding}
			if got, r := c.fit(bytes.Clone(b), 0); r == nil {
				back, err := hex.DecodeString(strings.TrimPrefix(string(got), `\x`))
				if err != nil {
					t.Fatal(err)
				}
				same := strings.EqualFold(strings.TrimPrefix(string(b), `\x`), hex.EncodeToString(back))
				if tt.encoding == "base64" {
					same = strings.TrimRight(string(b), "=") == base64.RawStdEncoding.EncodeToString(back)
				}
				if !same {
					t.Fatalf("%s %q became %s", tt.encoding, b, got)
				}
			}
		}
	})
}

// FuzzValue: whatever comes, a column's text is valid UTF-8 without NUL, or the value is refused.
func FuzzValue(f *testing.F) {
	for _, doc := range []string{`1.50`, `"now"`, `"2026-01-02T23:00:00Z"`, `["a",["b"]]`, `{"a":"\u0000"}`, `"\ud83d\ude00"`, `true`, `"{\"[\\\"to\\\\day\\\",)\"}"`, `"Jan 2 2026"`, `""`} {
		f.Add([]byte(doc))
	}
	columns := []*Type{}
	for k := KindOther; k <= kindNested; k++ {
		for _, array := range []bool{false, true} {
			c := &Type{Kind: k, Base: "text", Array: array}
			if k == KindBytea {
				c.Encoding = "hex"
			}
			columns = append(columns, c)
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, c := range columns {
			text, r := value(c, string(doc))
			if r == nil && (!json.Valid(doc) || strings.ContainsRune(text, 0) || strings.ToValidUTF8(text, "") != text) {
				t.Fatalf("kind %d array %v: %q became %q", c.Kind, c.Array, doc, text)
			}
			if r != nil && (len(r.Code) != 5 || r.Message == "") {
				t.Fatalf("kind %d array %v: %q: %+v", c.Kind, c.Array, doc, r)
			}
		}
	})
}

// FuzzUnit: a text in a column with a unit is refused, or becomes a text that Go reads as a date, time or
// timestamp (or an interval's), whatever the number; what is no number stays as it is.
func FuzzUnit(f *testing.F) {
	for _, s := range []string{"0", "-1", "1705310101", "1705310101.5", "1e400", "1e-400", "-0.0000001", "253402300799.9999999", "9223372036854775807", "99999999999999999999999", "1.5e3", "2024-01-15", ".5", "5.", "+7", " 7 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, base := range []string{"date", "timestamp without time zone", "timestamp with time zone", "time without time zone", "interval"} {
			for _, unit := range Units {
				c := &Type{Kind: kindOf(map[string]string{"date": "date", "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz", "time without time zone": "time", "interval": "interval"}[base]),
					Base: base, Typmod: -1, Unit: unit, Location: time.UTC, Session: time.UTC}
				c.Prepare()
				got, r := c.fit(append([]byte("before"), text...), len("before"))
				if !bytes.HasPrefix(got, []byte("before")) {
					t.Fatalf("%s overwrote what was there", base)
				}
				if got = got[len("before"):]; r != nil || !isNumber([]byte(text)) {
					continue
				}
				_, day := daysOf(got)
				_, moment := parseTimestamp(got)
				ok := map[Kind]bool{KindDate: day, KindTime: moment || strings.HasPrefix(base, "time ") && len(got) >= 8 && got[2] == ':', KindTimeTZ: moment, kindInterval: bytes.HasSuffix(got, []byte(" microseconds"))}[c.Kind]
				if !ok {
					t.Fatalf("%s in %s: %q became %q", base, unit, text, got)
				}
			}
		}
	})
}

// FuzzLiteral: no text of an array, a range or a composite is too odd to be taken apart, or refused.
func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"{}", `{"a\"b",c}`, "[1:2]={a,b}", "{[a,b),empty}", `("a""b",)`, "(", `{"`, `{\`, "[,", "{{", "(a,b)x", " ( , ) "} {
		f.Add(s)
	}
	text := Type{Kind: KindText, Base: "name"}
	f.Fuzz(func(t *testing.T, s string) {
		for form := formScalar; form <= formComposite; form++ {
			c := &Type{Form: form, Array: form == formArray, Delimiter: ',', Parts: []Type{text, text}}
			if form != formComposite {
				c.Parts = c.Parts[:1]
			}
			c.Prepare()
			if r := c.look([]byte(s)); r != nil && (len(r.Code) != 5 || r.Message == "") {
				t.Fatalf("%q: %+v", s, r)
			}
		}
	})
}
