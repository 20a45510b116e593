// Package pgerr sorts errors of PostgreSQL and of the network by what they ask for, and says them without the values of rows.
package pgerr

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgname"
)

// SQLSTATEs that are more than their class.
const (
	ForeignKeyViolation   = "23503" // the parent row is missing
	UniqueViolation       = "23505"
	InsufficientPrivilege = "42501"
)

// ErrDenied lies behind what is told of rights that a role lacks.
var ErrDenied = errors.New("the role lacks a right")

// Denied returns ErrDenied if an error says that a right is missing, and nil otherwise.
func Denied(err error) error {
	if SQLState(err) == InsufficientPrivilege {
		return ErrDenied
	}
	return nil
}

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

// Marked is an error whose class somebody says who knows.
type Marked struct {
	class Class
	err   error
}

// Mark says of which class an error is.
func Mark(err error, class Class) error { return &Marked{class, err} }

func (e *Marked) Error() string { return e.err.Error() }

// Unwrap returns the error that was marked.
func (e *Marked) Unwrap() error { return e.err }

// Classify returns the class of an error of PostgreSQL or of the network by its
// SQLSTATE (rules 17 and 18), or that it was marked as. One that is none of these is Unknown.
//
// A foreign key violation (23503) is Data here; the sink first waits
// Config.ForeignKeyWait for the parent row.
func Classify(err error) Class {
	var marked *Marked
	if errors.As(err, &marked) {
		return marked.class
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
	if InRecovery(pg) {
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
	if NoPartition(pg) {
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

// InRecovery reports whether a standby has refused to begin a transaction that writes. It says so by the code of a feature that is
// missing (0A000), from the routine that looks at what a Boolean setting may be.
func InRecovery(pg *pgconn.PgError) bool {
	return pg.Code == "0A000" && pg.Routine == "call_bool_check_hook"
}

// NoPartition reports whether a table has no partition for a row, which is the DBA's to mend.
func NoPartition(pg *pgconn.PgError) bool { return pg.Code == "23514" && pg.ConstraintName == "" }

// ours turns the class of an error of our own tables: whatever a record brings,
// the ledger and the dead letters must take it. A stage, or its tail, is no table of our own in this sense.
func ours(pg *pgconn.PgError, c Class) Class {
	if OwnTable(pg) {
		return Unknown
	}
	return c
}

// OwnTable reports whether an error names one of the engine's own tables.
func OwnTable(pg *pgconn.PgError) bool {
	return pg != nil && pg.SchemaName == "oncesink" && !strings.HasSuffix(pg.TableName, pgname.StageSuffix) && !strings.HasSuffix(pg.TableName, pgname.TailSuffix)
}

// SQLState returns the code of an error that PostgreSQL raised; "" for any other.
func SQLState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// Refused reports whether a server did not let a connection in with the credentials that it was given.
func Refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.SeverityUnlocalized == "FATAL" && (pg.Code == "28P01" || pg.Code == "28000")
}
