package rollup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/expression"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// migrations create what all rollups share.
var migrations = []string{`create table oncesink.rollups (
	name text collate "C" primary key,    -- schema and name of the view, quoted
	target text collate "C" not null,     -- the same of its table
	mode text not null,
	fingerprint text not null,            -- of the definition
	build integer not null,               -- the number in the names of its objects
	built_at timestamptz not null default now()
);
create function oncesink.finite(value numeric, of text) returns numeric language plpgsql immutable strict as $$
begin
	if value in ('NaN', 'Infinity', '-Infinity') then
		raise exception 'a value that is no finite number can''t be taken out of the sum % again', of using errcode = '22003';
	end if;
	return value;
end $$;`}

// component names the rollups' own tables in oncesink.schema_version.
const component = "rollups"

// Rollup is a definition that fits its table.
type Rollup struct {
	builder
	build int    // the number of the one that is there; 0: none
	other string // why it is not one of this definition whose triggers are in force; "": it is
}

// Open checks definitions against the catalog, and finds what is there of them. It changes nothing. What
// is wrong is *sink.ConfigErrors, joined. Any other error is one of the connection.
func Open(ctx context.Context, conn *pgx.Conn, definitions []Definition) ([]*Rollup, error) {
	return openAll(ctx, conn, definitions, true)
}

// Ready returns an error if a rollup is not there, or not as it is defined. It asks for fewer rights
// than [Open], which checked the expressions before the rollup was built.
func Ready(ctx context.Context, conn *pgx.Conn, definitions []Definition) error {
	all, err := openAll(ctx, conn, definitions, false)
	errs := []error{err}
	for _, r := range all {
		errs = append(errs, r.Ready())
	}
	return errors.Join(errs...)
}

func openAll(ctx context.Context, conn *pgx.Conn, definitions []Definition, thorough bool) ([]*Rollup, error) {
	if len(definitions) == 0 {
		return nil, nil
	}
	var out []*Rollup
	var wrong []error
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for i := range definitions {
			r, err := open(ctx, tx, &definitions[i], thorough)
			var problem *sink.ConfigError
			switch {
			case errors.As(err, &problem):
				wrong = append(wrong, err)
			case err != nil:
				return fmt.Errorf("rollup %s: %w", definitions[i].Name, err)
			default:
				out = append(out, r)
			}
		}
		return nil
	})
	return out, errors.Join(err, errors.Join(wrong...))
}

func open(ctx context.Context, tx pgx.Tx, d *Definition, thorough bool) (*Rollup, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	problem := func(fix, format string, args ...any) error {
		return &sink.ConfigError{Problem: "rollup " + d.Name + ": " + fmt.Sprintf(format, args...), Fix: fix}
	}
	if _, err := tx.Exec(ctx, "select set_config('search_path', $1, true)", d.SearchPath); err != nil {
		return nil, err
	}
	b, err := d.builder(1)
	if err != nil {
		return nil, problem("write NAME or SCHEMA.NAME", "%v", err)
	}
	r := &Rollup{builder: *b}
	var version int
	var kind, taken string
	var ledger bool
	if err := tx.QueryRow(ctx, `select current_setting('server_version_num')::int,
		coalesce((select relkind::text from pg_class where oid = to_regclass($1)), ''), coalesce((select relkind::text from pg_class where oid = to_regclass($2)), ''),
		to_regclass('oncesink.rollups') is not null`, r.target, r.view).Scan(&version, &kind, &taken, &ledger); err != nil {
		return nil, err
	}
	spread, err := catalog.Spread(ctx, tx, r.target)
	if err != nil {
		return nil, err
	}
	switch {
	case spread:
		return nil, problem("a view over the table, or a query when it is asked for", "Citus distributes table %s, and a trigger there sees the rows of one shard", d.Table)
	case version < 150000:
		return nil, problem("upgrade, or do without rollups", "PostgreSQL 15 or later is needed")
	case kind != "r" && kind != "p":
		return nil, problem("`oncesink init` creates tables that have a `create:`; correct `table:` otherwise", "there is no table %s", d.Table)
	case taken != "" && taken != "v":
		return nil, problem("give the rollup another name", "there is something else of this name already")
	}
	same := false
	if ledger {
		if err := tx.QueryRow(ctx, `select build, fingerprint = $2 from oncesink.rollups where name = $1`, r.view, d.fingerprint()).
			Scan(&r.build, &same); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, err
		}
	}
	r.number(max(r.build, 1))
	if taken != "" && r.build == 0 {
		return nil, problem("give the rollup another name", "there is a view of this name already that is no rollup")
	}
	if thorough {
		if err := r.checkExpressions(ctx, tx, problem); err != nil {
			return nil, err
		}
	}
	return r, r.checkTriggers(ctx, tx, same)
}

