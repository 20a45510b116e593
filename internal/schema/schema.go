// Package schema makes what the engine needs in the database beside the ledger: dead letters, target tables that are
// missing, the columns and memories of those that are there. It does so itself, prints it as a script, or says it.
package schema

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// component names the sink's tables in oncesink.schema_version.
const component = "sink"

//go:embed sql/2_text_of.sql
var textOf string

//go:embed sql/3_catalog_stamp.sql
var stampFunction string

//go:embed sql/4_dead_letters.sql
var deadLetters string

//go:embed sql/5_comments.sql
var comments string

//go:embed sql/6_withheld.sql
var withheld string

//go:embed sql/7_schemas.sql
var schemas string

//go:embed sql/8_new_fields.sql
var newFields string

//go:embed sql/9_hypertables.sql
var hypertables string

// migrations create the sink's own tables. A released one never changes.
var migrations = []string{`create table oncesink.dead_letters (
	sink_group text collate "C" not null,
	topic_id uuid not null,
	topic text collate "C" not null,
	generation integer not null,
	partition integer not null,
	"offset" bigint not null,
	recorded timestamptz,            -- the record's timestamp
	key bytea,
	value bytea,                     -- null: a tombstone
	headers jsonb not null,          -- [[name, value in base64], ...]
	code text,                       -- SQLSTATE, or ONS.. for what the decoder found
	message text not null,
	target text,                     -- table
	column_name text,
	constraint_name text,
	status text not null default 'new',
	recorded_at timestamptz not null default now(),
	primary key (sink_group, topic_id, partition, "offset")
);`, textOf, stampFunction, deadLetters, comments, withheld, schemas, newFields, hypertables}

// Init creates what the sink needs beside the ledger, which must be there: the dead-letter table,
// missing target tables that have a Create statement, the engine columns of
// guarded targets and their delete memories. It is idempotent, and ten processes
// may call it at once.
//
// It does not look whether the tables fit the configuration: see [Plan].
func Init(ctx context.Context, conn *pgx.Conn, cfg sink.Config) error {
	if err := offsets.Migrate(ctx, conn, component, migrations); err != nil {
		return fmt.Errorf("init dead letters: %w", err)
	}
	cfg = mapping.WithDefaults(cfg)
	for _, tc := range cfg.Tables {
		if err := initTable(ctx, conn, cfg, tc); err != nil {
			return fmt.Errorf("init table %s: %w", tc.Name, err)
		}
	}
	return nil
}

func initTable(ctx context.Context, conn *pgx.Conn, cfg sink.Config, tc sink.TableConfig) error {
	tx, err := beginInit(ctx, conn, &cfg)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	r, _, err := createTable(ctx, tx, tc)
	if err != nil {
		return err
	}
	memories, err := memoriesIn(ctx, tx, r, cfg, tc)
	if err != nil {
		return err
	}
	script := tableScript(r.Schema, r.Name, tc, memories)
	if r.Column(tables.SourceColumn) != nil && r.Column(tables.OffsetColumn) != nil {
		script = withoutColumns(script) // even if it adds nothing, alter table locks the table
	}
	for _, sql := range script {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", strings.SplitN(sql, "\n", 2)[0], err)
		}
	}
	return tx.Commit(ctx)
}

// beginInit begins a transaction that makes or alters tables, one at a time in the database: `create table if not
// exists` races with itself.
func beginInit(ctx context.Context, conn *pgx.Conn, cfg *sink.Config) (pgx.Tx, error) {
	settings := mapping.SettingsOf(cfg)
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: settings.With(mapping.Setting{Name: "lock_timeout", Value: "60s"}).Begin()})
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, "select pg_advisory_xact_lock($1::integer, 0)", int32(statement.LockClass))
	if err == nil {
		_, err = tx.Exec(ctx, settings.Set())
	}
	if err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx))
		return nil, err
	}
	return tx, nil
}

