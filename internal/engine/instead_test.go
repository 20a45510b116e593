package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

func instead(text string, of sink.DefaultFor) sink.ColumnConfig {
	return sink.ColumnConfig{Default: &text, DefaultFor: of}
}

// Rule 16: a default stands for null, or for what the event does not have, and then sets the column where the row exists, too.
func TestRule16Defaults(t *testing.T) {
	db := newDatabase(t, "create table d (id int primary key, either text, absent text, nulls text default 'database', n numeric(9,2) default 7, twice text, note text, kind text)")
	table := sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}, Columns: map[string]sink.ColumnConfig{
		"either": instead("??", ""), "absent": instead("a", sink.DefaultForAbsent), "nulls": instead("n", sink.DefaultForNull), "n": instead("1.5", sink.DefaultForBoth),
		"twice": {SQL: "either || either"}, "kind": {From: "$header.kind", Default: ptrTo("plain")},
	}}
	e := db.upsert("d", table)
	write := func(n int, events ...string) {
		p := &decode.Part{Claim: e.claim("o", 0)}
		for i, event := range events {
			e.Add(p, incoming("o", int64(n+i), fmt.Sprint(1+i%2), event))
		}
		e.write(p)
	}
	write(0, `{"id":1,"either":"x","absent":"y","nulls":"z","n":2,"note":"first"}`, `{"id":2}`)
	const rows = "select id, either, absent, nulls, n, twice, note, kind from d order by id"
	db.Want("1|x|y|z|2.00|xx|first|plain\n2|??|a|database|1.50|????|-|plain", rows)
	write(2, `{"id":1,"either":null,"absent":null,"nulls":null,"n":null}`, `{"id":2,"nulls":"z","note":"second"}`)
	db.Want("1|??|-|n|1.50|????|first|plain\n2|??|a|z|1.50|????|second|plain", rows)
	write(4, `{"id":1}`, ``) // what has no field stands for its default, and a tombstone for nothing
	want := "1|??|a|n|1.50|????|first|plain"
	db.Want(want, rows)
	db.Want("0", "select count(*) from oncesink.dead_letters")
	e.rewind("o", 0, 0)
	write(0, `{"id":1,"either":"x","absent":"y","nulls":"z","n":2,"note":"first"}`, `{"id":2}`, `{"id":1,"either":null,"absent":null,"nulls":null,"n":null}`, `{"id":2,"nulls":"z","note":"second"}`, `{"id":1}`, ``)
	db.Want(want, rows)
}

func ptrTo[T any](v T) *T { return &v }

// Elements of an array have defaults as well; a value that the source withheld has none.
func TestDefaultsOfChildrenAndOfWhatIsWithheld(t *testing.T) {
	if onRoute() {
		return
	}
	db := newDatabase(t, "create table o (id int primary key, note text)", "create table l (id int, line int, unit text not null, note text, primary key (id, line))")
	e := db.open(sink.Config{
		Topics: map[string]sink.TopicConfig{"o": {Format: sink.JSON, Envelope: &sink.Envelope{Unavailable: "?"}}},
		Tables: []sink.TableConfig{
			{Name: "o", Topics: []string{"o"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}, Columns: map[string]sink.ColumnConfig{"note": instead("none", "")}},
			{Name: "l", Strategy: sink.Children, Parent: "o", Each: "lines", Key: []string{"id", "line"}, Columns: map[string]sink.ColumnConfig{"unit": instead("piece", ""), "note": {From: "$event.note", Default: ptrTo("-")}}},
		}})
	p := &decode.Part{Claim: e.claim("o", 0)}
	for i, event := range []string{`{"id":1,"note":"kept","lines":[]}`, `{"id":1,"note":"?"}`, `{"id":2,"lines":[{"line":1},{"line":2,"unit":null},{"line":3,"unit":"kg"}]}`} {
		e.Add(p, incoming("o", int64(i), fmt.Sprint(1+i/2), event))
	}
	e.write(p)
	db.Want("1|kept\n2|none", "select id, note from o order by id")
	db.Want("2|1|piece|-\n2|2|piece|-\n2|3|kg|-", "select id, line, unit, note from l order by line")
}

