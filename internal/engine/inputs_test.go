package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// inputsTable computes columns from fields that no column takes.
var inputsTable = sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}, Columns: map[string]sink.ColumnConfig{
	"total": {SQL: "cents * n / 100.0", Inputs: map[string]sink.InputConfig{"cents": {From: "price.cents", Type: "bigint"}}},
	"late":  {SQL: "seen > due", Inputs: map[string]sink.InputConfig{"seen": {Type: "timestamptz", Unit: "ms"}, "due": {Type: "timestamptz"}}},
	"tag":   {SQL: "upper(tags[1]) || kind", Inputs: map[string]sink.InputConfig{"tags": {Type: "text[]"}, "kind": {From: "$header.kind", Type: "text"}}},
}}

const inputsCreate = "create table q (id int primary key, n int default 1, total numeric(9,2), late boolean, tag text default '-', note text)"

// A computed column reads fields of the event that no column takes; an event that lacks one leaves it as it is.
func TestInputs(t *testing.T) {
	db := newDatabase(t, inputsCreate)
	e := db.upsert("q", inputsTable)
	write := func() {
		p := &decode.Part{Claim: e.claim("o", 0)}
		for i, event := range []string{
			`{"id":1,"n":3,"price":{"cents":250},"seen":1705310101000,"due":"2024-01-01T00:00:00Z","tags":["a","b"]}`,
			`{"id":2,"n":3,"price":{"cents":"250"},"seen":0,"due":"2024-01-01T00:00:00Z"}`,
			`{"id":1,"seen":0,"note":"neither total nor late"}`,
			`{"id":1,"due":"1960-01-01T00:00:00Z","seen":0}`,
			`{"id":2,"price":{"cents":null},"n":4}`,
			`{"id":3,"price":{"cents":1.5},"n":4}`,
			`{"id":4,"price":{"cents":7},"total":99,"late":true}`, // without n
			`{"id":5,"seen":"no time","due":"2024-01-01T00:00:00Z"}`,
			``,
		} {
			r := incoming("o", int64(i), "2", event)
			r.Headers = []sink.Header{{Key: "kind", Value: []byte("!")}}
			e.Add(p, r)
		}
		e.write(p)
	}
	write()
	const rows = "select id, n, total, late, tag, note from q order by id"
	want := "1|3|7.50|t|A!|neither total nor late\n4|1|-|-|-|-"
	db.Want(want, rows)
	// Under its own name: PostgreSQL's word is about the input, not about a column.
	db.Want("5|22P02|total\n7|22007|-", `select "offset", code, case column_name when 'cents' then 'total' else '-' end from oncesink.dead_letters where target = 'public.q' and code <> 'ONS01' order by 1`)
	e.rewind("o", 0, 0)
	write()
	db.Want(want, rows)
	var columns []string
	for _, c := range e.Describe()[0].Columns {
		columns = append(columns, c.Name+" "+c.From)
	}
	if got := strings.Join(columns, "; "); got != "id id; n n; total sql: cents * n / 100.0 (cents from price.cents); late sql: seen > due (due from due, seen from seen); tag sql: upper(tags[1]) || kind (kind from $header.kind, tags from tags); note note" {
		t.Error(got)
	}
	l, _ := e.Layout("q")
	if got := strings.Join(l.Columns, " "); got != "id n total late tag note" {
		t.Errorf("the layout has %s", got)
	}
}

// With more sets of fields than statements are made for, presence decides row by row.
func TestInputsFlagged(t *testing.T) {
	db := newDatabase(t, inputsCreate)
	e := db.upsert("q", inputsTable)
	for round := range 2 { // inserts, then updates
		p := &decode.Part{Claim: e.claim("o", 0)}
		for i := range 64 {
			event := fmt.Sprintf(`{"id":%d,"note":"%d"`, i, round)
			for k, field := range []string{`"n":2`, `"price":{"cents":100}`, `"seen":0`, `"due":"1960-01-01"`, `"tags":["x"]`} {
				if i>>k&1 == 1 {
					event += "," + field
				}
			}
			r := incoming("o", int64(64*round+i), "", event+"}")
			if i >= 32 {
				r.Headers = []sink.Header{{Key: "kind", Value: []byte("k")}}
			}
			e.Add(p, r)
		}
		e.write(p)
		db.Want("0", "select count(*) from oncesink.dead_letters")
		db.Want("64|0", `select count(*), count(*) filter (where
			total is distinct from case when id & 3 = 3 then 2.00 end or late is distinct from case when id & 12 = 12 then true end
			or tag <> case when id & 16 > 0 and id >= 32 then 'Xk' else '-' end or note <> $1::text) from q`, fmt.Sprint(round))
	}
}

