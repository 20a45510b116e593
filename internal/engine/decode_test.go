package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// texts lists a part's rows: table, whether a tombstone, and cells; then its faults.
func (s *Sink) texts(p *decode.Part) string {
	var lines []string
	for _, r := range p.Rows {
		t := s.plan().tables[r.Table]
		line := fmt.Sprintf("%d %s", p.Records[r.Record].Offset, t.Name)
		if r.Tombstone {
			line += " tombstone"
		}
		for i := range t.Columns {
			switch c := p.Cells[int(r.First)+i]; c.Len {
			case decode.CellNull:
				line += " " + t.Columns[i].Name + "=NULL"
			case decode.CellAbsent:
			default:
				line += " " + t.Columns[i].Name + "=" + string(p.TextOf(&r, c))
			}
		}
		lines = append(lines, line)
	}
	for _, f := range p.Faults {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%d fault %s %s %s", p.Records[f.Record].Offset, f.Code, f.Table, f.Column)))
	}
	return strings.Join(lines, "\n")
}

func wantTexts(t *testing.T, s *Sink, p *decode.Part, want ...string) {
	t.Helper()
	if got := s.texts(p); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func incoming(topic string, offset int64, key, value string) sink.Record {
	r := sink.Record{Topic: topic, Offset: offset, Epoch: 4, Timestamp: time.UnixMilli(1000 * offset)}
	if key != "" {
		r.Key = []byte(key)
	}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

func TestAdd(t *testing.T) {
	db := newDatabase(t,
		"create table orders (order_id bigint primary key, version int, customer bigint, note text)",
		"create table customers (id bigint primary key, name text)",
		"create table log (at bigint, topic text, order_id bigint, whole text)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"order_id"}, Version: "version", Columns: map[string]sink.ColumnConfig{"customer": {From: "customer.id"}},
			RecordKey: map[string]string{"order_id": "$key"}},
		{Name: "customers", Topics: []string{"o", "c"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"id": {From: "customer.id"}, "name": {From: "customer.name"}}, Tombstones: "ignore"},
		{Name: "log", Topics: []string{"o", "l"}, Strategy: sink.Append, Columns: map[string]sink.ColumnConfig{"at": {From: "$offset"}, "topic": {From: "$topic"}, "whole": {From: "$value"}}},
	}})
	full := `{"order_id":1,"version":2,"customer":{"id":7,"name":"é"},"note":null,"more":[{}]}`

	t.Run("several tables", func(t *testing.T) {
		p := &decode.Part{}
		e.Add(p, incoming("o", 5, "1", full))
		wantTexts(t, e.Sink, p,
			"5 orders order_id=1 version=2 customer=7 note=NULL",
			"5 customers id=7 name=é",
			"5 log at=5 topic=o order_id=1 whole="+full)
		if want := (offsets.Position{Next: 6, Epoch: 4, Time: time.UnixMilli(5000)}); p.To != want {
			t.Errorf("to %+v, want %+v", p.To, want)
		}
	})
	t.Run("rule 17: a record's rows in all tables, or none", func(t *testing.T) {
		p := &decode.Part{}
		e.Add(p, incoming("o", 1, "", full), incoming("o", 2, "", `{"order_id":1,"version":1,"customer":{"name":"no id"}}`), incoming("o", 3, "", full))
		wantTexts(t, e.Sink, p,
			"1 orders order_id=1 version=2 customer=7 note=NULL", "1 customers id=7 name=é", "1 log at=1 topic=o order_id=1 whole="+full,
			"3 orders order_id=1 version=2 customer=7 note=NULL", "3 customers id=7 name=é", "3 log at=3 topic=o order_id=1 whole="+full,
			"2 fault 23502 public.customers id")
	})
	t.Run("a key or version that is null or absent", func(t *testing.T) {
		p := &decode.Part{}
		e.Add(p, incoming("o", 1, "", `{"order_id":null,"version":1,"customer":{"id":1}}`), incoming("o", 2, "", `{"version":1,"customer":{"id":1}}`),
			incoming("o", 3, "", `{"order_id":1,"version":null,"customer":{"id":1}}`), incoming("o", 4, "", `{"order_id":1,"customer":{"id":1}}`))
		wantTexts(t, e.Sink, p, "1 fault 23502 public.orders order_id", "2 fault 23502 public.orders order_id",
			"3 fault 23502 public.orders version", "4 fault 23502 public.orders version")
	})
	t.Run("what is no JSON", func(t *testing.T) {
		p := &decode.Part{}
		e.Add(p, incoming("o", 1, "", `{`), incoming("o", 2, "", `{"a":1,"a":2}`), incoming("o", 3, "", "{\"a\":\"\xff\"}"), incoming("o", 4, "", `[]`),
			sink.Record{Topic: "o", Offset: 5, Value: []byte{}})
		wantTexts(t, e.Sink, p, "1 fault 22P02", "2 fault 22030", "3 fault 22021", "4 fault 23502 public.orders order_id", "5 fault 22P02")
	})
	t.Run("tombstones", func(t *testing.T) {
		p := &decode.Part{}
		e.Add(p, incoming("o", 1, "9", ""), incoming("c", 2, "9", ""), incoming("l", 3, "9", ""), incoming("o", 4, "", ""))
		wantTexts(t, e.Sink, p,
			"1 orders tombstone order_id=9", "1 log at=1 topic=o whole=NULL",
			"3 log at=3 topic=l whole=NULL",
			"4 fault 23502 public.orders order_id")
	})
	t.Run("records that move the position only", func(t *testing.T) {
		p := &decode.Part{}
		e.Add(p, sink.Record{Topic: "o", Offset: 8, Control: true, Key: []byte{0, 0, 0, 1}}, incoming("unknown", 9, "k", "v"))
		wantTexts(t, e.Sink, p, "")
		if p.To.Next != 10 || p.Len() != 2 {
			t.Errorf("to %+v with %d records", p.To, p.Len())
		}
	})
	t.Run("records that were added before", func(t *testing.T) {
		p := &decode.Part{}
		e.Add(p, incoming("c", 0, "", `{"customer":{"id":0}}`), incoming("c", 7, "", `{"customer":{"id":7}}`))
		e.Add(p, incoming("c", 0, "", `{"customer":{"id":0}}`), incoming("c", 7, "", `{"customer":{"id":7}}`), incoming("c", 9, "", `{"customer":{"id":9}}`))
		wantTexts(t, e.Sink, p, "0 customers id=0", "7 customers id=7", "9 customers id=9")
	})
	t.Run("bytes", func(t *testing.T) {
		p := &decode.Part{}
		if p.Bytes() != 0 {
			t.Errorf("an empty part holds %d bytes", p.Bytes())
		}
		rec := incoming("o", 1, "", full)
		rec.Headers = []sink.Header{{Key: "h", Value: make([]byte, 1000)}}
		e.Add(p, rec)
		if got, least := p.Bytes(), 2*len(full)+1000; got < least || got > 4*least {
			t.Errorf("%d bytes, want about %d", got, least)
		}
	})
}

