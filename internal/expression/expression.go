// Package expression checks SQL expressions over the columns of a table before they
// are put where they decide what a row is.
//
// PostgreSQL itself says whether an expression gives the same value each time: it takes an
// expression for a generated column only if every function, operator and cast in it is
// immutable. So each one is tried on a temporary copy of the table's columns, which is
// rolled back.
package expression

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Result is what PostgreSQL says of an expression.
type Result struct {
	// Type is the name of its type.
	Type string
	// Columns are the columns that it reads, in the order of the table, and the inputs.
	Columns []string
}

// Refusal says why an expression can't be used, and what to write instead.
type Refusal struct{ Problem, Fix string }

func (r *Refusal) Error() string { return r.Problem + ": " + r.Fix }

// Input is what an expression may read beside the columns of its table. Type is one that SQL takes.
type Input struct{ Name, Type string }

// Check checks an expression over the columns of a table, whose name is quoted, and inputs. It leaves nothing
// behind in the transaction. A *Refusal is the expression's fault, or a missing right's; any other
// error one of the connection.
func Check(ctx context.Context, tx pgx.Tx, table, sql string, inputs ...Input) (*Result, error) {
	if why := malformed(sql); why != "" {
		return nil, &Refusal{why, "write one SQL expression over the table's columns"}
	}
	nested, err := tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = nested.Rollback(context.WithoutCancel(ctx)) }()
	r, err := try(ctx, nested, table, sql, inputs)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if refusal := refused(pg, sql); refusal != nil {
			return nil, refusal
		}
	}
	return r, err
}

const scratch = "pg_temp.oncesink_expression"

func try(ctx context.Context, tx pgx.Tx, table, sql string, inputs []Input) (*Result, error) {
	if _, err := tx.Exec(ctx, fmt.Sprintf("create temporary table oncesink_expression (like %s)", table)); err != nil {
		return nil, err
	}
	for _, in := range inputs {
		if _, err := tx.Exec(ctx, fmt.Sprintf("alter table %s add column %s %s", scratch, pgx.Identifier{in.Name}.Sanitize(), in.Type)); err != nil {
			return nil, err
		}
	}
	described, err := tx.Conn().PgConn().Prepare(ctx, "", fmt.Sprintf("select (%s) from %s", sql, scratch), nil)
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := tx.QueryRow(ctx, "select format_type($1, -1)", described.Fields[0].DataTypeOID).Scan(&r.Type); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("alter table %s add column _oncesink_value %s generated always as (%s) stored", scratch, r.Type, sql)); err != nil {
		return nil, err
	}
	err = tx.QueryRow(ctx, `
		select coalesce(array_agg(a.attname::text order by a.attnum), '{}') from pg_attribute a
		 where a.attrelid = 'pg_temp.oncesink_expression'::regclass and exists (
		       select from pg_depend d where d.refobjid = a.attrelid and d.refobjsubid = a.attnum and a.attname <> '_oncesink_value'
		          and (d.classid = 'pg_attrdef'::regclass or d.classid = 'pg_class'::regclass and d.objid = a.attrelid))`).Scan(&r.Columns)
	return r, err
}

// refused says what an error of the server means for the expression, or nil if nothing.
func refused(pg *pgconn.PgError, sql string) *Refusal {
	switch {
	case pg.Code == "42501" && strings.Contains(pg.Message, "function"):
		return &Refusal{pg.Message, "grant execute on it to ROLE"}
	case pg.Code == "42501": // insufficient privilege
		return &Refusal{"the role may not make the temporary table on which the expression is checked: " + pg.Message, "grant temporary on database DATABASE to ROLE"}
	case pg.Code == "42P17": // invalid object definition
		return &Refusal{"it need not give the same value each time: PostgreSQL does not know each function in it as immutable", instead(sql)}
	case pg.Code == "42804" && strings.Contains(pg.Message, "pseudo"):
		return &Refusal{pg.Message, "cast it to a type"}
	case strings.HasPrefix(pg.Code, "42"), strings.HasPrefix(pg.Code, "0A"), strings.HasPrefix(pg.Code, "22"):
		return &Refusal{pg.Message, "write one SQL expression over the table's columns, without subqueries, aggregates and generated columns"}
	}
	return nil
}

var clock = regexp.MustCompile(`(?i)\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|current_date|current_time|current_timestamp|localtime|localtimestamp|age)\b`)
var chance = regexp.MustCompile(`(?i)\b(random|random_normal|gen_random_uuid|uuid_generate_v\w+|uuidv\d|nextval)\b`)
var session = regexp.MustCompile(`(?i)(::\s*(date|time|text|timestamp|timestamptz)\b|\b(to_char|date_trunc|date_part|extract|date|to_timestamp|to_date)\b)`)

// instead names what gives the same value each time.
func instead(sql string) string {
	switch {
	case chance.MatchString(sql):
		return "instead of chance take a hash of the key, such as hashtextextended(order_id::text, 7)"
	case clock.MatchString(sql):
		return "instead of the clock take the event's time: a column of it, or one that is mapped from $timestamp"
	case session.MatchString(sql):
		return "name the time zone, which is the session's otherwise: (placed_at at time zone 'UTC')::date, or date_trunc('hour', placed_at, 'UTC') at time zone 'UTC'"
	}
	return "use immutable functions only (\\df+ in psql tells them), and name time zones and formats"
}

// malformed says what is wrong with the form of an expression, so that it can't end the
// statement that it is put into. Everything else is for PostgreSQL to say.
func malformed(sql string) string {
	if strings.TrimSpace(sql) == "" {
		return "it is empty"
	}
	depth := 0
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; c {
		case '\'', '"':
			end := strings.IndexByte(sql[i+1:], c)
			if end < 0 {
				return "it has an open quote"
			}
			if c == '\'' && strings.ContainsRune(sql[i+1:i+1+end], '\\') {
				return "it has a backslash in a text, whose meaning depends on settings"
			}
			i += end + 1
		case '(', '[':
			depth++
		case ')', ']':
			if depth--; depth < 0 {
				return "it closes a parenthesis that it does not open"
			}
		case ';', 0:
			return "it is more than one expression"
		case '$':
			return "it has a $, which stands for no value here"
		case '-', '/':
			if next := strings.TrimPrefix(sql[i:], "--"); next != sql[i:] || strings.HasPrefix(sql[i:], "/*") {
				return "it has a comment"
			}
		}
	}
	if depth > 0 {
		return "it leaves a parenthesis open"
	}
	return ""
}
