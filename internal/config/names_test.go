package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestNames: a table has one name, however it is spelled, wherever the configuration or a command names it.
func TestNames(t *testing.T) {
	const doc = `
kafka: { brokers: [a], group: g }
postgres: { url: "postgres://a/b"%[3]s }
tables:
  - { name: %[1]q, topic: t, key: [id] }
  - { name: items, strategy: children, parent: %[2]q, each: items, key: [id, n], columns: { n: $index } }
rollups:
  - { name: %[1]q, table: %[2]q, group_by: { day: day }, columns: { n: count } }
`
	for _, tt := range []struct {
		a, b, path string // path is the search path
		same       bool
	}{
		{"orders", "orders", "", true},
		{"orders", `"orders"`, "", true},
		{"orders", "public.orders", "", true},
		{`public."orders"`, `"orders"`, "", true},
		{`"public"."orders"`, "public.orders", "", true},
		{`"say ""hi"""`, `public."say ""hi"""`, "", true},
		{"orders", "shop.orders", `"shop", public`, true},
		{"orders", "public.orders", "shop, public", false},
		{"orders", "Orders", "", false},
		{"orders", "shop.orders", "", false},
		{"public.orders", `"public.orders"`, "", false},
		{`"a.b"`, `a.b`, "", false},
	} {
		t.Run(tt.a+"_"+tt.b+"_"+tt.path, func(t *testing.T) {
			path := ""
			if tt.path != "" {
				path = fmt.Sprintf(", search_path: %q", tt.path)
			}
			// A rollup of the table's own name is refused, so that this document never passes.
			_, err := Parse("test.yaml", fmt.Appendf(nil, doc, tt.a, tt.b, path), environment)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			for _, problem := range []string{"is no table that is listed before", "is not under tables"} {
				if strings.Contains(e.Error(), problem) == tt.same {
					t.Errorf("same: %v, and the file's problems are %v", tt.same, e)
				}
			}
			// Two entries for one table, and the name that a command is given.
			twice := fmt.Sprintf("kafka: { brokers: [a], group: g }\npostgres: { url: \"postgres://a/b\"%s }\ntables:\n  - { name: %q, topic: t, key: [id] }\n", path, tt.a)
			cfg := parse(t, twice)
			if got := cfg.TableName(tt.b); (got == tt.a) != tt.same || !tt.same && got != tt.b {
				t.Errorf("TableName(%s) = %s", tt.b, got)
			}
			_, err = Parse("test.yaml", fmt.Appendf([]byte(twice), "  - { name: %q, topic: t, key: [id] }\n", tt.b), environment)
			if again := err != nil && strings.Contains(err.Error(), "is the table of tables[0]"); again != tt.same {
				t.Errorf("two entries: %v", err)
			}
		})
	}
	cfg := parse(t, strings.NewReplacer("rollups:\n  - { name: %[1]q", "rollups:\n  - { name: daily", "%[1]q", "orders", "%[2]q", `'public."orders"'`, "%[3]s", "").Replace(doc))
	if got := cfg.ToSink().Tables[1].Parent; got != "orders" {
		t.Errorf("the sink's parent is %s, and the table orders", got)
	}
	if got := cfg.RollupName(`public."daily"`); got != "daily" {
		t.Errorf("RollupName: %s", got)
	}
}
