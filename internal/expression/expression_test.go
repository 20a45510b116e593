package expression

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

func connect(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), `create table orders (order_id bigint primary key, "Status" text not null default 'new',
		amount numeric(12, 2), placed_at timestamptz, day date, twice bigint generated always as (order_id * 2) stored)`); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestCheck: immutable expressions pass, with their type and the columns that they read; all
// others are refused, with what to write instead.
func TestCheck(t *testing.T) {
	conn := connect(t)
	for _, tt := range []struct {
		sql, typ, columns string
		refused           string // a part of the refusal
	}{
		{"order_id", "bigint", "order_id", ""},
		{"case when hashtextextended(order_id::text, 7) % 2 = 0 then 'A' else 'B' end", "text", "order_id", ""},
		{`amount * 2 + length("Status")`, "numeric", "Status amount", ""},
		{"(placed_at at time zone 'Europe/Berlin')::date", "date", "placed_at", ""},
		{"date_trunc('hour', placed_at at time zone 'UTC')", "timestamp without time zone", "placed_at", ""},
		{"'it''s'", "text", "", ""},
		{"twice + 1", "bigint", "twice", ""}, // of a copy, in which it is a column like any other
		{"now()", "", "", "instead of the clock"},
		{"current_date", "", "", "instead of the clock"},
		{"random() < 0.5", "", "", "hashtextextended"},
		{"gen_random_uuid()", "", "", "hashtextextended"},
		{"placed_at::date", "", "", "at time zone"},
		{"placed_at::text", "", "", "at time zone"},
		{"to_char(placed_at, 'YYYY')", "", "", "at time zone"},
		{"pg_backend_pid()", "", "", "immutable"},
		{"sum(amount)", "", "", "aggregate"},
		{"(select 1)", "", "", "subquer"},
		{"order_id, amount", "", "", "one SQL expression"},
		{"no_column", "", "", "no_column"},
		{"amount +", "", "", "syntax"},
		{"amount) stored, add column x int generated always as (1", "", "", "closes a parenthesis"},
		{"(amount", "", "", "open"},
		{"1; drop table orders", "", "", "more than one"},
		{"1 -- comment", "", "", "comment"},
		{"1 /* comment", "", "", "comment"},
		{"'open", "", "", "open quote"},
		{`'\'`, "", "", "backslash"},
		{"$1", "", "", "$"},
		{" ", "", "", "empty"},
	} {
		t.Run(tt.sql, func(t *testing.T) {
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(t.Context()) }()
			r, err := Check(t.Context(), tx, "public.orders", tt.sql)
			var refusal *Refusal
			switch {
			case tt.refused == "" && err != nil:
				t.Fatalf("refused: %v", err)
			case tt.refused != "" && !errors.As(err, &refusal):
				t.Fatalf("got %v, %v", r, err)
			case tt.refused != "" && !strings.Contains(err.Error(), tt.refused):
				t.Errorf("refused with %q, want %q in it", err, tt.refused)
			case err == nil && (r.Type != tt.typ || !slices.Equal(r.Columns, strings.Fields(tt.columns))):
				t.Errorf("got %+v, want %s of %s", r, tt.typ, tt.columns)
			}
			var left int // the transaction goes on, and nothing is left
			if err := tx.QueryRow(t.Context(), "select count(*) from pg_class where relname = 'oncesink_expression'").Scan(&left); err != nil || left != 0 {
				t.Errorf("left behind: %d, %v", left, err)
			}
		})
	}
}

// TestNoRight: a role that may not make temporary tables, or not call a function, is told so.
func TestNoRight(t *testing.T) {
	conn := connect(t)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$;
		create role plain; grant select on orders to plain; set local role plain`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	_, err = Check(t.Context(), tx, "public.orders", "order_id")
	var refusal *Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "grant temporary") {
		t.Errorf("got %v", err)
	}
	if _, err := tx.Exec(t.Context(), `reset role; do $$ begin execute format('grant temporary on database %I to plain', current_database()); end $$;
		create function f(bigint) returns bigint immutable language plpgsql as 'begin return $1; end'; revoke execute on function f from public; set local role plain`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if _, err = Check(t.Context(), tx, "public.orders", "f(order_id)"); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "permission denied for function f: grant execute") {
		t.Errorf("got %v", err)
	}
}

// FuzzMalformed: what passes for an expression stays within the parentheses around it.
func FuzzMalformed(f *testing.F) {
	for _, s := range []string{"a", "(a)", "')'", `")"`, "a)", "--", "'", "a[1]", "/*", "'a''b'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if malformed(s) != "" {
			return
		}
		depth, quote := 0, byte(0)
		for i := range len(s) {
			switch c := s[i]; {
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '\'' || c == '"':
				quote = c
			case c == '(' || c == '[':
				depth++
			case c == ')' || c == ']':
				depth--
			}
			if depth < 0 {
				t.Fatalf("%q leaves its parentheses", s)
			}
		}
		if depth != 0 || quote != 0 {
			t.Fatalf("%q is open at its end", s)
		}
	})
}
