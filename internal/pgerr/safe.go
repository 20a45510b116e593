package pgerr

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
)

// What an error says to a person has no value of a row in it, wherever it is said: in logs, in the ledger, on a terminal. The one place for
// values is the dead letter, where its record is as well. DETAIL, HINT and CONTEXT of PostgreSQL quote rows, and so do many
// messages; codes and names do not.

// Safe is an error's text without the values of rows; of PostgreSQL's errors what they name, and the message if it is of a kind that
// names objects of the database.
func Safe(err error) string { return safe(err, quotesNothing) }

// Full is Safe for an error of a statement that had no rows: the message is in it, of whatever kind it is.
func Full(err error) string { return safe(err, func(*pgconn.PgError) bool { return true }) }

// Text is an error's text in which each error of PostgreSQL is said as Safe says it.
func Text(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	for _, pg := range within(err, nil) {
		text = strings.ReplaceAll(text, pg.Error(), Safe(pg))
	}
	return text
}

// within finds the errors of PostgreSQL that an error wraps.
func within(err error, found []*pgconn.PgError) []*pgconn.PgError {
	if pg, ok := err.(*pgconn.PgError); ok { //nolint:errorlint // each of a tree, not the first
		return append(found, pg)
	}
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return within(inner, found)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			found = within(inner, found)
		}
	}
	return found
}

func safe(err error, shown func(*pgconn.PgError) bool) string {
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
	// What is raised within a function may quote what the function was given.
	meaning, known := meanings[pg.Code]
	f := Function(err)
	switch {
	case pg.Where == "" && !refusedByUser(pg) && shown(pg):
		fmt.Fprintf(&b, ": %s", pg.Message)
	case f != "":
		fmt.Fprintf(&b, " in function %s", f)
	case known:
		fmt.Fprintf(&b, ": %s", meaning)
	}
	return b.String()
}

// quotesNothing reports whether a message is of a kind that has no value of a row. Whoever reads a value for one of the types
// that name objects, such as regclass, or have a syntax, such as tsquery, raises the same codes as a statement that is wrong, and quotes
// the value; but only the statement's error has a place in the statement.
func quotesNothing(pg *pgconn.PgError) bool {
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", "25", "28", "2B", "3D", "40", "53", "57", "58":
		return true
	case "0A", "21", "55", "XX":
		return pg.Position > 0 || !strings.ContainsAny(pg.Message, "\"'`\u00ab\u201c\u201e")
	case "3F", "42":
		return pg.Position > 0 || slices.Contains(ofNames, pg.Code)
	}
	return false
}

// ofNames are the codes of class 42 that no value of a row raises.
var ofNames = []string{"42501", "42703", "42P10", "42P07", "42701", "42804", "42P16", "42809", "42P08", "42P18", "42846", "428C9", "42P05", "42P03"}

// Meaning says in general what a code says of a record, for where the message quotes values. The code is empty for an error
// of a handler.
func Meaning(code string) string {
	if code == "" {
		return "a handler refuses it"
	}
	meaning, ok := meanings[code]
	switch {
	case ok:
		return meaning
	case strings.HasPrefix(code, "ONS"):
		return "the decoder refuses it"
	}
	return "the server refuses it"
}

// Codes lists the codes that Meaning knows, in their order.
func Codes() []string { return slices.Sorted(maps.Keys(meanings)) }

var meanings = map[string]string{
	"22001": "longer than the column", "22003": "out of the type's range", "22007": "no date or time that the type reads", "22008": "out of the range of dates and times",
	"22021": "no valid UTF-8 text", "22030": "a field name is repeated", "22P02": "no text of the type, or no valid JSON", "22P05": "a character that a text can't hold",
	"22012": "a division by zero", "23502": "no value for a column that is not null", "23514": "a check of the column or table refuses it", "54000": "too large", "54001": "nested too deeply",
	"22023": "a value that the type refuses", "22026": "a bit string of another length", "2200H": "a sequence is at its end", "22P03": "bytes that the type refuses",
	ForeignKeyViolation: "the row that a foreign key asks for is missing", UniqueViolation: "a unique index has the value already", "23P01": "an exclusion constraint refuses it",
	"42601": "a syntax that the type does not read", "42602": "no name that the type reads", "42704": "a name that nothing has", "42P01": "a table that is not there", "42883": "a function or operator that is not there",
	"42725": "a name that several functions or operators have", "3F000": "a schema that is not there", "0A000": "what the server can't do", "42P10": "no unique index that fits",
	"ONS01": "a tombstone, of a table without record_key",
	"ONS20": "the registry does not know the record's schema", "ONS21": "it does not name a schema where its format has one", "ONS22": "its bytes are not what its schema says", "ONS23": "its schema lacks the message that it names",
	"ONS30": "a value that its source withheld", "ONS31": "it comes too late: later records have been written",
	"ONS40": "an operation that the topic's envelope does not know", "ONS41": "all rows of the source are gone, which the table does not take",
	"ONS42": "its row is encoded as a whole, which is not read", "ONS43": "no table wants the event, and its topic refuses that",
	"44000": "the check option of a view refuses it", "P0001": "a function of the database refuses it",
}

// calls matches the lines of an error's context that name functions. Other lines quote statements, and so values.
var calls = regexp.MustCompile(`(?m)^(?:PL/pgSQL|SQL) function (\S+\([^()\n]*\)|"\S+")(?: line \d+ at [A-Za-z ]+| statement \d+| during [a-z ]+)?$`)

// Function returns the outermost function in which PostgreSQL raised an error, that of a trigger, a check or a default; "" if none.
func Function(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return ""
	}
	lines := calls.FindAllStringSubmatch(pg.Where, -1)
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1][1]
}

// Unquoted is a text without what stands in quotes.
func Unquoted(text string) string { return inQuotes.ReplaceAllString(text, "${1}"+mask) }

// Masked is a text without the words of four characters or more, and numbers of three, that holds reports as those of a record.
func Masked(text string, holds func(word string) bool) string {
	return words.ReplaceAllStringFunc(text, func(word string) string {
		digits := strings.IndexFunc(word, unicode.IsDigit) >= 0
		if n := len([]rune(word)); n < 3 || n < 4 && !digits || !holds(word) {
			return word
		}
		return mask
	})
}

const mask = "***"

var (
	// An apostrophe within a word is no quote; a quote that is not closed goes to the end.
	inQuotes = regexp.MustCompile("(?s)(^|[^\\pL\\pN])(?:\"(?:[^\"\\\\]|\\\\.)*(?:\"|$)|'(?:[^'\\\\]|\\\\.)*(?:'|$)|`[^`]*(?:`|$))")
	words    = regexp.MustCompile(`[\pL\pN]+`)
)
