package draft

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/pgname"
)

// columnName writes a field's name as PostgreSQL has names: customerId is customer_id.
func columnName(name string) string {
	var b strings.Builder
	last := rune(0)
	for _, c := range name {
		switch {
		case unicode.IsUpper(c) && (unicode.IsLower(last) || unicode.IsDigit(last)):
			b.WriteByte('_')
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			c = '_'
		}
		if c != '_' || last != '_' || b.Len() == 0 {
			b.WriteRune(unicode.ToLower(c))
		}
		last = c
	}
	short := b.String()
	for len(short) > pgname.MaxName-4 { // there is room for a number
		_, n := utf8.DecodeLastRuneInString(short)
		short = short[:len(short)-n]
	}
	switch {
	case pgname.System(short):
		return short + "_"
	case strings.HasPrefix(short, "_oncesink"): // the engine's own columns
		return strings.TrimLeft(short, "_")
	}
	return short
}

// unique returns a name that is not used yet.
func unique(name string, used map[string]bool) string {
	for n, base := 2, name; used[name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	used[name] = true
	return name
}

// tableName is what a topic's table is called: of shop.public.orders, orders.
func tableName(topic string) string {
	parts := strings.FieldsFunc(topic, func(r rune) bool { return r == '.' })
	name := "events"
	if len(parts) > 0 {
		name = columnName(parts[len(parts)-1])
	}
	if strings.Trim(name, "_0123456789") == "" || unicode.IsDigit(rune(name[0])) {
		name = "t_" + name
	}
	return name
}

// singular is what one of a table's rows is called, more or less.
func singular(table string) string {
	switch {
	case strings.HasSuffix(table, "ies"):
		return strings.TrimSuffix(table, "ies") + "y"
	case strings.HasSuffix(table, "sses"):
		return strings.TrimSuffix(table, "es")
	case strings.HasSuffix(table, "ss"):
		return table
	}
	return strings.TrimSuffix(table, "s")
}