// createTable reads a table, which it creates if it is missing and has a Create statement.
func createTable(ctx context.Context, tx pgx.Tx, tc sink.TableConfig) (r *catalog.Relation, created bool, err error) {
	schema, name, err := pgname.Split(tc.Name)
	if err != nil {
		return nil, false, &sink.ConfigError{Problem: err.Error()}
	}
	r, err = catalog.Read(ctx, tx, schema, name)
	if errors.Is(err, catalog.ErrNoTable) && tc.Create == sink.CreateAuto { // who can ask for schemas has put the statement in its place
		return nil, false, &sink.ConfigError{Problem: "table " + tc.Name + " does not exist, and no schema is asked here (create: auto)", Fix: "give the statement that `oncesink schema` prints, or run `oncesink init`"}
	}
	if errors.Is(err, catalog.ErrNoTable) && tc.Create != "" {
		if _, err := tx.Exec(ctx, tc.Create); err != nil {
			return nil, false, &sink.ConfigError{Problem: "create: " + pgerr.Full(err), Fix: "correct the statement under `create:`"}
		}
		created = true
		if r, err = catalog.Read(ctx, tx, schema, name); errors.Is(err, catalog.ErrNoTable) {
			return nil, false, &sink.ConfigError{Problem: "the statement under `create:` does not create " + tc.Name, Fix: "correct its name"}
		}
	}
	if errors.Is(err, catalog.ErrNoTable) {
		return nil, false, &sink.ConfigError{Problem: "table " + tc.Name + " does not exist", Fix: "create it, or give its statement as `create:`"}
	}
	return r, created, err
}

// Exists reports whether there is a table of an entry's name.
func Exists(ctx context.Context, conn *pgx.Conn, cfg sink.Config, entry string) (bool, error) {
	_, there, err := PrimaryKey(ctx, conn, cfg, entry)
	return there, err
}

// PrimaryKey lists the columns of the primary key that the table of an entry's name has, none without one; there is false if there is no
// such table.
func PrimaryKey(ctx context.Context, conn *pgx.Conn, cfg sink.Config, entry string) (key []string, there bool, err error) {
	cfg = mapping.WithDefaults(cfg)
	schema, name, err := pgname.Split(entry)
	if err != nil {
		return nil, false, &sink.ConfigError{Problem: err.Error()}
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: mapping.SettingsOf(&cfg).Begin()})
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	r, err := catalog.Read(ctx, tx, schema, name)
	if errors.Is(err, catalog.ErrNoTable) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	key, err = r.ReadPrimaryKey(ctx, tx)
	return key, true, err
}

// InitSQL returns the script that does what Init does, for a DBA, with the grants
// that the runtime role needs (if role is not empty). A table without a schema is taken to be in the
// first schema of the search path. The script can be run again.
func InitSQL(cfg sink.Config, role string) string {
	cfg = mapping.WithDefaults(cfg)
	var b strings.Builder
	b.WriteString("-- Dead letters and target tables of oncesink. Run it after the ledger's script, as the owner of the\n" +
		"-- target tables: psql -v ON_ERROR_STOP=1 -f THIS\n\nbegin;\n\n")
	b.WriteString(offsets.Script(component, migrations) + "\n")
	if role != "" {
		if computes(cfg) {
			fmt.Fprintf(&b, "do $init$ begin execute format('grant temporary on database %%I to %%I', current_database(), %s); end $init$; -- to check expressions\n", pgname.Literal(role))
		}
		role = pgx.Identifier{role}.Sanitize()
		for _, g := range mapping.GrantOwn(&cfg, role) {
			b.WriteString(g + ";\n")
		}
	}
	fmt.Fprintf(&b, "set local search_path = %s;\n", cfg.SearchPath)
	for _, tc := range cfg.Tables {
		schema, name, err := pgname.Qualify(tc.Name, cfg.SearchPath)
		if err != nil {
			continue // Open reports it
		}
		fmt.Fprintf(&b, "\n-- %s.%s\n", schema, name)
		switch {
		case tc.Create == sink.CreateAuto:
			fmt.Fprintf(&b, "do $init$ begin if to_regclass(%s) is null then raise exception %s; end if; end $init$;\n",
				pgname.Literal(pgx.Identifier{schema, name}.Sanitize()), pgname.Literal("table "+strings.ReplaceAll(tc.Name, "%", "%%")+" does not exist: create it by the statement that `oncesink schema` prints"))
		case tc.Create != "":
			fmt.Fprintf(&b, "do $init$ begin if to_regclass(%s) is null then execute %s; end if; end $init$;\n",
				pgname.Literal(pgx.Identifier{schema, name}.Sanitize()), pgname.Literal(tc.Create))
		}
		var parentSchema, parentName string
		parent := mapping.ParentOf(cfg.Tables, &tc)
		if parent != nil {
			if parentSchema, parentName, err = pgname.Qualify(parent.Name, cfg.SearchPath); err != nil {
				continue
			}
		}
		memories := memoriesOf(cfg, schema, name, tc, parentSchema, parentName, parent)
		for _, s := range tableScript(schema, name, tc, memories) {
			b.WriteString(s + ";\n")
		}
		if role == "" {
			continue
		}
		for _, g := range mapping.GrantTarget(&cfg, schema, name, &tc, role) {
			b.WriteString(g + ";\n")
		}
		for _, m := range memories {
			b.WriteString(m.Grant(role) + ";\n")
		}
	}
	b.WriteString("\ncommit;\n")
	return b.String()
}

