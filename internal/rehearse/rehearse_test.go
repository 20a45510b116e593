package rehearse

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testdb"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// TestStatements: what only the server can tell of the statements is found before the first record, once for
// each cause, with table, statements and what to do. Nothing is executed.
func TestStatements(t *testing.T) {
	const guard = ", _oncesink_source int, _oncesink_offset bigint"
	const grants = `grant usage on schema public, oncesink to rehearsed; grant select, insert, update, delete on t to rehearsed; grant select, insert, update on oncesink.dead_letters to rehearsed;`
	keyed := sink.TableConfig{Key: []string{"id"}}
	for _, tt := range []struct {
		name     string
		create   string
		table    sink.TableConfig
		as       string   // the role
		want     []string // parts of the error, nil if there is none
		warnings string   // a part of them
	}{
		{"all is well", "create table t (id int primary key, n numeric(5, 2), m mood)", keyed, "", nil, ""},
		{"a trigger that would raise", `create table t (id int primary key);
			create function no() returns trigger language plpgsql as $$ begin raise 'executed'; end $$;
			create trigger no before insert or update or delete or truncate on t for each statement execute function no()`,
			sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}, "", nil, ""},
		{"a type in a schema that the role may not use", "create schema hidden; create type hidden.size as enum ('s', 'l'); create table t (id int primary key, s hidden.size" + guard + ")", keyed, "rehearsed",
			[]string{"PostgreSQL refuses to upsert, to upsert winners, to update, to insert rest, to update flagged, to insert rest flagged table public.t: SQLSTATE 42501: permission denied for schema hidden: grant the role what it lacks"}, ""},
		{"a function that the role may not call", `create function f(int) returns int immutable language plpgsql as 'begin return $1; end'; revoke execute on function f from public;
			create table t (id int primary key, n int default f(1)` + guard + ")",
			keyed, "rehearsed", []string{"PostgreSQL refuses to insert rest flagged table public.t: SQLSTATE 42501: permission denied for function f"}, ""},
		{"a sequence that the role may not use", "create table t (id int primary key, n serial" + guard + ")", keyed, "rehearsed", nil,
			"the role may not draw from sequence t_n_seq: an event that lacks column n of public.t would stop the run: grant usage on sequence t_n_seq to ROLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := testpg.Open(t, testdb.URL(t), "do $$ begin create role rehearsed; exception when duplicate_object then null; end $$", "create type mood as enum ('good')", tt.create)
			tt.table.Name, tt.table.Topics = "t", []string{"topic"}
			cfg := sink.Config{Tables: []sink.TableConfig{tt.table}}
			if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
				t.Fatal(err)
			}
			c, err := pgxpool.ParseConfig(db.URL)
			if err != nil {
				t.Fatal(err)
			}
			if tt.as != "" {
				db.Do(grants)
				c.ConnConfig.RuntimeParams["role"] = tt.as
			}
			pool, err := pgxpool.NewWithConfig(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			s, err := engine.Open(t.Context(), pool, nil, cfg)
			if err != nil {
				t.Fatal(err)
			}
			warnings, err := Statements(t.Context(), s)
			if got := strings.Join(warnings, "\n"); !strings.Contains(got, tt.warnings) || tt.warnings == "" && got != "" {
				t.Errorf("warnings: %s", got)
			}
			if tt.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var config *sink.ConfigError
			if !errors.As(err, &config) {
				t.Fatalf("got %v (%T), want a *ConfigError", err, err)
			}
			if n := strings.Count(err.Error(), "PostgreSQL refuses to"); n != len(tt.want) {
				t.Errorf("got %d problems, want %d", n, len(tt.want))
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got:\n%v\nwant:\n%s", err, want)
				}
			}
		})
	}
}
