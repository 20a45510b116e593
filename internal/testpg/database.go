package testpg

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Database is a database of a test's own, with a connection to it. Errors end the test.
type Database struct {
	*pgx.Conn
	T   testing.TB
	URL string
}

// Open connects to a database, and executes statements to begin with.
func Open(t testing.TB, url string, statements ...string) *Database {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	db := &Database{conn, t, url}
	for _, s := range statements {
		db.Do(s)
	}
	return db
}

// Do executes a statement.
func (db *Database) Do(sql string, args ...any) {
	db.T.Helper()
	if _, err := db.Exec(db.T.Context(), sql, args...); err != nil {
		db.T.Fatalf("%s: %v", sql, err)
	}
}

// Lines returns the result of a query, one line a row, values separated by "|", null as "-".
func (db *Database) Lines(sql string, args ...any) string {
	db.T.Helper()
	rows, err := db.Query(db.T.Context(), sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
	if err != nil {
		db.T.Fatalf("%s: %v", sql, err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var out []string
		for _, v := range row.RawValues() {
			if v == nil {
				out = append(out, "-")
			} else {
				out = append(out, string(v))
			}
		}
		return strings.Join(out, "|"), nil
	})
	if err != nil {
		db.T.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(lines, "\n")
}

// Want compares the lines of a query.
func (db *Database) Want(want, sql string, args ...any) {
	db.T.Helper()
	if got := db.Lines(sql, args...); got != want {
		db.T.Errorf("%s\ngot:\n%s\nwant:\n%s", sql, got, want)
	}
}

// Texts returns a query's first column; nil is NULL.
func (db *Database) Texts(sql string, args ...any) []*string {
	db.T.Helper()
	rows, err := db.Query(db.T.Context(), sql, args...)
	if err != nil {
		db.T.Fatalf("%s: %v", sql, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	if err != nil {
		db.T.Fatalf("%s: %v", sql, err)
	}
	return out
}
