package mapping

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// What the role that runs has to be allowed is said here once: what is granted by the script for a DBA is what is
// looked for at the start. Package offsets does so for the ledger.

// Privileges are those that a target needs. The entry has its defaults.
func Privileges(cfg *sink.Config, tc *sink.TableConfig) []string {
	switch {
	case tc.Strategy == sink.Children:
		return []string{"SELECT", "INSERT", "DELETE"}
	case tc.Strategy == sink.Append && tc.Guard == sink.GuardNone:
		return []string{"INSERT"}
	case tc.Strategy == sink.Append:
		return []string{"SELECT", "INSERT"}
	case deletes(cfg, tc):
		return []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
	}
	return []string{"SELECT", "INSERT", "UPDATE"}
}

// Those of the engine's own tables.
var (
	deadLetterPrivileges   = []string{"SELECT", "INSERT", "UPDATE"}
	deleteMemoryPrivileges = []string{"SELECT", "INSERT", "UPDATE"}
	setMemoryPrivileges    = []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
)

const (
	ownSchema       = "oncesink"
	deadLetters     = "oncesink.dead_letters"
	deadLetterStats = "oncesink.dead_letter_stats" // a view of them, for people
)

// keptSchemas are the tables of schemas that a registry gave.
var (
	keptSchemas    = []string{`"oncesink"."schemas"`, `"oncesink"."schema_uses"`}
	keptPrivileges = []string{"SELECT", "INSERT"}
)

// GrantOwn grants a role, which is quoted or ROLE, what it needs of the engine's own schema and dead letters.
func GrantOwn(cfg *sink.Config, role string) []string {
	grants := []string{grantUsage(ownSchema, role), grant(deadLetterPrivileges, deadLetters, role), grant([]string{"SELECT"}, deadLetterStats, role)}
	if asksForSchemas(cfg) {
		for _, table := range keptSchemas {
			grants = append(grants, grant(keptPrivileges, table, role))
		}
	}
	if WatchesFields(cfg) {
		grants = append(grants, grant(metFieldsPrivileges, metFields, role))
	}
	return grants
}

// asksForSchemas reports whether records of a topic are read by schemas of a registry, which are kept.
func asksForSchemas(cfg *sink.Config) bool {
	for _, t := range cfg.Topics {
		values, keys := FormatsOf(t)
		for _, f := range []sink.Format{values, keys} {
			if f == sink.Avro || f == sink.Protobuf {
				return true
			}
		}
	}
	return false
}

// checkKeptSchemas checks the tables of schemas, if there are records that need some.
func checkKeptSchemas(ctx context.Context, tx pgx.Tx, cfg *sink.Config, ps *Problems) error {
	if !asksForSchemas(cfg) {
		return nil
	}
	return checkEngineTables(ctx, tx, keptSchemas, keptPrivileges, ps)
}

// checkEngineTables checks that tables of the engine's are there, and may be used.
func checkEngineTables(ctx context.Context, tx pgx.Tx, names, privileges []string, ps *Problems) error {
	for _, table := range names {
		var exists bool
		var missing []string
		err := tx.QueryRow(ctx, `select r is not null, array(select x from unnest($2::text[]) with ordinality as p(x, i) where not has_table_privilege(r, x) order by i)
			from to_regclass($1::text) r`, table, privileges).Scan(&exists, &missing)
		switch {
		case err != nil:
			return fmt.Errorf("read %s: %w", table, err)
		case !exists:
			ps.Add("table "+table+" does not exist", "run `oncesink init`")
		case len(missing) > 0:
			ps.lacks(missing, table, table)
		}
	}
	return nil
}

// GrantTarget grants a role what it needs of a target. Schema public is everybody's to use, unless its owner has
// decided otherwise.
func GrantTarget(cfg *sink.Config, schema, name string, tc *sink.TableConfig, role string) (grants []string) {
	if schema != "public" {
		grants = append(grants, grantUsage(schema, role))
	}
	return append(grants, grant(Privileges(cfg, tc), pgx.Identifier{schema, name}.Sanitize(), role))
}

func grant(privileges []string, on, role string) string {
	return fmt.Sprintf("grant %s on %s to %s", strings.ToLower(strings.Join(privileges, ", ")), on, role)
}

func grantUsage(schema, role string) string {
	if schema != ownSchema {
		schema = pgname.Quote(schema)
	}
	return fmt.Sprintf("grant usage on schema %s to %s", schema, role)
}

// lacks adds the problem that the role lacks some privileges.
func (p *Problems) lacks(privileges []string, title, on string) {
	p.lacksRights(fmt.Sprintf("the role lacks %s on %s", strings.Join(privileges, ", "), title), grant(privileges, on, "ROLE"))
}

// lacksUsage adds, once for all its tables, the problem that the role may not use a schema.
func (p *Problems) lacksUsage(schema string) {
	problem := "the role lacks USAGE on schema " + schema
	if !slices.ContainsFunc(p.Errs, func(err error) bool {
		var e *sink.ConfigError
		return errors.As(err, &e) && e.Problem == problem
	}) {
		p.lacksRights(problem, grantUsage(schema, "ROLE"))
	}
}

func checkPrivileges(cfg *sink.Config, t *tables.Table, r *catalog.Relation, ps *Problems) {
	if !r.SchemaUsable {
		ps.lacksUsage(r.Schema)
	}
	var missing []string
	for _, p := range Privileges(cfg, &t.Config) {
		if !slices.Contains(r.Missing, p) {
			continue
		}
		// Privileges on the columns do as well.
		if p == "DELETE" || slices.ContainsFunc(r.Columns, func(c catalog.Column) bool {
			return (t.Index(c.Name) >= 0 || tables.IsEngine(c.Name)) && slices.Contains(c.PrivilegeMissing, p)
		}) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		ps.lacks(missing, r.Qualified(), t.Quoted())
	}
}

// checkOwnTables checks what init makes for every sink.
func checkOwnTables(ctx context.Context, tx pgx.Tx, ps *Problems) error {
	var exists, usable, unlogged, current bool
	var missing []string
	err := tx.QueryRow(ctx, `
		select count(*) > 0, coalesce(bool_or(c.relpersistence <> 'p'), false), coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE')), false),
		       coalesce((select array_agg(x order by i) from unnest($1::text[]) with ordinality as p(x, i) where not has_table_privilege(max(c.oid), x)), '{}'),
		       exists (select from pg_proc p join pg_namespace pn on pn.oid = p.pronamespace where pn.nspname = 'oncesink' and p.proname = 'withheld')
		  from pg_class c join pg_namespace n on n.oid = c.relnamespace
		 where n.nspname = 'oncesink' and c.relname = 'dead_letters'`, deadLetterPrivileges).Scan(&exists, &unlogged, &usable, &missing, &current)
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	if !exists {
		ps.Add("table "+deadLetters+" does not exist", "run `oncesink init`")
		return nil
	}
	if !current {
		ps.Add("function oncesink.withheld does not exist: the schema is of an older version", "run `oncesink init`")
	}
	if unlogged {
		ps.Add("table "+deadLetters+" is unlogged", "a crash would lose what is kept there: alter table "+deadLetters+" set logged")
	}
	if !usable {
		ps.lacksUsage(ownSchema)
	}
	if len(missing) > 0 {
		ps.lacks(missing, deadLetters, deadLetters)
	}
	return nil
}