// Rules 15, 27 and 28: a default is read as a text of an event is, and one that could not be stored is refused at the start.
func TestCheckRefusesDefaults(t *testing.T) {
	if onRoute() {
		return
	}
	db := newDatabase(t, "create type color as enum ('red', 'green')", "create domain small as int check (value < 10)",
		"create table c (id int primary key, i int, n numeric(4,2), v varchar(3), ch char(3), d date, ts timestamptz, b bytea, js jsonb, je jsonb, e color, s small, bl boolean, ta text[], da date[], u timestamptz, sc numeric, bits bit(3), g int generated always as (1) stored)")
	forms := map[string]sink.ColumnConfig{"b": {Encoding: "base64"}, "je": {Encoding: "json"}, "u": {Unit: "ms"}, "sc": {Scale: ptrTo(int32(2))}}
	for i, tt := range []struct{ column, text, want string }{
		{"i", "7", "7"}, {"i", "x", "22P02"}, {"i", "", "22P02"}, {"i", "99999999999", "22003"},
		{"n", "1.5", "1.50"}, {"n", "123.4", "22003"}, {"v", "abc", "abc"}, {"v", "abcd", "22001"}, {"v", "", ""}, {"v", `it's \`, "22001"}, {"v", `'\$`, `'\$`}, {"ch", "abcd", "22001"},
		{"d", "2026-01-02", "2026-01-02"}, {"d", "today", "22007"}, {"ts", "now", "22007"}, {"ts", "1705310101", "22007"}, {"ts", "-infinity", "-infinity"},
		{"b", "AP8=", `\x00ff`}, {"b", "?", "22P02"}, {"js", "{}", `"{}"`}, {"je", "{}", "{}"}, {"je", "{", "22P02"}, {"v", "a\x00", "22P05"},
		{"e", "red", "red"}, {"e", "blue", "22P02"}, {"s", "9", "9"}, {"s", "10", "23514"}, {"bl", "true", "true"}, {"bl", "perhaps", "22P02"},
		{"ta", "{a,b}", "{a,b}"}, {"ta", "a", "22P02"}, {"da", "{}", "22P02"}, {"u", "0", "1970-01-01 00:00:00+00"}, {"sc", "10.32", "10.32"}, {"bits", "1011", "22026"},
		{"g", "1", "is generated"},
	} {
		cfg := forms[tt.column]
		cfg.Default = &tt.text
		table := sink.TableConfig{Key: []string{"id"}, Guard: "none", Columns: map[string]sink.ColumnConfig{"b": forms["b"], tt.column: cfg}}
		err := db.openErr("c", table)
		if err != nil {
			var problem *sink.ConfigError
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "column "+tt.column+" of public.c") {
				t.Errorf("%s %q: got %v, want %q in it", tt.column, tt.text, err, tt.want)
			}
			continue
		}
		topic := fmt.Sprintf("c%d", i) // each is another mapping (rule 9)
		e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "c", Topics: []string{topic}, Key: table.Key, Guard: table.Guard, Columns: table.Columns}}})
		db.Do("delete from c")
		p := &decode.Part{Claim: e.claim(topic, 0)}
		e.Add(p, incoming(topic, 0, "", `{"id":1}`))
		e.write(p)
		if got := db.Lines("select coalesce(" + tt.column + "::text, 'NULL') from c"); got != tt.want {
			t.Errorf("%s: default %q is stored as %q, want %q", tt.column, tt.text, got, tt.want)
		}
	}
}

// Where a Connect decimal comes without its schema the column says its scale; in a key, an array and an input as well.
func TestScale(t *testing.T) {
	db := newDatabase(t, "create table s (id numeric primary key, amount numeric(12,2), n bigint, list numeric[], half numeric)")
	two, none := ptrTo(int32(2)), ptrTo(int32(0))
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "s", Topics: []string{"s"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key.id"}, Columns: map[string]sink.ColumnConfig{
		"id": {Scale: two}, "amount": {From: "amt", Scale: two}, "n": {Scale: none}, "list": {Scale: two},
		"half": {SQL: "whole / 2", Inputs: map[string]sink.InputConfig{"whole": {From: "amt", Type: "numeric", Scale: two}}},
	}}}})
	if from := e.Describe()[0].Columns[1].From; from != "amt (texts are base64 of a number, 2 digits of it after the point)" {
		t.Errorf("amount comes from %s", from)
	}
	p := &decode.Part{Claim: e.claim("s", 0)}
	for i, ev := range [][2]string{
		{`{"id":"BAg="}`, `{"id":"BAg=","amt":"BAg=","n":"BAg=","list":["BAg=","/w==",null]}`},
		{`{"id":"AQ=="}`, `{"id":0.01,"amt":10.32,"n":5,"list":[1]}`},
		{`{"id":"AQ=="}`, ``}, // the same key
		{`{"id":"Ag=="}`, `{"id":"Ag==","amt":"10.32"}`},
		{`{"id":"Aw=="}`, `{"id":"Aw==","n":"AQAAAAAAAAAA"}`},
	} {
		e.Add(p, incoming("s", int64(i), ev[0], ev[1]))
	}
	e.write(p)
	db.Want("10.32|10.32|1032|{10.32,-0.01,NULL}|5.1600000000000000", "select id, amount, n, list, half from s")
	db.Want("3|22P02|amount\n4|22003|n", `select "offset", code, column_name from oncesink.dead_letters order by 1`)
	for column, want := range map[string]string{"half": "is numeric", "amount": "an integer has no digits"} {
		db := newDatabase(t, "create table s (id int primary key, amount int, half text)")
		err := db.openErr("s", sink.TableConfig{Key: []string{"id"}, Guard: "none", Columns: map[string]sink.ColumnConfig{column: {Scale: two}}})
		if want = strings.Replace(want, "is numeric", "scale is for decimals of numeric", 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", column, err, want)
		}
	}
}

// Rule 9: what a column takes for nothing, and what its texts are, belongs to the mapping; what is said twice does not.
func TestFingerprintOfDefaultsAndScale(t *testing.T) {
	if onRoute() {
		return
	}
	db := newDatabase(t, "create table f (id int primary key, n numeric)")
	seen := map[string]string{}
	for _, tt := range []struct {
		name, as string
		c        sink.ColumnConfig
	}{
		{"nothing", "", sink.ColumnConfig{}},
		{"scale 0", "", sink.ColumnConfig{Scale: ptrTo(int32(0))}},
		{"scale 1", "", sink.ColumnConfig{Scale: ptrTo(int32(1))}},
		{"default 0", "", instead("0", "")},
		{"default 1", "", instead("1", "")},
		{"for null", "", instead("0", sink.DefaultForNull)},
		{"for both", "default 0", instead("0", sink.DefaultForBoth)},
	} {
		e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "f", Topics: []string{"f"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"n": tt.c}}}})
		print := e.Describe()[0].Fingerprint
		if seen[print] != tt.as {
			t.Errorf("%s has the fingerprint of %q", tt.name, seen[print])
		}
		seen[print] = tt.name
	}
}