func TestTombstoneKeys(t *testing.T) {
	db := newDatabase(t, "create table lines (order_id bigint, line int, note text, primary key (order_id, line))", "create table plain (id int primary key)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "lines", Topics: []string{"l"}, Key: []string{"line", "order_id"}, RecordKey: map[string]string{"order_id": "$key.order.id", "line": "$key.line"}},
		{Name: "plain", Topics: []string{"p"}, Key: []string{"id"}},
	}})
	p := &decode.Part{}
	e.Add(p,
		incoming("l", 1, `{"order":{"id":"07"},"line":2}`, ""),
		incoming("l", 2, `{"order":{"id":7}}`, ""),
		incoming("l", 3, `{"order":{"id":7},"line":null}`, ""),
		incoming("l", 4, `{"order":{"id":7},"line":1.5}`, ""),
		incoming("l", 5, `7`, ""),
		incoming("l", 6, `x`, ""),
		incoming("l", 7, ``, ""),
		// The record key is not looked at where no column needs it.
		incoming("l", 8, `x`, `{"order_id":1,"line":2}`))
	wantTexts(t, e.Sink, p, "1 lines tombstone order_id=07 line=2", "8 lines order_id=1 line=2",
		"2 fault 23502 public.lines line", "3 fault 23502 public.lines line", "4 fault 22P02 public.lines line",
		"5 fault 23502 public.lines line", "6 fault 22P02 public.lines line", "7 fault 23502 public.lines line")

	p = &decode.Part{}
	e.Add(p, incoming("p", 1, "7", ""))
	wantTexts(t, e.Sink, p, "1 fault ONS01 public.plain")
	if p.Faults[0].Message != "tombstone without record_key mapping" {
		t.Errorf("message %q", p.Faults[0].Message)
	}
}