// Children have inputs of their element and of the event.
func TestInputsOfChildren(t *testing.T) {
	db := newDatabase(t, "create table o (id int primary key)", "create table i (id int, line int, total numeric, at timestamptz, primary key (id, line))", "set timezone = 'UTC'")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "o", Topics: []string{"o"}, Key: []string{"id"}},
		{Name: "i", Strategy: sink.Children, Parent: "o", Each: "items", Key: []string{"id", "line"}, Columns: map[string]sink.ColumnConfig{
			"line":  {From: "$index"},
			"total": {SQL: "price * (1 + tax)", Inputs: map[string]sink.InputConfig{"price": {Type: "numeric"}, "tax": {From: "$event.tax", Type: "numeric"}}},
			"at":    {SQL: "at_ms", Inputs: map[string]sink.InputConfig{"at_ms": {From: "t", Type: "timestamptz", Unit: "ms"}}},
		}},
	}})
	p := &decode.Part{Claim: e.claim("o", 0)}
	e.Add(p, incoming("o", 0, "", `{"id":1,"tax":0.5,"items":[{"price":10,"t":0},{"price":2}]}`), incoming("o", 1, "", `{"id":2,"items":[{"price":10}]}`))
	e.write(p)
	db.Want("1|1|15.0|1970-01-01 00:00:00+00\n1|2|3.0|-\n2|1|-|-", "select id, line, total, at from i order by 1, 2")
}

// A bulk stage knows the table's columns only, and what an event fills of them.
func TestInputsOfAStage(t *testing.T) {
	db := newDatabase(t, inputsCreate)
	e := db.upsert("q", inputsTable)
	for event, want := range map[string]string{
		`{"id":1,"n":3,"price":{"cents":250},"note":"x"}`: "111001",
		`{"id":1,"n":3,"note":"x"}`:                       "110001",
		`{"id":1,"n":3,"seen":0,"note":"x"}`:              "110001",
		`{"id":1,"seen":0,"due":"2024-01-01"}`:            "100100",
	} {
		if got := e.StageSet("q", incoming("o", 0, "", event)); got != want {
			t.Errorf("%s: got %s, want %s", event, got, want)
		}
	}
}

func TestInputsRefused(t *testing.T) {
	if onRoute() {
		return
	}
	db := newDatabase(t, "create table q (id int primary key, at timestamptz, other int, gen int generated always as (1) stored)", "create domain cents as bigint")
	in := func(name string, c sink.InputConfig) map[string]sink.InputConfig {
		return map[string]sink.InputConfig{name: c}
	}
	for name, tt := range map[string]struct {
		columns map[string]sink.ColumnConfig
		want    string
	}{
		"without sql":      {map[string]sink.ColumnConfig{"other": {From: "x", Inputs: in("ts", sink.InputConfig{Type: "int"})}}, "columns.other.inputs are what an sql expression reads"},
		"a column's name":  {map[string]sink.ColumnConfig{"other": {SQL: "at", Inputs: in("at", sink.InputConfig{Type: "int"})}}, "name of a column of the table"},
		"a generated one":  {map[string]sink.ColumnConfig{"other": {SQL: "gen", Inputs: in("gen", sink.InputConfig{Type: "int"})}}, "name of a column of the table"},
		"the engine's":     {map[string]sink.ColumnConfig{"other": {SQL: "_oncesink_x", Inputs: in("_oncesink_x", sink.InputConfig{Type: "int"})}}, "name of the engine's column"},
		"no type":          {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{})}}, "columns.other.inputs.ts.type is required"},
		"unknown type":     {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "bigserial"})}}, `no type "bigserial"`},
		"more than a type": {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "int); drop table q; --"})}}, "input ts of public.q"},
		"a length":         {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "numeric(6,2)"})}}, "length or precision"},
		"a domain":         {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "cents"})}}, "is a domain"},
		"a pseudo-type":    {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "anyelement"})}}, "pseudo-type"},
		"unread":           {map[string]sink.ColumnConfig{"other": {SQL: "id", Inputs: in("ts", sink.InputConfig{Type: "int"})}}, "does not read its input ts"},
		"another's":        {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "int"})}, "at": {SQL: "to_timestamp(ts)"}}, `column "ts" does not exist`},
		"two meanings":     {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "int"})}, "at": {SQL: "to_timestamp(ts)", Inputs: in("ts", sink.InputConfig{Type: "bigint"})}}, "something else in it"},
		"a unit of none":   {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "int", Unit: "ms"})}}, "unit is for numbers of date"},
		"a bad source":     {map[string]sink.ColumnConfig{"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "int", From: "$nothing"})}}, `columns.other.inputs.ts.from "$nothing" is no source`},
		"as the key":       {map[string]sink.ColumnConfig{"id": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "int"})}}, "computes the key"},
		"not immutable":    {map[string]sink.ColumnConfig{"at": {SQL: "ts::timestamptz", Inputs: in("ts", sink.InputConfig{Type: "text"})}}, "need not give the same value"},
	} {
		t.Run(name, func(t *testing.T) {
			err := db.openErr("q", sink.TableConfig{Key: []string{"id"}, Columns: tt.columns})
			var problem *sink.ConfigError
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	if err := db.openErr("q", sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{
		"other": {SQL: "ts", Inputs: in("ts", sink.InputConfig{Type: "int"})}, "at": {SQL: "to_timestamp(ts)", Inputs: in("ts", sink.InputConfig{Type: "int"})}}}); err != nil {
		t.Errorf("two expressions share an input: %v", err)
	}
}