// checkExpressions has PostgreSQL check each expression.
func (r *Rollup) checkExpressions(ctx context.Context, tx pgx.Tx, problem func(fix, format string, args ...any) error) error {
	check := func(what, sql string, allowed func(typ string) string) error {
		result, err := expression.Check(ctx, tx, r.target, sql)
		var refusal *expression.Refusal
		if errors.As(err, &refusal) {
			return problem(refusal.Fix, "%s %q: %s", what, sql, refusal.Problem)
		}
		if err == nil && allowed != nil {
			if why := allowed(result.Type); why != "" {
				return problem(why, "%s %q is of type %s", what, sql, result.Type)
			}
		}
		return err
	}
	var errs []error
	if r.Where != "" {
		errs = append(errs, check("where", r.Where, func(typ string) string {
			if typ != "boolean" {
				return "write a condition"
			}
			return ""
		}))
	}
	for _, g := range r.GroupBy {
		errs = append(errs, check("group "+g.Name, g.SQL, func(typ string) string {
			switch typ {
			case "real", "double precision", "json", "xml", "point":
				return "group by something that is equal or not, such as a number with all its digits, a text or a date"
			}
			return ""
		}))
	}
	for _, m := range r.measures {
		if m.argument == "" {
			continue
		}
		errs = append(errs, check("column "+m.name, m.argument, func(typ string) string {
			switch typ {
			case "smallint", "integer", "bigint", "numeric":
				return ""
			case "real", "double precision":
				if m.function == "sum" {
					return "a sum of floats depends on their order: cast it, such as amount::numeric(12, 2)"
				}
			}
			if m.function == "sum" {
				return "sum integers or numerics"
			}
			return ""
		}))
	}
	return errors.Join(errs...)
}

// checkTriggers sees whether the build that is there is in force; same tells that it is of this definition.
func (r *Rollup) checkTriggers(ctx context.Context, tx pgx.Tx, same bool) error {
	var triggers int
	var view bool
	if err := tx.QueryRow(ctx, `select (select count(*) from pg_trigger where tgrelid = $1::regclass and tgenabled in ('O', 'A') and tgfoid = to_regprocedure($2)),
		to_regclass($3) is not null`, r.target, r.function+"()", r.view).Scan(&triggers, &view); err != nil {
		return err
	}
	switch {
	case r.build == 0:
		r.other = "it is not there yet"
	case !same:
		r.other = "it was built by another definition"
	case triggers != 4:
		r.other = "its triggers are disabled or gone"
	case !view:
		r.other = "its view is gone"
	}
	return nil
}

// Name is the view's name, with its schema.
func (r *Rollup) Name() string { return r.schema + "." + r.name }

// Missing reports whether the rollup was never built.
func (r *Rollup) Missing() bool { return r.build == 0 }

// Ready returns an error if the rollup is not kept by its present definition.
func (r *Rollup) Ready() error {
	if r.other == "" {
		return nil
	}
	fix := fmt.Sprintf("run `oncesink rollup build %s`, which may run beside the sink", r.Definition.Name)
	if r.build == 0 {
		fix = "run `oncesink init`, which builds it"
	}
	return &sink.ConfigError{Problem: fmt.Sprintf("rollup %s: %s", r.Definition.Name, r.other), Fix: fix}
}

// InitSQL is the script of what all rollups share, for a DBA; it can be run again. A role, if not empty, gets the
// right to see that the rollups are there.
func InitSQL(role string) string {
	script := offsets.Script(component, migrations)
	if role != "" {
		script += "grant select on oncesink.rollups to " + identifier(role) + ";\n"
	}
	return script
}

// Init creates what all rollups share. It is idempotent.
func Init(ctx context.Context, conn *pgx.Conn) error {
	if err := offsets.Migrate(ctx, conn, component, migrations); err != nil {
		return fmt.Errorf("init rollups: %w", err)
	}
	return nil
}
