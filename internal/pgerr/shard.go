package pgerr

import (
	"errors"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// violations are what a node says of a row that breaks a constraint, with the code that this has.
var violations = []struct {
	code    string
	message *regexp.Regexp // table, constraint, column
}{
	{"23514", regexp.MustCompile(`^new row for relation "(?P<table>.+)" violates check constraint "(?P<constraint>.+)"$`)},
	{"23502", regexp.MustCompile(`^null value in column "(?P<column>.+)" of relation "(?P<table>.+)" violates not-null constraint$`)},
	{"23503", regexp.MustCompile(`^insert or update on table "(?P<table>.+)" violates foreign key constraint "(?P<constraint>.+)"$`)},
	{"23503", regexp.MustCompile(`^update or delete on table ".+" violates foreign key constraint "(?P<constraint>.+)" on table "(?P<table>.+)"$`)},
	{"23505", regexp.MustCompile(`^duplicate key value violates unique constraint "(?P<constraint>.+)"$`)},
	{"23P01", regexp.MustCompile(`^conflicting key value violates exclusion constraint "(?P<constraint>.+)"$`)},
}

// shard is the number of a shard behind a name.
var shard = regexp.MustCompile(`_\d{6,}$`)

// OfShard gives an error that Citus passes on from one of its nodes what the node's own has. It comes as a message alone, in some cases with
// XX000 for its code, and names tables and constraints with the number of a shard. Schema and table are those of the table that was
// written. Without Citus, and for what is no violation of a constraint, it changes nothing.
func OfShard(err error, schema, table string) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Routine != "ReportResultError" && pg.Routine != "ReportCopyError" {
		return
	}
	for _, v := range violations {
		m := v.message.FindStringSubmatch(pg.Message)
		if m == nil {
			continue
		}
		pg.Code = v.code
		number := ""
		for i, name := range v.message.SubexpNames() {
			switch name {
			case "table":
				number = shard.FindString(m[i])
				pg.TableName = strings.TrimSuffix(m[i], number)
			case "column":
				pg.ColumnName = m[i]
			case "constraint":
				pg.ConstraintName = m[i]
			}
		}
		if number == "" { // a unique constraint's message names no table
			number = shard.FindString(pg.ConstraintName)
		}
		pg.Message = strings.ReplaceAll(pg.Message, number+`"`, `"`)
		pg.ConstraintName = strings.TrimSuffix(pg.ConstraintName, number)
		if pg.TableName == "" || pg.TableName == table {
			pg.SchemaName, pg.TableName = schema, table
		}
		return
	}
}
