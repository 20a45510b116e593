package engine

import (
	"fmt"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// A dead letter names the column whose value PostgreSQL refuses, though its errors name none.
func TestColumnOfRefusedValue(t *testing.T) {
	if onRoute() {
		return
	}
	for _, tt := range []struct{ setup, typ, bad, want string }{
		{"", "varchar(2)", "abc", "22001|v"},
		{"", "char(2)", "abc", "22001|v"},
		{"", "bit(3)", "10", "22026|v"},
		{"", "varbit(3)", "1010", "22001|v"},
		{"", "varchar(2)[]", "{a,abc}", "22001|v"},
		{"", "numeric(4,2)", "1000", "22003|v"},
		{"", "int", "99999999999", "22003|v"},
		{"", "int", "two", "22P02|v"},
		{"", "smallint[]", "{1,70000}", "22003|v"},
		{"", "date", "2026-02-30", "22008|v"},
		{"", "timestamptz", "300000-13-01", "22008|v"},
		{"", "timestamptz(0)", "noon?", "22007|v"},
		{"", "uuid", "xyz", "22P02|v"},
		{"", "jsonb", "{", "22P02|v"},
		{"create type mood as enum ('good')", "mood", "bad", "22P02|v"},
		{"create domain percent as int check (value <= 100)", "percent", "101", "23514|v"},
		{"create domain code as varchar(3)", "code", "abcd", "22001|v"},
		{"create domain doc as jsonb check (value ? 'a')", "doc", "{}", "23514|v"},
		{"create domain filled as text not null", "filled", "null", "23502|v"},
		{"create type pair as (a int, b varchar(1))", "pair", "(1,xy)", "22001|v"},
		{"", "int not null", "null", "23502|v"},
		// What is refused is no column's value alone: none is named.
		{"", "int check (v < 10)", "11", "23514|-"},
		{"", "int, w int generated always as (1 / v) stored", "0", "22012|-"},
	} {
		t.Run(tt.typ+" "+tt.bad, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			if tt.setup != "" {
				db.Do(tt.setup)
			}
			db.Do("create table q (id int primary key, a varchar(10), b timestamptz, v " + tt.typ + ", z numeric(6,2))")
			e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
			e.write(e.part("o", 0, ev{offset: 0, cols: fmt.Sprintf("id=1 a=abc b=2026-01-01 v=%s z=1.25", tt.bad)}))
			db.Want(tt.want, `select code || '|' || coalesce(column_name, '-') from oncesink.dead_letters`)
		})
	}
}

// Of two columns that have errors, one is named whose error the letter has.
func TestColumnHasTheLettersError(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, a date, b varchar(2), c int)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 a=2026-01-01 b=ab c=x"}, ev{offset: 1, cols: "id=2 a=2026-02-30 b=abc c=1"},
		ev{offset: 2, cols: "id=3 a=2026-01-01 b=abc c=1"}, ev{offset: 3, cols: "id=4 a=2026-01-01 b=ab c=1"},
		ev{offset: 4, cols: "id=5 a=2026-01-01 b=ab c=y"},
		ev{offset: 5, cols: "id=6 a=2026-02-30 b=ab c=y"})) // c is read first, as it was to blame last
	db.Want("0|22P02|c\n1|22008|a\n2|22001|b\n4|22P02|c\n5|22008|a", `select "offset", code, column_name from oncesink.dead_letters order by 1`)
	db.Want("4", "select id from q")
}

// The column is named of an element of a table of children, and of what is computed: an input if that can't be read, else
// the column that the expression makes.
func TestColumnOfChildrenAndComputed(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, total numeric(4,2))", "create table items (id int, n int, sku varchar(3), qty int, primary key (id, n))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{
			"total": {SQL: "100.0 / cents", Inputs: map[string]sink.InputConfig{"cents": {Type: "int"}}}}},
		{Name: "items", Strategy: sink.Children, Parent: "q", Each: "items", Key: []string{"id", "n"}, Columns: map[string]sink.ColumnConfig{"n": {From: "$index"}}},
	}})
	p := &decode.Part{Claim: e.claim("o", 0)}
	for i, event := range []string{
		`{"id":1,"cents":"10","items":[{"sku":"abc","qty":"1"},{"sku":"abcd","qty":"1"}]}`,
		`{"id":2,"cents":"10","items":[{"sku":"abc","qty":"1"},{"sku":"abc","qty":"99999999999"}]}`,
		`{"id":3,"cents":"ten","items":[]}`,
		`{"id":4,"cents":"0","items":[]}`,
		`{"id":5,"cents":"1","items":[]}`,
		`{"id":6,"cents":"4","items":[{"sku":"abc","qty":"1"}]}`,
	} {
		e.Add(p, incoming("o", int64(i), "", event))
	}
	e.write(p)
	db.Want("0|22001|public.items|sku\n1|22003|public.items|qty\n2|22P02|public.q|cents\n3|22012|public.q|total\n4|22003|public.q|total",
		`select "offset", code, target, column_name from oncesink.dead_letters order by 1`)
	db.Want("6", "select id from q")
}
