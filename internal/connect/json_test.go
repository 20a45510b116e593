package connect

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

type none struct{}

func (none) Header(string) ([]byte, bool) { return nil, false }

// say writes a value with its kind: what a typed one says as text, and JSON as it is.
func say(v event.Value) string {
	switch v.Kind {
	case event.Absent:
		return "-"
	case event.Unavailable:
		return "?"
	case event.Null:
		return "null"
	case event.Bytes:
		return fmt.Sprintf("bytes %x", v.Raw)
	}
	if !v.Kind.Typed() {
		return string(v.Raw)
	}
	text, err := v.AppendText(nil)
	if err != nil {
		return "!" + err.Error()
	}
	return kinds[v.Kind] + " " + string(text)
}

var kinds = map[event.Kind]string{event.Text: "text", event.Bits: "text", event.Int: "int", event.Decimal: "decimal", event.Date: "date", event.Time: "time", event.Timestamp: "timestamp", event.TimestampTZ: "timestamptz", event.Infinity: "infinite"}

func plans(t testing.TB, f event.Format, paths ...string) event.Plan {
	t.Helper()
	p, err := f.Plan(paths)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readAll(p event.Plan, doc string, n int) (said []string, err error) {
	values, arena := make([]event.Value, n), []byte("kept")
	if err = p.Read([]byte(doc), none{}, values, &arena); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(arena, []byte("kept")) {
		return nil, errors.New("the arena was written to")
	}
	for _, v := range values {
		said = append(said, say(v))
	}
	return said, nil
}

// envelopes are what Debezium 3.5 wrote for rows of PostgreSQL 15: by form, in the order of the log, "" for a tombstone.
func envelopes(t testing.TB, form string) []string {
	b, err := os.ReadFile("testdata/" + form + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for i := range lines {
		if lines[i] == "NULL" {
			lines[i] = ""
		}
	}
	return lines
}

var columns = strings.Fields("id n nv ts ts3 tz d tm tmz j u b arr ia ba ua big bigj bigb e iv p inf infts m r ip dflt x bits i2 f4 f8")

// typed are the values of the row that was inserted, as their schemas say them.
var typed = map[string]string{
	"id": "1", "n": "decimal 1234.56", "nv": "decimal 0.00000000000000000001234567890123456789", "ts": "timestamp 2026-01-02T03:04:05.678901", "ts3": "timestamp 2026-01-02T03:04:05.678", "tz": `"2026-01-02T01:04:05.678901Z"`, "d": "date 2026-01-02",
	"tm": "time 03:04:05.678901", "tmz": `"01:04:05Z"`, "j": `{"a": [1, 2.50]}`, "u": `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`, "b": "bytes 00ff", "arr": `["a",null,"b\"c"]`, "ia": "[1,2]", "ba": "[1,2]", "ua": `["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]`,
	"e": `"ok"`, "iv": "text 37091106700000 microseconds", "p": "text (1.5,2.0)", "inf": `"infinity"`, "infts": "infinite -infinity", "m": "decimal 12.34", "r": `"[\"2026-01-01 00:00:00+00\",\"2026-02-01 00:00:00+00\")"`, "ip": `"10.0.0.1"`, "dflt": "7", "x": `"<a/>"`, "bits": "text 10101", "i2": "8", "f4": "1.1", "f8": "0.1",
}

// TestEnvelopes: what Debezium writes with schemas is read by them, in each kind of events; without, it is JSON; and what was
// withheld is unavailable in both.
func TestEnvelopes(t *testing.T) {
	placeholder, err := NewPlaceholder(DefaultPlaceholder)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, c := range columns {
		paths = append(paths, "after."+c)
	}
	paths = append(paths, "op", "source.lsn", "source.ts_ms", "before.id", "before.n", "after")
	f := JSON{Placeholder: placeholder}
	p, raw := plans(t, f, paths...), plans(t, fields.JSON{}, paths...)
	withheld := map[string]bool{"big": true, "bigj": true, "bigb": true}
	op := map[string]int{}
	for i, doc := range envelopes(t, "schema") {
		if doc == "" {
			continue
		}
		for range 2 { // the first time the schema is new
			got, err := readAll(p, doc, len(paths))
			if err != nil {
				t.Fatalf("event %d: %v", i, err)
			}
			op[got[len(columns)]]++
			// Where after is null its columns are absent, and what a deletion tells is typed, too.
			if kind := got[len(columns)]; kind == `"d"` || kind == `"t"` {
				before := got[slices.Index(paths, "before.id")]
				if got[slices.Index(paths, "after.n")] != "-" || got[slices.Index(paths, "after")] != "null" || kind == `"d"` && before == "-" || kind == `"t"` && before != "-" {
					t.Errorf("event %d, %s: got %s", i, kind, got)
				}
			}
			if got[len(columns)] != `"u"` || i > 2 {
				continue
			}
			for k, c := range columns {
				want := typed[c]
				switch {
				case i == 2 && c == "big":
					want = "null"
				case withheld[c]:
					want = "?"
				}
				if got[k] != want {
					t.Errorf("event %d, %s: got %s, want %s", i, c, got[k], want)
				}
			}
		}
		if n := len(*p.(*plan).schemas.Load()); n != 1 {
			t.Errorf("after event %d %d schemas are kept", i, n)
		}
	}
	for _, kind := range []string{`"r"`, `"c"`, `"u"`, `"d"`, `"t"`} {
		if op[kind] == 0 {
			t.Errorf("no event %s was read: %v", kind, op)
		}
	}
	for i, doc := range envelopes(t, "plain") {
		if doc == "" {
			continue
		}
		got, err := readAll(p, doc, len(paths))
		if err != nil {
			t.Fatal(err)
		}
		want, err := readAll(raw, doc, len(paths))
		if err != nil {
			t.Fatal(err)
		}
		for k, path := range paths {
			if w := want[k]; got[k] != w && !(got[k] == "?" && withheld[strings.TrimPrefix(path, "after.")] && strings.Contains(w, "avail") || strings.Contains(w, "X19kZWJl")) {
				t.Errorf("event %d, %s: got %s, want %s", i, path, got[k], w)
			}
		}
	}
}

// TestFlattened: what ExtractNewRecordState makes of the same events is JSON, with what was withheld.
func TestFlattened(t *testing.T) {
	placeholder, _ := NewPlaceholder(DefaultPlaceholder)
	p := plans(t, JSON{Placeholder: placeholder}, "id", "n", "ts", "big", "bigj", "bigb", "__op", "__deleted")
	for i, want := range []string{"", `1|"AeJA"|1767323045678901|?|?|?|"u"|"false"`, `1|"AeJA"|1767323045678901|null|?|?|"u"|"false"`, `2|"/w=="|null|null|null|null|"c"|"false"`, `2|"AlQL4/8="|null|null|null|null|"u"|"false"`, `2|null|null|null|null|null|"d"|"true"`} {
		got, err := readAll(p, envelopes(t, "flattened")[i], 8)
		if err != nil || want != "" && strings.Join(got, "|") != want {
			t.Errorf("event %d: got %s, %v, want %s", i, strings.Join(got, "|"), err, want)
		}
	}
}

// TestShapes: what is an envelope, and what only looks like one.
func TestShapes(t *testing.T) {
	const s = `{"type":"struct","fields":[{"type":"int32","name":"io.debezium.time.Date","field":"d"},{"type":"bytes","field":"b"}]}`
	p := plans(t, JSON{}, "d", "b", "", "schema.type", "payload.d")
	plain := plans(t, fields.JSON{}, "d", "b", "", "schema.type", "payload.d")
	for doc, want := range map[string]string{
		`{"schema":` + s + `,"payload":{"d":1,"b":"AP8="}}`:          `date 1970-01-02|bytes 00ff|{"d":"1970-01-02","b":"AP8="}|-|-`,
		`{"payload":{"b":"AP8=","d":1},"schema":` + s + `}`:          `date 1970-01-02|bytes 00ff|{"b":"AP8=","d":"1970-01-02"}|-|-`,
		" { \"schema\" : " + s + ",\n\"payload\": {\"d\":1} } ":      `date 1970-01-02|-|{"d":"1970-01-02"}|-|-`,
		`{"schema":` + s + `,"payload":null}`:                        `-|-|null|-|-`,
		`{"schema":` + s + `,"payload":{"d":null,"x":2}}` + "\n":     `null|-|{"d":null,"x":2}|-|-`,
		`{"schema":null,"payload":{"d":1}}`:                          `1|-|{"d":1}|-|-`,
		`{"schema":{"type":"int64"},"payload":7}`:                    `-|-|7|-|-`,
		"\x00\x00\x00\x01\x02" + `{"d":5}`:                           `5|-|{"d":5}|-|-`,
		"\x00\x00\x00\x01\x02" + `{"schema":null,"payload":{"d":5}}`: `5|-|{"d":5}|-|-`,
		// Others are documents like any.
		`{"schema":` + s + `,"payload":{"d":1},"x":1}`: "", `{"schema":{"type":"odd"},"payload":{"d":1}}`: "", `{"schema":` + s + `}`: "", `{"schema":1,"payload":{"d":1}}`: "",
		`{"schema":` + s + `,"payload":{"d":1}},"x":{}}`: "", `{"payload":{"d":1}}`: "", `{"d":1,"b":"AP8="}`: "", `null`: "", `{}`: "", ``: "", `{`: "", "\x00\x00\x00\x00\x01": "",
		`{"schema":` + s + `,"payload":{"d":1}`: "", `{"schema":` + s + `,"payload":}`: "", `{"schema":` + s + `,"payload":{"d":1}}}`: "", `{"schema":` + s + `,"payload":{"d":1},"payload":{"d":1}}`: "",
		`{"schema":{"type":"struct","fields":[{"type":"odd","field":"a"}]},"payload":{"d":1}}`: "",
		`{"schema":` + s + `,"payload":{"d":1}]`:                                               "", `{"schema":` + s + `,"payload":17`: "", `{"schema":` + s + `,"payl_ad":{"d":1}}`: "",
	} {
		for range 2 {
			got, err := readAll(p, doc, 5)
			if want != "" {
				if err != nil || strings.Join(got, "|") != want {
					t.Errorf("%s: got %s, %v, want %s", doc, strings.Join(got, "|"), err, want)
				}
				continue
			}
			like, failed := readAll(plain, doc, 5)
			if fmt.Sprint(got, err) != fmt.Sprint(like, failed) {
				t.Errorf("%s: got %s, %v, want %s, %v", doc, got, err, like, failed)
			}
		}
	}
}

// TestContainers: in containers what has a meaning is converted, and the rest stays as it came.
func TestContainers(t *testing.T) {
	const decimals = `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}`
	placeholder, _ := NewPlaceholder(DefaultPlaceholder)
	for _, tt := range []struct{ schema, payload, want string }{
		{`{"type":"array","items":` + decimals + `}`, `[ "BNI=", null,"/w=="]`, `[12.34,null,-0.01]`},
		{`{"type":"array","items":{"type":"string"}}`, `[ "a" , "b"]`, `[ "a" , "b"]`},
		{`{"type":"array","items":{"type":"bytes"}}`, `[ "BNI="]`, `[ "BNI="]`},
		{`{"type":"array","items":{"type":"array","items":{"type":"int32","name":"io.debezium.time.Date"}}}`, `[[0,1],[]]`, `[["1970-01-01","1970-01-02"],[]]`},
		{`{"type":"array","items":{"type":"string","name":"io.debezium.data.Json"}}`, `["{\"a\": [1]}","null","\"\\u00e9\""]`, `[{"a": [1]},null,"\u00e9"]`},
		{`{"type":"array","items":{"type":"string","name":"io.debezium.data.Json"}}`, `["__debezium_unavailable_value"]`, `?`},
		{`{"type":"array","items":{"type":"int32","name":"io.debezium.time.Date"}}`, `[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]`, `?`},
		{`{"type":"map","keys":{"type":"string"},"values":` + decimals + `}`, `{"a\"b":"BNI=","c":null}`, `{"a\"b":12.34,"c":null}`},
		{`{"type":"map","keys":{"type":"int32","name":"io.debezium.time.Date"},"values":` + decimals + `}`, `[[0,"BNI="],[1,null]]`, `[["1970-01-01",12.34],["1970-01-02",null]]`},
		{`{"type":"map","keys":{"type":"int32","name":"io.debezium.time.Date"},"values":{"type":"int32"}}`, `[[0,7]]`, `[["1970-01-01",7]]`},
		{`{"type":"map","keys":{"type":"int32"},"values":{"type":"int32"}}`, `[[0, 1]]`, `[[0, 1]]`},
		{`{"type":"struct","fields":[{"type":"string","name":"io.debezium.data.Json","field":"j"},{"type":"int64","name":"io.debezium.time.MicroTimestamp","field":"t"}]}`, `{"j":"__debezium_unavailable_value","t":0,"x":1.50}`, `{"j":"__debezium_unavailable_value","t":"1970-01-01T00:00:00","x":1.50}`},
		{`{"type":"struct","fields":[{"type":"struct","name":"io.debezium.data.VariableScaleDecimal","fields":[{"type":"int32","field":"scale"},{"type":"bytes","field":"value"}],"field":"n"},{"type":"int64","name":"io.debezium.time.MicroTimestamp","field":"t"}]}`, `{"n":{"scale":3,"value":"BNI="},"t":9223372036825200000}`, `{"n":1.234,"t":"infinity"}`},
		{`{"type":"array","items":` + decimals + `}`, `["BN"]`, `!the payload: not base64, where the schema has bytes`},
	} {
		got, err := readAll(plans(t, JSON{Placeholder: placeholder}, ""), `{"schema":`+tt.schema+`,"payload":`+tt.payload+`}`, 1)
		if err != nil {
			got = []string{"!" + err.Error()}
		}
		if got[0] != tt.want {
			t.Errorf("%s of %s: got %s, want %s", tt.payload, tt.schema, got[0], tt.want)
		}
	}
}

// TestLearn: nobody brings a schema.
func TestLearn(t *testing.T) {
	if err := plans(t, JSON{}, "a").Learn(event.SchemaRef{}, event.Schema{}); err == nil {
		t.Error("a schema is learnt")
	}
	for _, path := range []string{"a..b", `a\b`} {
		if _, err := (JSON{}).Plan([]string{path}); err == nil {
			t.Errorf("path %s is taken", path)
		}
	}
}
