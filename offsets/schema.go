package offsets

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

var (
	//go:embed sql/1_tables.sql
	tablesSQL string
	//go:embed sql/2_protocol.sql
	protocolSQL string
	//go:embed sql/3_operators.sql
	operatorsSQL string
	//go:embed sql/4_stuck.sql
	stuckSQL string
	//go:embed sql/5_dead_letters.sql
	deadLettersSQL string
	//go:embed sql/6_comments.sql
	commentsSQL string
	//go:embed sql/7_mappings.sql
	mappingsSQL string
	//go:embed sql/8_checks.sql
	checksSQL string
	//go:embed sql/9_truncated.sql
	truncatedSQL string
)

// component is the ledger's name in oncesink.schema_version.
const component = "ledger"

// ledgerMigrations: the version of a ledger is how many of them it has seen.
// A released one never changes.
func ledgerMigrations() []string {
	return []string{tablesSQL + "\n" + protocolSQL + "\n" + operatorsSQL, stuckSQL, deadLettersSQL, commentsSQL, mappingsSQL, checksSQL, truncatedSQL}
}

// bootstrap makes the place where versions are kept. It looks first: `if not exists`
// asks for the right to create even where there is nothing to do.
const bootstrap = `do $oncesink$ begin
if to_regnamespace('oncesink') is null then
    create schema oncesink;
end if;
if to_regclass('oncesink.schema_version') is null then
    create table oncesink.schema_version (
        component text primary key,
        version   int  not null
    );
end if;
end $oncesink$;
`

// careful is how a migration's transaction behaves. A table that is altered must not
// queue behind a stuck session for ever: every owner would queue behind this one.
const careful = "set local lock_timeout = '10s'; set local synchronous_commit = on;"

// migrationLock is the advisory lock under which tables are made: "oncesink".
const migrationLock = 0x6f6e636573696e6b

// Migrate brings one component's tables in schema oncesink up to date: it runs
// migrations[v:] where v is the version found in oncesink.schema_version, each
// with the version's update in one transaction under an advisory lock, so that
// ten processes may call it at once. A version newer than len(migrations) is
// fine (a rolling upgrade): it changes nothing, and so does the current one,
// for which the role needs no right to make anything.
func Migrate(ctx context.Context, conn *pgx.Conn, component string, migrations []string) error {
	for {
		v, err := schemaVersion(ctx, conn, component)
		if err == nil && v >= len(migrations) {
			return nil
		}
		if err == nil {
			err = migrate(ctx, conn, component, migrations)
		}
		if err != nil {
			return fmt.Errorf("migrate %s: %w", component, err)
		}
	}
}

// migrate runs the next migration, whichever it is by then.
func migrate(ctx context.Context, conn *pgx.Conn, component string, migrations []string) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1::bigint)`, int64(migrationLock)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, careful); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, bootstrap); err != nil {
			return err
		}
		v, err := schemaVersion(ctx, conn, component)
		if err != nil || v >= len(migrations) {
			return err
		}
		if _, err := tx.Exec(ctx, migrations[v]); err != nil {
			if sqlState(err) == stateLockTimeout {
				return fmt.Errorf("to version %d: %w: a session holds its tables for longer than 10 s: run it again", v+1, err)
			}
			return fmt.Errorf("to version %d: %w", v+1, err)
		}
		_, err = tx.Exec(ctx, `insert into oncesink.schema_version (component, version) values ($1::text, $2::int)
			on conflict (component) do update set version = excluded.version`, component, v+1)
		return err
	})
}

// schemaVersion returns a component's version, 0 if it is not there. It looks
// the table up in the catalog first, for naming one that does not exist would
// abort a transaction.
func schemaVersion(ctx context.Context, conn *pgx.Conn, component string) (int, error) {
	var exists bool
	err := conn.QueryRow(ctx, `select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'oncesink' and c.relname = 'schema_version')`).Scan(&exists)
	if err != nil || !exists {
		return 0, err
	}
	var v int
	err = conn.QueryRow(ctx, `select version from oncesink.schema_version where component = $1::text`, component).Scan(&v)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return v, err
}

// Current reports whether [Migrate] has nothing to do.
func Current(ctx context.Context, conn *pgx.Conn, component string, migrations []string) (bool, error) {
	v, err := schemaVersion(ctx, conn, component)
	if err != nil {
		return false, fmt.Errorf("read version of %s: %w", component, err)
	}
	return v >= len(migrations), nil
}

// Init creates or migrates the ledger. It is idempotent.
func Init(ctx context.Context, conn *pgx.Conn) error {
	if err := checkServer(ctx, conn); err != nil {
		return err
	}
	return Migrate(ctx, conn, component, ledgerMigrations())
}

// Check returns ErrNoLedger if the ledger is missing or older than this program, and a *ServerError if the database is none that it runs on.
func Check(ctx context.Context, conn *pgx.Conn) error {
	if err := checkServer(ctx, conn); err != nil {
		return err
	}
	v, err := schemaVersion(ctx, conn, component)
	if sqlState(err) == "42501" {
		return fmt.Errorf("read ledger version: %w; `oncesink init --print` shows the grants", err)
	}
	if err != nil {
		return fmt.Errorf("read ledger version: %w", err)
	}
	if want := len(ledgerMigrations()); v < want {
		return fmt.Errorf("%w (it has version %d, this program needs %d)", ErrNoLedger, v, want)
	}
	return nil
}

// SQL returns the script of what Init does, for a DBA, with the grants that the
// runtime role needs (if role is not empty). It can be run again, and brings an older
// ledger up to date.
func SQL(role string) string {
	var b strings.Builder
	b.WriteString("-- The ledger of oncesink. Run it in the database of the target tables, as a role that may\n" +
		"-- create a schema, or that owns this one: psql -v ON_ERROR_STOP=1 -f THIS. It can be run again.\n\nbegin;\n\n")
	b.WriteString(Script(component, ledgerMigrations()))
	if role != "" {
		r := pgx.Identifier{role}.Sanitize()
		b.WriteString("\n-- The runtime role makes nothing. It may end stuck sessions of its own role\n" +
			"-- (pg_terminate_backend), for which it needs no further right.\n")
		for _, g := range []string{
			"usage on schema oncesink",
			"select on oncesink.schema_version, oncesink.status",
			"select, insert, update on oncesink.offsets, oncesink.sources, oncesink.mappings",
			"select, insert on oncesink.mapping_definitions",
			"select on oncesink.accepted_mappings",
			"select, insert, update, delete on oncesink.checks, oncesink.mismatches",
			"usage on sequence oncesink.source_serial",
			"execute on all functions in schema oncesink",
		} {
			fmt.Fprintf(&b, "grant %s to %s;\n", g, r)
		}
	}
	b.WriteString("\ncommit;\n")
	return b.String()
}

// Script returns, as SQL without begin and commit, what [Migrate] does for a component:
// the migrations that the database has not seen, and their number. It can be run again, and
// several sessions may run it at once. No migration may contain the text $migration$.
func Script(component string, migrations []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\ndo $oncesink$ begin perform pg_advisory_xact_lock(%d); end $oncesink$;\n%s", careful, int64(migrationLock), bootstrap)
	for i, m := range migrations {
		fmt.Fprintf(&b, `
-- %[1]s, version %[2]d
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = %[3]s and version >= %[2]d) then
execute $migration$
%[4]s
$migration$;
insert into oncesink.schema_version (component, version) values (%[3]s, %[2]d)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;
`, component, i+1, quote(component), strings.TrimSpace(m))
	}
	return b.String()
}
