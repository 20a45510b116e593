package sink

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Class says what an error asks for.
type Class uint8

// The classes of errors.
const (
	// Unknown stops the partition: retrying can't mend it, and no record is to blame.
	Unknown Class = iota
	// Transient passes: try the same again, for as long as it takes.
	Transient
	// Data is a record's fault: bisect, and keep the record as a dead letter.
	Data
	// Configuration needs a person: a missing table, column, privilege or password.
	Configuration
)

// String returns the class's name in lower case.
func (c Class) String() string {
	return [...]string{"unknown", "transient", "data", "configuration"}[c]
}

// Classify returns the class of an error of PostgreSQL or of the network by its
// SQLSTATE (rules 17 and 18). A handler's error that holds neither is Unknown.
//
// A foreign key violation (23503) is Data here; the sink first waits
// Config.ForeignKeyWait for the parent row.
func Classify(err error) Class {
	var poison *poisonError
	if errors.As(err, &poison) {
		return Data
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return classifyState(pg)
	}
	var (
		connect *pgconn.ConnectError
		network net.Error
	)
	if errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.Timeout(err) {
		return Transient
	}
	return Unknown
}

func classifyState(pg *pgconn.PgError) Class {
	code := pg.Code
	if len(code) != 5 {
		return Unknown
	}
	if pg.SeverityUnlocalized != "FATAL" && code == "08P01" {
		return Unknown // a message that a type's function can't read; a pooler's own errors are fatal
	}
	switch code {
	case "25006", // read only: a standby after a failover
		"25P03", "25P04", // we were too slow inside a transaction
		"55P03", "57014":
		return Transient
	}
	switch code[:2] {
	case "08", "40", "53":
		return Transient
	case "57":
		if strings.HasPrefix(code, "57P0") {
			return Transient
		}
	}
	if refusedByUser(pg) {
		return ours(pg, Data)
	}
	if noPartition(pg) {
		return Configuration
	}
	switch code[:2] {
	case "22", "23", "54":
		return ours(pg, Data)
	case "42", "28", "3D", "3F":
		return Configuration
	}
	return Unknown
}

// refusedByUser reports whether a row was refused by what a user wrote to refuse rows, whatever code that
// gives: a raise or an assertion of PL/pgSQL, a policy, the check option of a view. The routine of the server
// that reports the error tells.
func refusedByUser(pg *pgconn.PgError) bool {
	switch pg.Routine {
	case "exec_stmt_raise", "exec_stmt_assert", "ExecWithCheckOptions":
		return !strings.HasPrefix(pg.Code, "OS")
	}
	return pg.Code == "P0001" || pg.Code == "44000"
}

// noPartition reports whether a table has no partition for a row, which is the DBA's to mend.
func noPartition(pg *pgconn.PgError) bool { return pg.Code == "23514" && pg.ConstraintName == "" }

// ours turns the class of an error of our own tables: whatever a record brings,
// the ledger and the dead letters must take it. A stage is no table of our own in this sense.
func ours(pg *pgconn.PgError, c Class) Class {
	if ownTable(pg) {
		return Unknown
	}
	return c
}

// ownTable reports whether an error names one of the engine's own tables.
func ownTable(pg *pgconn.PgError) bool {
	return pg != nil && pg.SchemaName == "oncesink" && !strings.HasSuffix(pg.TableName, stageSuffix)
}

// Poison wraps an error of a handler to say that the record is to blame: it is
// bisected to the record, which becomes a dead letter.
func Poison(err error) error { return &poisonError{err} }

type poisonError struct{ err error }

func (e *poisonError) Error() string { return e.err.Error() }
func (e *poisonError) Unwrap() error { return e.err }

// writeError adds to an error of the server what failed.
type writeError struct {
	doing doing
	err   error
}

func (e *writeError) Error() string {
	if e.doing.table == nil {
		return e.doing.verb + ": " + safe(e.err)
	}
	return e.doing.verb + " " + e.doing.table.title() + ": " + safe(e.err)
}

func (e *writeError) Unwrap() error { return e.err }

// safe is an error's text without the values of rows, which DETAIL carries and
// some messages quote.
func safe(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "SQLSTATE %s", pg.Code)
	if pg.SchemaName != "" {
		fmt.Fprintf(&b, " table %s.%s", pg.SchemaName, pg.TableName)
	}
	if pg.ColumnName != "" {
		fmt.Fprintf(&b, " column %s", pg.ColumnName)
	}
	if pg.ConstraintName != "" {
		fmt.Fprintf(&b, " constraint %s", pg.ConstraintName)
	}
	// Messages of these classes name objects, roles and limits. Those of the
	// others quote values, and so may whatever a trigger raises.
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", "0A", "21", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "XX":
		// What is raised within a function may quote what the function was given.
		if pg.Where == "" && !refusedByUser(pg) {
			fmt.Fprintf(&b, ": %s", pg.Message)
		}
	}
	return b.String()
}

// SQLState returns the code of an error that PostgreSQL raised; "" for any other.
func SQLState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// lostError is an error of a connection that is gone.
type lostError struct{ err error }

func (e *lostError) Error() string { return "connection lost: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// classOf is the class of an error of a transaction.
func classOf(err error) Class {
	var (
		lost   *lostError
		shared *sharedError
	)
	switch {
	case errors.As(err, &lost):
		return Transient
	case errors.As(err, &shared):
		return Configuration
	}
	var (
		handler *handlerError
		pg      *pgconn.PgError
		poison  *poisonError
	)
	if errors.As(err, &handler) && !errors.As(err, &pg) && !errors.As(err, &poison) {
		return Unknown
	}
	return Classify(err)
}

// describe is the text of an error for a person, without the values of rows.
func describe(err error) string {
	s := err.Error()
	var (
		write   *writeError
		handler *handlerError
		pg      *pgconn.PgError
	)
	if !errors.As(err, &write) && !errors.As(err, &handler) && errors.As(err, &pg) {
		s = safe(err)
	}
	return s
}

// fix says what to do about a configuration error.
func fix(err error) string {
	code := SQLState(err)
	switch {
	case code == "42P01":
		return "the table is gone: create it, or run `oncesink init`"
	case code == "42501":
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
