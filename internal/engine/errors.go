package engine

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgerr"
)

// writeError adds to an error of the server what failed.
type writeError struct {
	doing doing
	err   error
}

func (e *writeError) Error() string { return e.doing.String() + ": " + pgerr.Safe(e.err) }

func (e *writeError) Unwrap() error { return e.err }

// lostError is an error of a connection that is gone.
type lostError struct{ err error }

func (e *lostError) Error() string { return "connection lost: " + pgerr.Text(e.err) }
func (e *lostError) Unwrap() error { return e.err }

// classOf is the class of an error of a transaction.
func classOf(err error) pgerr.Class {
	var (
		lost   *lostError
		shared *sharedError
	)
	switch {
	case errors.As(err, &lost):
		return pgerr.Transient
	case errors.As(err, &shared):
		return pgerr.Configuration
	}
	var (
		handler *handlerError
		pg      *pgconn.PgError
		marked  *pgerr.Marked
	)
	if errors.As(err, &handler) && !errors.As(err, &pg) && !errors.As(err, &marked) {
		return pgerr.Unknown
	}
	return pgerr.Classify(err)
}

// describe is the text of an error for a person, without the values of rows.
func describe(err error) string {
	if pg, ok := err.(*pgconn.PgError); ok { //nolint:errorlint // by itself, it is only said
		return pgerr.Safe(pg)
	}
	return pgerr.Text(err)
}

// fix says what to do about a configuration error.
func fix(err error) string {
	code := pgerr.SQLState(err)
	if pgerr.Function(err) != "" && code != pgerr.InsufficientPrivilege {
		return "what a trigger, a check or a default of the table calls fails for each row: correct it, or what it works with"
	}
	switch {
	case code == "42P01":
		return "the table is gone: create it, or run `oncesink init`"
	case code == pgerr.InsufficientPrivilege:
		return "grant the privilege to the role: `oncesink init --print` shows which it needs"
	case code == "42P10":
		return "the unique index over the key is gone: create it again"
	case code == "42883" && strings.Contains(err.Error(), "catalog_stamp"):
		return "the schema is of an older version: run `oncesink init`"
	case code == "23514":
		return "no partition of the table takes the row: create one, or a default partition"
	case strings.HasPrefix(code, "28"):
		return "check user, password and pg_hba.conf"
	case strings.HasPrefix(code, "3D"), strings.HasPrefix(code, "3F"):
		return "check the database, the schema and the search path"
	}
	return "the table may have changed since the start: run `oncesink check`, then start again"
}
