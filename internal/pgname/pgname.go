// Package pgname writes and reads names as PostgreSQL has them: quoted, taken apart, cut to length; and constants.
package pgname

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// SplitName takes "table", "schema.table" or either in double quotes apart.
func Split(s string) (schema, name string, err error) {
	var parts []string
	rest := s
	for {
		var part string
		if strings.HasPrefix(rest, `"`) {
			var b strings.Builder
			i := 1
			for ; i < len(rest); i++ {
				if rest[i] == '"' {
					if i+1 < len(rest) && rest[i+1] == '"' {
						i++
					} else {
						break
					}
				}
				b.WriteByte(rest[i])
			}
			if i >= len(rest) {
				return "", "", fmt.Errorf("table name %s has an open quote", s)
			}
			part, rest = b.String(), rest[i+1:]
		} else if i := strings.IndexByte(rest, '.'); i >= 0 {
			part, rest = rest[:i], rest[i:]
		} else {
			part, rest = rest, ""
		}
		parts = append(parts, part)
		if rest == "" {
			break
		}
		if rest[0] != '.' {
			return "", "", fmt.Errorf("table name %s is not a name", s)
		}
		rest = rest[1:]
	}
	if slices.Contains(parts, "") || len(parts) > 2 {
		return "", "", fmt.Errorf("table name %q is not a name", s)
	}
	if len(parts) == 2 {
		return parts[0], parts[1], nil
	}
	return "", parts[0], nil
}

// Qualify takes a name apart as [SplitName] does. Without a schema it is in the first one of the search path.
func Qualify(name, searchPath string) (schema, table string, err error) {
	if schema, table, err = Split(name); err == nil && schema == "" {
		first, _, _ := strings.Cut(searchPath, ",")
		schema = strings.Trim(strings.TrimSpace(first), `"`)
	}
	return schema, table, err
}

// LockKey is what a name brings to an advisory lock. A table that takes the place of
// another so keeps its lock.
func LockKey(name string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return int32(h.Sum32())
}

// Literal is s as a constant in SQL, whatever standard_conforming_strings says.
func Literal(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

func Quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func QuoteAll(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = Quote(n)
	}
	return out
}

// Readable is a name in SQL for people: in quotes only where it has to be.
func Readable(name string) string {
	if isPlain(name) && !slices.Contains(reserved, name) {
		return name
	}
	return Quote(name)
}

func isPlain(name string) bool {
	for i, c := range []byte(name) {
		if !(c == '_' || c >= 'a' && c <= 'z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return name != ""
}

// System reports whether every table has a column of the name, which nobody can add.
func System(name string) bool { return slices.Contains(system, name) }

var system = []string{"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"} // it never changes

// reserved are PostgreSQL's words that have to be quoted as names of tables and columns.
var reserved = strings.Fields(`all analyse analyze and any array as asc asymmetric authorization binary both case cast
	check collate collation column concurrently constraint create cross current_catalog current_date current_role
	current_schema current_time current_timestamp current_user default deferrable desc distinct do else end except
	false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join
	lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer
	overlaps placing primary references returning right select session_user similar some symmetric system_user table
	tablesample then to trailing true union unique user using variadic verbose when where window with`) // it never changes

// MaxName is the length of PostgreSQL's names in bytes.
const MaxName = 63

// ShortName returns name + suffix, or a name as long as may be that is made of a hash.
func Short(name, suffix string) string {
	if len(name)+len(suffix) <= MaxName {
		return name + suffix
	}
	sum := sha256.Sum256([]byte(name))
	hash := " " + hex.EncodeToString(sum[:6])
	return strings.ToValidUTF8(name[:MaxName-len(suffix)-len(hash)], "") + hash + suffix
}

// Suffixes of a stage, and of what comes to it after it has been indexed.
const (
	StageSuffix = " stage"
	TailSuffix  = " tail"
)
