package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// grantedSQL lists what a role may do with targets and the engine's own tables, the ledger's left out.
const grantedSQL = `
	select format('USAGE|schema %s|%s', n.nspname, n.nspname) from pg_namespace n, aclexplode(n.nspacl) a where a.grantee = $1::regrole
	union all
	select format('%s|%I.%I|%s', a.privilege_type, n.nspname, c.relname, case when n.nspname = 'oncesink' and c.relname <> 'dead_letters' then format('"oncesink"."%s"', c.relname) else n.nspname || '.' || c.relname end)
	  from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
	 where a.grantee = $1::regrole and c.relkind = 'r' and c.relname not in ('offsets', 'sources', 'mappings', 'mapping_definitions', 'accepted_mappings', 'schema_version', 'rollups', 'status')
	 order by 1`

// TestPrivileges: what the script for a DBA grants is what the role needs, and what is looked for: with it, and nothing
// else, events of all kinds are written; without any one of them the start is refused with the grant that gives it back.
func TestPrivileges(t *testing.T) {
	if onRoute() {
		return
	}
	recordKey := map[string]string{"id": "$key"}
	upsert := sink.TableConfig{Name: "shop.q", Topics: []string{"o"}, Key: []string{"id"}, Version: "version"}
	with := func(tc sink.TableConfig, change func(*sink.TableConfig)) []sink.TableConfig {
		change(&tc)
		return []sink.TableConfig{tc}
	}
	family := func(parent sink.TableConfig) []sink.TableConfig {
		return []sink.TableConfig{parent, {Name: "shop.items", Strategy: sink.Children, Parent: "shop.q", Each: "items", Key: []string{"id", "sku"}}}
	}
	for i, tt := range []struct {
		name   string
		tables []sink.TableConfig
		want   int // privileges, those on schemas and dead letters included
	}{
		{"upsert", []sink.TableConfig{upsert}, 8},
		{"upsert, beside a topic with schemas", []sink.TableConfig{upsert}, 12},
		{"upsert, holding new fields", with(upsert, func(c *sink.TableConfig) { c.NewFields = sink.HoldNewFields }), 10},
		{"upsert, deleting", with(upsert, func(c *sink.TableConfig) { c.RecordKey = recordKey }), 12},
		{"upsert, ignoring", with(upsert, func(c *sink.TableConfig) { c.Tombstones = sink.IgnoreTombstones }), 8},
		{"upsert, no guard", with(upsert, func(c *sink.TableConfig) { c.Guard = sink.GuardNone }), 8},
		{"upsert, no guard, deleting", with(upsert, func(c *sink.TableConfig) { c.Guard, c.RecordKey = sink.GuardNone, recordKey }), 9},
		{"append", []sink.TableConfig{{Name: "shop.log", Topics: []string{"o"}, Strategy: sink.Append}}, 7},
		{"append, no guard", []sink.TableConfig{{Name: "shop.log", Topics: []string{"o"}, Strategy: sink.Append, Guard: sink.GuardNone}}, 6},
		{"children", family(upsert), 15},
		{"children, deleting", family(with(upsert, func(c *sink.TableConfig) { c.RecordKey = recordKey })[0]), 19},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			role := fmt.Sprintf("oncesink_privileges_%d", i)
			cfg := sink.Config{Tables: tt.tables}
			if strings.Contains(tt.name, "schemas") {
				cfg.Topics = map[string]sink.TopicConfig{"other": {Format: sink.Avro}}
			}
			db := &database{testpg.Open(t, testpg.URL(t), "create schema shop", "create table shop.q (id int primary key, version int, n int)",
				"create table shop.items (id int, sku text, n int, primary key (id, sku))", "create table shop.log (id int, n int)", "create role "+role)}
			t.Cleanup(func() { db.dropRole(role) })
			db.Do(offsets.SQL(role))
			db.Do(schema.InitSQL(cfg, role))
			pool := db.pool(func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = role })
			s, err := Open(t.Context(), pool, nil, cfg)
			if err != nil {
				t.Fatal(err)
			}
			l := offsets.New(pool, "g", offsets.Options{})
			e := &engine{s.WithLedger(l), t, db, pool, l, map[offsets.Partition]offsets.Claim{}, s.plan().tables, nil}
			offset := int64(0)
			write := func(events ...string) {
				t.Helper()
				p := e.part("o", 0)
				for _, event := range events {
					r := incoming("o", offset, "1", event)
					if event == "" {
						r.Value = nil
					}
					offset++
					e.Add(p, r)
				}
				e.write(p)
			}
			write(`{"id": 1, "version": 1, "items": [{"sku": "a"}, {"sku": "b"}]}`, `{"id": 2, "version": 1, "n": 1}`)
			write(`{"id": 1, "version": 2, "items": [{"sku": "b"}]}`, `{"id": 2, "version": 2}`, `{"id": 3, "version": 1}`, `{"id": "x"}`)
			write("", `{"id": 4, "version": 1, "items": []}`)
			grants := func() []string { // but for those that verify alone needs
				return slices.DeleteFunc(strings.Split(db.Lines(strings.ReplaceAll(grantedSQL, "$1", "'"+role+"'")), "\n"), func(g string) bool {
					return strings.Contains(g, `"checks"`) || strings.Contains(g, `"mismatches"`)
				})
			}
			granted := grants()
			if len(granted) != tt.want {
				t.Errorf("%d privileges are granted, want %d:\n%s", len(granted), tt.want, strings.Join(granted, "\n"))
			}
			for _, g := range granted {
				g := strings.Split(g, "|")
				right, on, title := g[0], g[1], g[2]
				db.Do("revoke " + right + " on " + on + " from " + role)
				_, err := Open(t.Context(), pool, nil, cfg)
				problem := "the role lacks " + right + " on " + title + ": grant "
				if right == "USAGE" {
					problem = "the role lacks USAGE on schema " + title + ": grant "
				}
				checkProblems(t, err, []string{problem})
				if err == nil {
					continue
				}
				_, fix, _ := strings.Cut(err.Error(), ": grant ")
				db.Do("grant " + strings.ReplaceAll(fix, "ROLE", role))
			}
			if again := grants(); !slices.Equal(again, granted) {
				t.Errorf("the grants of the messages gave\n%s\nwant\n%s", strings.Join(again, "\n"), strings.Join(granted, "\n"))
			}
			if _, err := Open(t.Context(), pool, nil, cfg); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRowsOfDefaults: an event that fills no column of an append table without a guard is a row of the columns' defaults, by
// itself and among so many that COPY takes the others.
func TestRowsOfDefaults(t *testing.T) {
	for _, n := range []int{1, 3 * leastRows} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			db := newDatabase(t, "create table log (id int default 7, n int)")
			e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "log", Topics: []string{"o"}, Strategy: sink.Append, Guard: sink.GuardNone}}})
			p := e.part("o", 0)
			for i := range n {
				tombstone := incoming("o", int64(3*i+1), "k", "")
				tombstone.Value = nil
				e.Add(p, incoming("o", int64(3*i), "k", `{"id": 1, "n": 1}`), tombstone, incoming("o", int64(3*i+2), "k", `{"other": 1}`))
			}
			e.write(p)
			db.Want(fmt.Sprintf("1|1|%d\n7|-|%d", n, 2*n), "select id, n, count(*) from log group by 1, 2 order by 1")
			db.Want("0", "select count(*) from oncesink.dead_letters")
		})
	}
}