// computes reports whether a column is made by SQL.
func computes(cfg sink.Config) bool {
	return slices.ContainsFunc(cfg.Tables, func(t sink.TableConfig) bool {
		for _, c := range t.Columns {
			if c.SQL != "" {
				return true
			}
		}
		return false
	})
}

// memoriesOf are the engine's tables beside a target.
func memoriesOf(cfg sink.Config, schema, name string, tc sink.TableConfig, parentSchema, parentName string, parent *sink.TableConfig) []mapping.Memory {
	switch {
	case mapping.Remembers(&cfg, &tc):
		return []mapping.Memory{mapping.DeleteMemory(&cfg, schema, name, &tc)}
	case tc.Strategy == sink.Children && parent != nil:
		return []mapping.Memory{mapping.SetMemory(schema, name, &tc, parentSchema, parentName, parent)}
	}
	return nil
}

// memoriesIn are those of a table that is there.
func memoriesIn(ctx context.Context, tx pgx.Tx, r *catalog.Relation, cfg sink.Config, tc sink.TableConfig) ([]mapping.Memory, error) {
	parent := mapping.ParentOf(cfg.Tables, &tc)
	if parent == nil {
		return memoriesOf(cfg, r.Schema, r.Name, tc, "", "", nil), nil
	}
	schema, name, err := pgname.Split(parent.Name)
	if err != nil {
		return nil, &sink.ConfigError{Problem: err.Error()}
	}
	p, err := catalog.Read(ctx, tx, schema, name)
	if err != nil {
		return nil, err
	}
	return memoriesOf(cfg, r.Schema, r.Name, tc, p.Schema, p.Name, parent), nil
}

// tableScript is what init does to one target table and its memories. Each statement is idempotent.
func tableScript(schema, name string, tc sink.TableConfig, memories []mapping.Memory) []string {
	if tc.Guard == sink.GuardNone {
		return nil
	}
	quoted := pgx.Identifier{schema, name}.Sanitize()
	script := []string{fmt.Sprintf("alter table %s add column if not exists %s integer, add column if not exists %s bigint", quoted, tables.SourceColumn, tables.OffsetColumn)}
	if tc.Strategy == sink.Append {
		script = append(script, appendScript(schema, name))
	}
	for _, m := range memories {
		script = append(script, m.Script()...)
	}
	return script
}

func withoutColumns(script []string) []string {
	if len(script) == 0 {
		return nil
	}
	return script[1:]
}

func indexName(table string) string { return pgname.Short(table, "_oncesink_key") }
