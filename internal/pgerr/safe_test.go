package pgerr

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// What is said of an error of PostgreSQL has names, and no value of a row.
func TestSafe(t *testing.T) {
	for _, c := range []struct {
		err        pgconn.PgError
		want, full string
	}{
		{pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type integer: "abc"`}, "SQLSTATE 22P02: no text of the type, or no valid JSON", `SQLSTATE 22P02: invalid input syntax for type integer: "abc"`},
		{pgconn.PgError{Code: "23505", Message: `duplicate key value violates unique constraint "u"`, Detail: "Key (id)=(abc) already exists.", SchemaName: "public", TableName: "t", ConstraintName: "u"},
			"SQLSTATE 23505 table public.t constraint u: a unique index has the value already", `SQLSTATE 23505 table public.t constraint u: duplicate key value violates unique constraint "u"`},
		{pgconn.PgError{Code: "42601", Message: `syntax error in tsquery: "abc"`}, "SQLSTATE 42601: a syntax that the type does not read", `SQLSTATE 42601: syntax error in tsquery: "abc"`},
		{pgconn.PgError{Code: "42601", Message: `syntax error at or near "frm"`, Position: 9}, `SQLSTATE 42601: syntax error at or near "frm"`, `SQLSTATE 42601: syntax error at or near "frm"`},
		{pgconn.PgError{Code: "42P01", Message: `relation "abc" does not exist`}, "SQLSTATE 42P01: a table that is not there", `SQLSTATE 42P01: relation "abc" does not exist`},
		{pgconn.PgError{Code: "42883", Message: `operator does not exist: abc`}, "SQLSTATE 42883: a function or operator that is not there", `SQLSTATE 42883: operator does not exist: abc`},
		{pgconn.PgError{Code: "42501", Message: "permission denied for table orders"}, "SQLSTATE 42501: permission denied for table orders", "SQLSTATE 42501: permission denied for table orders"},
		{pgconn.PgError{Code: "0A000", Message: `cross-database references are not implemented: "a.b.c"`}, "SQLSTATE 0A000: what the server can't do", `SQLSTATE 0A000: cross-database references are not implemented: "a.b.c"`},
		{pgconn.PgError{Code: "XX000", Message: "cache lookup failed for type 12"}, "SQLSTATE XX000: cache lookup failed for type 12", "SQLSTATE XX000: cache lookup failed for type 12"},
		{pgconn.PgError{Code: "40P01", Message: "deadlock detected", Detail: "abc"}, "SQLSTATE 40P01: deadlock detected", "SQLSTATE 40P01: deadlock detected"},
		{pgconn.PgError{Code: "P0001", Message: "no abc", Routine: "exec_stmt_raise", Where: "PL/pgSQL function f() line 1 at RAISE"}, "SQLSTATE P0001 in function f()", "SQLSTATE P0001 in function f()"},
		{pgconn.PgError{Code: "40001", Message: "no abc", Routine: "exec_stmt_raise"}, "SQLSTATE 40001", "SQLSTATE 40001"},
		{pgconn.PgError{Code: "58030", Message: `could not write "base/1"`, Where: `COPY t, line 1: "abc"`}, "SQLSTATE 58030", "SQLSTATE 58030"},
	} {
		pg := c.err
		pg.Severity = "ERROR"
		wrapped := fmt.Errorf("write it: %w", errors.Join(&pg, errors.New("and more")))
		if got := Safe(wrapped); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if got := Full(wrapped); got != c.full {
			t.Errorf("full: got  %s\nwant %s", got, c.full)
		}
		if got, want := Text(wrapped), "write it: "+c.want+"\nand more"; got != want {
			t.Errorf("text: got  %s\nwant %s", got, want)
		}
	}
	if got := Text(errors.New("plain")); got != "plain" || Text(nil) != "" {
		t.Errorf("got %q", got)
	}
}

func TestUnquoted(t *testing.T) {
	for text, want := range map[string]string{
		`strconv.Atoi: parsing "a\"b c": invalid syntax`: "strconv.Atoi: parsing ***: invalid syntax",
		"no 'x y' and `z`, can't be":                     "no *** and ***, can't be",
		`it begins "and does not end`:                    "it begins ***",
		"the shop's door isn't open":                     "the shop's door isn't open",
		`"whole"`:                                        "***",
		"nothing":                                        "nothing",
	} {
		if got := Unquoted(text); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestMasked(t *testing.T) {
	holds := func(word string) bool { return strings.Contains(" the 4711 Müller 12 ab ", " "+word+" ") }
	if got, want := Masked("the account 4711 of Müller, 12 ab, has no number 4712", holds), "the account *** of ***, 12 ab, has no number 4712"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
