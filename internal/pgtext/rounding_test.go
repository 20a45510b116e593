package pgtext

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Whatever is spelled: what rounding: refuse lets pass is stored without losing a digit.
func TestRoundingRefusedIsExact(t *testing.T) {
	db := newDatabase(t, tryCast, "set timezone = 'UTC'", "create domain price as numeric(6,2)")
	types := map[string]struct {
		spell func(*rand.Rand) string
		whole string
	}{
		"numeric(6,2)": {spellNumeric, "numeric"}, "numeric(3,-2)": {spellNumeric, "numeric"}, "numeric(4,5)": {spellNumeric, "numeric"}, "price": {spellNumeric, "numeric"},
		"timestamp(3)": {spellTimestamp, "timestamp"}, "timestamptz(0)": {spellTimestamp, "timestamptz"}, "time(2)": {spellTimeOfDay, "time"},
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var names []string
	for name := range types {
		names = append(names, name)
	}
	columns := db.columns(names...)
	for name, typ := range types {
		c := *columns[name]
		c.Strict = true
		c.Prepare()
		var texts []string
		for range 3000 {
			text := typ.spell(r)
			if c.CheckText([]byte(text)) == nil {
				texts = append(texts, text)
			}
		}
		got := db.Texts(fmt.Sprintf("select (try_cast(x, '%s')::%[2]s is distinct from try_cast(x, '%[2]s')::%[2]s) || ' ' || x from unnest($1::text[]) u (x) where try_cast(x, '%[1]s') is not null", name, typ.whole), texts)
		for _, s := range got {
			if strings.HasPrefix(*s, "true") {
				t.Errorf("%s passes: %s", name, *s)
			}
		}
		if len(got) < 30 {
			t.Errorf("%s: only %d texts pass: nothing is shown", name, len(got))
		}
	}
}

func spellTimeOfDay(r *rand.Rand) string {
	return pick(r, "", "2026-01-02 ", " ") + pick(r, "03:04:05", "03:04", "030405", "04:05 PM", "23:59:59") + pick(r, "", "", ".5", ".25", ".250", ".255", ".005000", ".999", ".0004") + pick(r, "", "", " ", "+01")
}
