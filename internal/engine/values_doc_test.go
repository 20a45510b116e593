package engine

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// docExample is a value and what the document says becomes of it.
var docExample = regexp.MustCompile("`([^`]+)` → (`[^`]*`|[0-9A-Z]{5}|\\?)")

var (
	docCode    = regexp.MustCompile("`([^`]+)`")
	docOptions = regexp.MustCompile("`(\\w+): ([^`]+)`")
)

// docTypes are the rows that no type of PostgreSQL is named in.
var docTypes = map[string]string{"an enum type": "color", "a composite type": "span", "a domain over `date`": "day"}

// docTables finds the rows of the tables of a document that have so many cells, by line.
func docTables(lines []string, cells int) map[int][]string {
	rows := map[int][]string{}
	for n, line := range lines {
		row := strings.Split(strings.Trim(line, "| "), " | ")
		if strings.HasPrefix(line, "| ") && len(row) == cells && row[0] != "type" {
			rows[n] = row
		}
	}
	return rows
}

// docTypesOf are the types of a row.
func docTypesOf(cell string) (types []string) {
	if typ, ok := docTypes[cell]; ok {
		return []string{typ}
	}
	for _, m := range docCode.FindAllStringSubmatch(cell, -1) {
		types = append(types, m[1])
	}
	return types
}

// docTime is the time of the records.
var docTime = time.Date(2026, 1, 2, 0, 0, 0, 123_000_000, time.UTC)

// TestValuesDocument tries each cell of the tables in docs/values.md.
func TestValuesDocument(t *testing.T) {
	if onRoute() {
		return
	}
	const path = "../../docs/values.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	db := newDatabase(t, append(nestedTypes[:len(nestedTypes):len(nestedTypes)], "create type color as enum ('red', 'green')")...)
	db.Do("set timezone = 'UTC'")
	var cfg sink.Config
	type try struct {
		table, line int
		value       string
		want        string // as the document has it
	}
	var tries []try
	add := func(line int, typ string, column sink.ColumnConfig, cells ...string) {
		n := len(cfg.Tables)
		name := fmt.Sprintf("t%d", n)
		db.Do(fmt.Sprintf("create table %s (id int primary key, v %s)", name, typ))
		cfg.Tables = append(cfg.Tables, sink.TableConfig{Name: name, Topics: []string{name}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"v": column}})
		for _, cell := range cells {
			examples := docExample.FindAllStringSubmatch(cell, -1)
			if len(examples) == 0 {
				t.Errorf("type %s: the cell %q has no example", typ, cell)
			}
			for _, m := range examples {
				tries = append(tries, try{n, line, m[1], m[2]})
			}
		}
	}
	forms := docTables(lines, 8)
	for n, row := range forms {
		for _, typ := range docTypesOf(row[0]) {
			add(n, typ, sink.ColumnConfig{}, row[1], row[2], row[3], row[5], row[6])
		}
		if row[4] != "NULL" || row[7] != "stays" {
			t.Errorf("%s: null is %q, and absent %q", row[0], row[4], row[7])
		}
		for i, form := range map[int]string{1: `-?\d`, 2: `"`, 3: `true|false`, 5: `\{`, 6: `\[`} {
			for _, m := range docExample.FindAllStringSubmatch(row[i], -1) {
				if !regexp.MustCompile(`^(` + form + `)`).MatchString(m[1]) {
					t.Errorf("%s: %s is in the wrong column", row[0], m[1])
				}
			}
		}
	}
	matrix := len(cfg.Tables)
	options := docTables(lines, 3)
	for n, row := range options {
		var c sink.ColumnConfig
		for _, m := range docOptions.FindAllStringSubmatch(row[1], -1) {
			switch m[1] {
			case "scale":
				n, err := strconv.ParseInt(m[2], 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				c.Scale = ptrTo(int32(n))
				continue
			case "default":
				c.Default = ptrTo(m[2])
				continue
			}
			*map[string]*string{"unit": &c.Unit, "zone": &c.Zone, "encoding": &c.Encoding, "rounding": &c.Rounding, "from": &c.From}[m[1]] = m[2]
		}
		add(n, docTypesOf(row[0])[0], c, row[2])
	}
	if len(forms) < 25 || len(options) < 15 {
		t.Fatalf("found %d and %d rows of tables", len(forms), len(options))
	}

	e := db.open(cfg)
	parts := map[int]*decode.Part{}
	stored := map[int]int{} // table -> a try that stored something
	event := func(table, offset, id int, value string) {
		topic := fmt.Sprintf("t%d", table)
		if parts[table] == nil {
			parts[table] = &decode.Part{Claim: e.claim(topic, 0)}
		}
		if value != "" {
			value = `,"v":` + value
		}
		r := incoming(topic, int64(offset), `"x"`, fmt.Sprintf(`{"id":%d%s}`, id, value))
		r.Timestamp = docTime
		e.Add(parts[table], r)
	}
	for i, x := range tries {
		event(x.table, i, i, x.value)
	}
	flush := func() {
		for table := range cfg.Tables {
			if p := parts[table]; p != nil {
				e.write(p)
			}
		}
		clear(parts)
	}
	flush()
	for i, x := range tries {
		got := db.Lines(fmt.Sprintf("select '`' || v::text || '`' from t%d where id = $1 union all select code from oncesink.dead_letters where topic = $2 and \"offset\" = $1", x.table), i, fmt.Sprintf("t%d", x.table))
		if strings.HasPrefix(got, "`") {
			stored[x.table] = i
		}
		got = strings.ReplaceAll(got, "\n", `\n`)
		switch {
		case got == x.want:
		case *update:
			lines[x.line] = strings.Replace(lines[x.line], "`"+x.value+"` → "+x.want, "`"+x.value+"` → "+got, 1)
		default:
			t.Errorf("line %d, %s: got %s, the document has %s", x.line+1, x.value, got, x.want)
		}
	}
	// null and absent, over a row that has a value.
	for table := range matrix {
		id, ok := stored[table]
		if !ok {
			t.Errorf("nothing is stored in t%d", table)
		}
		event(table, len(tries), id, "")
		flush()
		db.Want("f", fmt.Sprintf("select v is null from t%d where id = $1", table), id)
		event(table, len(tries)+1, id, "null")
		flush()
		db.Want("t", fmt.Sprintf("select v is null from t%d where id = $1", table), id)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
