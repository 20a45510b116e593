package pgtext

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/testpg"
)

// What is said to be too much, the server refuses; what of texts it refuses for their length, is said to be.
func TestTooMuchIsRefused(t *testing.T) {
	db := testpg.Open(t, testpg.URL(t))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	said := 0
	for range 400 {
		var c Type
		var declared, text string
		if r.IntN(2) == 0 {
			limit := 1 + r.IntN(5)
			declared = fmt.Sprintf(pick("varchar(%d)", "char(%d)"), limit)
			c = Type{Kind: KindText, Typmod: int32(limit + typmodHeader)}
			for range r.IntN(8) {
				text += pick("a", "é", "€", "😀", " ", " ", "e\u0301")
			}
		} else {
			precision := 1 + r.IntN(6)
			scale := r.IntN(precision+3) - 2
			if scale < 0 || scale > precision {
				scale = 0 // what PostgreSQL 15 and later take is not what is asked here
			}
			declared = fmt.Sprintf("numeric(%d,%d)", precision, scale)
			c = Type{Kind: KindNumeric, Typmod: int32(precision<<16|scale) + typmodHeader}
			text = pick("", "-", "+", " ") + fmt.Sprint(r.IntN(10_000_000)>>r.IntN(20)) + pick("", ".", ".5", ".999999", ".0") + pick("", "", "e2", "E-3", "e+4")
		}
		much := c.TooMuch([]byte(text))
		db.Do("create temporary table x (v " + declared + ")")
		_, err := db.Exec(t.Context(), "insert into x values ('"+text+"')")
		db.Do("drop table x")
		code := pgerr.SQLState(err)
		if much {
			said++
			if code != "22001" && code != "22003" {
				t.Errorf("%q is too much for %s, and the server says %v", text, declared, err)
			}
		}
		if code == "22001" && !much {
			t.Errorf("%q is taken for %s, and the server says %v", text, declared, err)
		}
	}
	if said < 50 {
		t.Errorf("only %d of 400 were too much", said)
	}
}
