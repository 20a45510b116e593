package connect

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

var (
	rowOf  = regexp.MustCompile("(?m)^\\| `((?:io|org)\\.[^`]*)` \\| *(?:`([a-z]*)=([^`]*)`)? *\\| (.*) \\|$")
	cellOf = regexp.MustCompile("`([^`]+)` → (?:`([^`]*)`|([0-9A-Z]{5})) in `([^`]+)`(?:, |$)")
)

// TestTypesDocument tries each row of the table in docs/formats.md: the value as it is stored, or the code that its record is
// refused with. Every type that is known is there.
func TestTypesDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	db := testpg.Open(t, testpg.URL(t), "set timezone = 'UTC'")
	columns, seen := map[string]*pgtext.Type{}, map[string]bool{}
	for _, row := range rowOf.FindAllSubmatch(text, -1) {
		name := string(row[1])
		typ, ok := TypeOf(name, map[string]string{string(row[2]): string(row[3])})
		if !ok {
			t.Errorf("%s is not known", name)
			continue
		}
		seen[name] = true
		cells := cellOf.FindAllStringSubmatch(string(row[4]), -1)
		if strings.Count(string(row[4]), "→") != len(cells) {
			t.Errorf("%s: a cell can't be read", name)
		}
		for _, cell := range cells {
			doc, want, column := cell[1], cell[2], columns[cell[4]]
			if cell[3] != "" {
				want = cell[3]
			}
			if column == nil {
				column = columnOf(t, db, cell[4])
				columns[cell[4]] = column
			}
			if got := stored(t, db, typ, doc, column, cell[4]); got != want {
				t.Errorf("%s of %s in %s: got %s, want %s", name, doc, cell[4], got, want)
			}
		}
	}
	for short := range types {
		name := "io.debezium." + short
		if connect, ok := strings.CutPrefix(short, "kafka."); ok {
			name = "org.apache.kafka.connect." + connect
		}
		if !seen[name] && !aliases[short] {
			t.Errorf("docs/formats.md does not have %s", name)
		}
	}
}

// aliases are other spellings of types that the document has.
var aliases = map[string]bool{"data.TsVector": true, "data.Tsvectors": true, "data.IsoDate": true, "data.IsoTime": true, "data.IsoTimestamp": true}

// columnOf describes a column of a type.
func columnOf(t *testing.T, db *testpg.Database, typ string) *pgtext.Type {
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), "create temp table k (v "+typ+") on commit drop"); err != nil {
		t.Fatal(err)
	}
	var oid uint32
	var typmod int32
	if err := tx.QueryRow(t.Context(), "select atttypid, atttypmod from pg_attribute where attrelid = 'k'::regclass and attname = 'v'").Scan(&oid, &typmod); err != nil {
		t.Fatal(err)
	}
	types, err := pgtext.Read(t.Context(), tx, []uint32{oid})
	if err != nil {
		t.Fatal(err)
	}
	c := types.Describe(oid, typmod)
	c.Declared, c.Session = typ, time.UTC
	c.Prepare()
	return &c
}

// stored says what a value becomes in a column, or the code of its refusal.
func stored(t *testing.T, db *testpg.Database, typ Type, doc string, column *pgtext.Type, declared string) string {
	v := valueOf(t, doc)
	var arena []byte
	var r *event.Refusal
	if err := typ.Value(&v, &arena); errors.As(err, &r) {
		return r.Code
	}
	text, r := column.AppendValue(nil, &v)
	if r != nil {
		return r.Code
	}
	var got string
	var failed *pgconn.PgError
	if err := db.QueryRow(t.Context(), "select ($1::text)::"+declared+"::text", string(text)).Scan(&got); errors.As(err, &failed) {
		return failed.Code
	} else if err != nil {
		t.Fatal(err)
	}
	return got
}
