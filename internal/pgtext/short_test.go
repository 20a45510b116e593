package pgtext

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/fields"
)

// What a column makes of a number is the same whether its format has read the number or nobody has yet.
func TestShortNumbers(t *testing.T) {
	db := newDatabase(t)
	columns := db.columns("smallint", "integer", "bigint", "numeric", "numeric(6,2)", "numeric(3,-2)", "numeric(2,5)", "real", "text", "jsonb", "bytea", "boolean",
		"date", "time", "timestamp(3)", "timestamptz", "interval")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	number := func() string {
		text := pick(r, "", "-") + pick(r, "0", "1", "12", "100", "1705310101", "1705310101000", "1705310101000000", "99999999999999", "253402300800", "123456789012345678", "1234567890123456789")
		for i := range r.IntN(12) {
			if i == 0 {
				text += "."
			}
			text += pick(r, "0", "0", "5", "9")
		}
		if r.IntN(8) == 0 {
			text += pick(r, "e1", "E-2", "e+400")
		}
		return text
	}
	for name, c := range columns {
		for _, unit := range append([]string{""}, Units...) {
			for _, strict := range []bool{false, true} {
				typ := c.Type
				typ.Unit, typ.Strict, typ.Location = unit, strict, time.UTC
				if unit != "" && typ.UnitProblem(unit) != "" {
					continue
				}
				typ.Prepare()
				short := 0
				for range 500 {
					v := fields.Document([]byte(number()))
					if v.Short {
						short++
					}
					got, r1 := typ.AppendValue(nil, &v)
					unread := v
					unread.Short, unread.Scale, unread.N = false, 0, 0
					want, r2 := typ.AppendValue(nil, &unread)
					if (r1 == nil) != (r2 == nil) || r1 != nil && *r1 != *r2 || r1 == nil && string(got) != string(want) {
						t.Fatalf("%s, unit %q, strict %v: %s: got %s, %+v, want %s, %+v", name, unit, strict, v.Raw, got, r1, want, r2)
					}
				}
				if short < 100 {
					t.Errorf("only %d numbers are short: nothing is shown", short)
				}
			}
		}
	}
}
