package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Trigger is a trigger that a person made, on the table or on one of its partitions.
type Trigger struct {
	Name                string
	Row, Before, Insert bool
	Language, Source    string
}

// ForeignKey is a foreign key by which deletes or updates travel on, to or from the table or one of
// its partitions.
type ForeignKey struct {
	Name, Other string
	Incoming    bool   // from the other table to this one
	Deletes     bool   // a delete travels, not only an update
	Actions     string // "on delete cascade" and the like
}

// Effects are what happens to rows of a table, and to those of other tables, behind the mapping's back.
type Effects struct {
	Triggers    []Trigger
	ForeignKeys []ForeignKey
	Retention   *Retention // nil: none
	// RolledUp: a rollup counts the table's rows by triggers.
	RolledUp bool
	// Owned tells that the role is the table's owner, or a member of it.
	Owned bool
}

// ReadEffects reads those of a table and its partitions.
func ReadEffects(ctx context.Context, tx pgx.Tx, table uint32) (e Effects, err error) {
	// tgtype: 1 row, 2 before, 4 insert. A partition's copy of its table's trigger has a parent. Functions in
	// schema oncesink are those of rollups.
	rows, err := tx.Query(ctx, `
		select t.tgname, t.tgtype & 1 <> 0, t.tgtype & 2 <> 0, t.tgtype & 4 <> 0, l.lanname, coalesce(p.prosrc, '')
		  from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang join pg_namespace n on n.oid = p.pronamespace
		 where (t.tgrelid = $1 or t.tgrelid in (select relid from pg_partition_tree($1))) and t.tgparentid = 0
		   and not t.tgisinternal and t.tgenabled in ('O', 'A') and n.nspname <> 'oncesink' order by 1`, table)
	if err != nil {
		return e, err
	}
	if e.Triggers, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Trigger, error) {
		var g Trigger
		return g, row.Scan(&g.Name, &g.Row, &g.Before, &g.Insert, &g.Language, &g.Source)
	}); err != nil {
		return e, err
	}
	rows, err = tx.Query(ctx, `
		with family as (select $1::oid as oid union select relid from pg_partition_tree($1)),
		     actions(code, text) as (values ('c', 'cascade'), ('n', 'set null'), ('d', 'set default'))
		select k.conname, format('%s.%s', n.nspname, o.relname), k.incoming, k.confdeltype in ('c', 'n', 'd'),
		       concat_ws(' and ', 'on delete ' || (select text from actions where code = k.confdeltype), 'on update ' || (select text from actions where code = k.confupdtype))
		  from (select *, confrelid in (select oid from family) as incoming from pg_constraint where contype = 'f' and conparentid = 0) k
		  join pg_class o on o.oid = case when k.incoming then k.conrelid else k.confrelid end
		  join pg_namespace n on n.oid = o.relnamespace
		 where (k.incoming or k.conrelid in (select oid from family)) and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
		 order by 1`, table)
	if err != nil {
		return e, err
	}
	e.ForeignKeys, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ForeignKey, error) {
		var k ForeignKey
		return k, row.Scan(&k.Name, &k.Other, &k.Incoming, &k.Deletes, &k.Actions)
	})
	if err != nil {
		return e, err
	}
	if e.Retention, err = readRetention(ctx, tx, table); err != nil {
		return e, err
	}
	return e, tx.QueryRow(ctx, `
		select pg_has_role(relowner, 'usage'),
		       exists (select from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace where t.tgrelid = $1 and n.nspname = 'oncesink')
		  from pg_class where oid = $1`, table).Scan(&e.Owned, &e.RolledUp)
}

// Role is the role of a session.
type Role struct {
	Name      string
	Superuser bool
}

// ReadRole reads the role that the transaction has its rights from.
func ReadRole(ctx context.Context, tx pgx.Tx) (r Role, err error) {
	if err := tx.QueryRow(ctx, `select rolname, rolsuper from pg_roles where rolname = current_user`).Scan(&r.Name, &r.Superuser); err != nil {
		return r, fmt.Errorf("read role: %w", err)
	}
	return r, nil
}