// Rule 14: 7, "07" and "+7" are one key, in the fold as in the table; so are the
// spellings of a version that PostgreSQL has to be asked about.
func TestRule14OneKey(t *testing.T) {
	db := newDatabase(t, "create table k (id bigint primary key, at timestamptz(0), note text)", "set timezone = 'UTC'")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "k", Topics: []string{"k"}, Key: []string{"id"}, Version: "at", RecordKey: map[string]string{"id": "$key"}}}})
	p := &decode.Part{Claim: e.claim("k", 0)}
	at := func(offset int64, id, at string) sink.Record {
		return incoming("k", offset, "", fmt.Sprintf(`{"id":%s,"at":%q,"note":"%d"}`, id, at, offset))
	}
	e.Add(p,
		at(0, `7`, "2026-01-02T00:00:00Z"), at(1, `"07"`, "2026-01-02T09:00:00.4+09:00"), at(2, `"+7"`, "2026-01-01T00:00:00Z"),
		// One version, and the later offset wins.
		at(3, `8`, "Jan 2 2026 00:00"), at(4, `" 8"`, "2026-01-02T00:00:00Z"),
		at(5, `9`, "2026-01-02T00:00:00.4Z"), at(6, `9`, "2026-01-02 00:00:00"),
		at(7, `10`, "2026-01-02T00:00:00.5Z"), at(8, `10`, "2026-01-02 00:00:00"),
		incoming("k", 9, "0011", ""))
	e.write(p)
	db.Want("7|2026-01-02 00:00:00+00|1\n8|2026-01-02 00:00:00+00|4\n9|2026-01-02 00:00:00+00|6\n10|2026-01-02 00:00:01+00|7", "select id, at, note from k order by id")
	db.Want("11", `select id from oncesink."public.k deletes"`)
	db.Want("0", "select count(*) from oncesink.dead_letters")
}

// The same records decode to the same part, however they are added.
func TestAddInPieces(t *testing.T) {
	db := newDatabase(t, "create table orders (order_id bigint primary key, note text)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"o"}, Key: []string{"order_id"}}}})
	var records []sink.Record
	for i := range int64(100) {
		records = append(records, incoming("o", i, "", []string{`{"order_id":1,"note":"x"}`, `{"order_id":2}`, `{`, `{"order_id":3,"note":null}`, ``}[i%5]))
	}
	whole, pieces := &decode.Part{}, &decode.Part{}
	e.Add(whole, records...)
	for chunk := range slices.Chunk(records, 7) {
		e.Add(pieces, chunk...)
	}
	if a, b := e.texts(whole), e.texts(pieces); a != b || whole.To != pieces.To {
		t.Errorf("in one piece:\n%s\nin several:\n%s", a, b)
	}
}

// BenchmarkAdd decodes an event of 270 bytes into 9 columns.
func BenchmarkAdd(b *testing.B) {
	db := newDatabase(b, benchTable)
	s := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"o"}, Key: []string{"order_id"}, Version: "updated_at",
		Columns: map[string]sink.ColumnConfig{"customer_id": {From: "customer.id"}}}}})
	value := []byte(`{"order_id":1002003,"customer":{"id":88123,"segment":"retail","country":"DE"},"status":"shipped","amount":1234.50,"currency":"EUR","items":3,"placed_at":"2026-01-02T03:04:05.678901Z","note":"ring twice, leave at the door","updated_at":"2026-01-02T03:04:59.000001Z","v":12}`)
	const chunk = 256
	records := make([]sink.Record, chunk)
	p := &decode.Part{}
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%chunk != 0 {
			continue // an operation is a record: 256 of them at once
		}
		for i := range records {
			records[i] = sink.Record{Topic: "o", Offset: int64(i), Value: value}
		}
		*p = decode.Part{Records: p.Records[:0], Rows: p.Rows[:0], Cells: p.Cells[:0], Text: p.Text[:0]}
		s.Add(p, records...)
		if len(p.Rows) != chunk {
			b.Fatal(s.texts(p))
		}
	}
}

// A record key that is one JSON value names a row, and fills columns, by what it says.
func TestKeyJSON(t *testing.T) {
	db := newDatabase(t, "create table people (name text primary key, raw text, doc jsonb, n numeric)", "create table days (day date primary key)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "people", Topics: []string{"p"}, Key: []string{"name"}, RecordKey: map[string]string{"name": "$key_json"},
			Columns: map[string]sink.ColumnConfig{"name": {From: "$key_json"}, "raw": {From: "$key"}, "doc": {From: "$key_json"}}},
		{Name: "days", Topics: []string{"d"}, Key: []string{"day"}, RecordKey: map[string]string{"day": "$key_json"}, Columns: map[string]sink.ColumnConfig{"day": {Unit: "days"}}},
	}})
	p := &decode.Part{Claim: e.claim("p", 0)}
	for i, key := range []string{`"ann"`, ` "b\u00f6b" `, `7.0`, `true`, `{"id": 1}`, `ann`, `"ann" x`, `null`, `"cut`} {
		e.Add(p, incoming("p", int64(i), key, `{"n":1}`))
	}
	e.write(p)
	db.Want("7.0|7.0|7.0\nann|\"ann\"|\"ann\"\nböb| \"b\\u00f6b\" |\"böb\"\ntrue|true|true\n{\"id\": 1}|{\"id\": 1}|{\"id\": 1}", `select name, raw, doc from people order by name collate "C"`)
	db.Want("5|22P02|name\n6|22P02|name\n7|23502|name\n8|22P02|name", `select "offset", code, column_name from oncesink.dead_letters order by 1`)
	db.Want("4", "select count(*) from oncesink.dead_letters where message like '%$key takes a key as it is%' or code = '23502'")
	p = &decode.Part{Claim: e.claims[offsets.Partition{Topic: "p"}]}
	for i, key := range []string{`"ann"`, `7.0`, `böb`, `null`} {
		e.Add(p, incoming("p", int64(9+i), key, ""))
	}
	e.write(p)
	db.Want("böb\ntrue\n{\"id\": 1}", `select name from people order by name collate "C"`)
	db.Want("11|22P02\n12|23502", `select "offset", code from oncesink.dead_letters where "offset" > 8 order by 1`)
	p = &decode.Part{Claim: e.claim("d", 0)}
	e.Add(p, incoming("d", 0, "", `{"day":19737}`), incoming("d", 1, "", `{"day":19738}`), incoming("d", 2, "19737", ""), incoming("d", 3, `"2024-01-16"`, ""))
	e.write(p)
	db.Want("0|2", `select (select count(*) from days), (select count(*) from oncesink."public.days deletes")`)
}
