package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/sink"
)

// obstacles are what an exchange of tables would break or lose. Each query says of a table ($1) why it
// can't be exchanged, or nothing. Whatever hangs on a table's identity rather than on its
// name stays with the one that is dropped. Options of columns that begin with pg_ are the server's own: PostgreSQL 15.20 gives each column one.
var obstacles = []string{
	`select 'it is partitioned, or a partition, or has children' from pg_class c where c.oid = $1 and (c.relkind <> 'r' or c.relispartition
		or exists (select from pg_inherits where inhrelid = c.oid or inhparent = c.oid))`,
	`select 'the role does not own it' from pg_class where oid = $1 and not pg_has_role(relowner, 'usage')`,
	`select format('view or rule %s depends on it', r.ev_class::regclass) from pg_depend d join pg_rewrite r on r.oid = d.objid
		where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1`,
	`select format('%s depends on its row type', pg_describe_object(d.classid, d.objid, d.objsubid)) from pg_class c join pg_depend d on d.refobjid = c.reltype
		where c.oid = $1 and d.refclassid = 'pg_type'::regclass and d.deptype = 'n'`,
	`select format('function %s depends on it', objid::regprocedure) from pg_depend where classid = 'pg_proc'::regclass and refobjid = $1`,
	`select format('foreign key %I of %s', conname, conrelid::regclass) from pg_constraint where contype = 'f' and (confrelid = $1 or conrelid = $1)`,
	`select distinct case when n.nspname = 'oncesink' then 'a rollup' else format('trigger %I', tgname) end
	   from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace where tgrelid = $1 and not tgisinternal`,
	`select 'it has row level security' from pg_class where oid = $1 and relrowsecurity union all select format('policy %I', polname) from pg_policy where polrelid = $1`,
	`select format('publication %I names it', p.pubname) from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where r.prrelid = $1`,
	`select format('sequence %s belongs to it', objid::regclass) from pg_depend where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass
		and refobjid = $1 and deptype in ('a', 'i') and (select relkind from pg_class where oid = objid) = 'S'`,
	`select 'it has extended statistics' from pg_statistic_ext where stxrelid = $1`,
	`select format('column %I has privileges, options or a statistics target of its own', attname) from pg_attribute
		where attrelid = $1 and attnum > 0 and not attisdropped and (attacl is not null or attstattarget > 0
			or exists (select from unnest(attoptions) o where o not like 'pg\_%'))`,
	`select 'it has a replica identity or a tablespace of its own' from pg_class where oid = $1 and (relreplident <> 'd' or reltablespace <> 0)`,
	`select format('%s has a comment', pg_describe_object(d.classoid, d.objoid, 0)) from pg_description d
		where d.classoid = 'pg_constraint'::regclass and d.objoid in (select oid from pg_constraint where conrelid = $1)
		   or d.classoid = 'pg_class'::regclass and d.objoid in (select indexrelid from pg_index where indrelid = $1)`,
}

// refuseSwap finds out whether the table can be exchanged at all.
func (j *job) refuseSwap(ctx context.Context) error {
	var problems []error
	for _, o := range obstacles {
		var whys []string
		err := j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			whys, err = texts(ctx, tx, strings.ReplaceAll(o, "$1", pgname.Literal(j.layout.Quoted())+"::regclass"))
			return err
		})
		if err != nil {
			return fmt.Errorf("look for what hangs on the table: %w", err)
		}
		for _, why := range whys {
			problems = append(problems, &sink.ConfigError{Problem: fmt.Sprintf("table %s can't be swapped: %s", j.result.Table, why), Fix: "rebuild it without --swap"})
		}
	}
	return errors.Join(problems...)
}

// replacement is an index of the table and the stage's that takes its place.
type replacement struct {
	name, constraint, kind string // of the table's; kind of the constraint: p, u, x or none
	stage                  string
}

// furnish gives the stage what the table has besides rows, without locking the table.
func (j *job) furnish(ctx context.Context) error {
	var err error
	j.progress("indexing", 0, 0)
	if j.replaced, err = j.indexes(ctx); err != nil {
		return rights("index the stage", err)
	}
	var statements []string
	err = j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		statements, err = texts(ctx, tx, `
		select format('alter table %1$s set (%2$s)', $2::text, array_to_string(reloptions, ', ')) from pg_class where oid = $1::text::regclass and reloptions is not null
		union all
		select format('comment on column %s.%I is %L', $2::text, attname, col_description(attrelid, attnum)) from pg_attribute
		 where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and col_description(attrelid, attnum) is not null
		union all
		select format('grant %s on %s to %s%s', a.privilege_type, $2::text, case when a.grantee = 0 then 'public' else a.grantee::regrole::text end,
		              case when a.is_grantable then ' with grant option' else '' end)
		  from pg_class c, aclexplode(c.relacl) a where c.oid = $1::text::regclass and a.grantee <> c.relowner
		union all
		select format('alter table %s owner to %s', $2::text, relowner::regrole) from pg_class where oid = $1::text::regclass`, j.layout.Quoted(), j.stage.quoted())
		return err
	})
	if err != nil {
		return fmt.Errorf("read what the table has: %w", err)
	}
	if err := j.execute(ctx, append(statements, "analyze "+j.stage.quoted())...); err != nil {
		return rights("prepare the swap", err)
	}
	return nil
}

// allFilled refuses a swap that would lose the values of columns which no event fills.
func (j *job) allFilled(ctx context.Context) error {
	columns, err := j.filled(ctx)
	if err != nil {
		return err
	}
	for _, c := range j.layout.Columns {
		if !slices.Contains(columns, c) {
			return &sink.ConfigError{Problem: fmt.Sprintf("table %s can't be swapped: no event fills column %s, whose values would be lost", j.result.Table, c), Fix: "rebuild it without --swap"}
		}
	}
	return nil
}

// indexes gives the stage those of the table's indexes that it lacks, and says which is whose.
func (j *job) indexes(ctx context.Context) (replaced []replacement, err error) {
	type index struct{ name, definition, constraint, kind string }
	read := func(table string) (found []index, err error) {
		return found, j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `
			select i.relname, regexp_replace(pg_get_indexdef(x.indexrelid), '^(CREATE (?:UNIQUE )?INDEX) .*? (USING .*)$', '\1 ON TABLE \2'), coalesce(c.conname, ''), coalesce(c.contype::text, '')
			  from pg_index x join pg_class i on i.oid = x.indexrelid left join pg_constraint c on c.conindid = x.indexrelid and c.conrelid = x.indrelid
			 where x.indrelid = $1::text::regclass order by i.relname`, table)
			if err != nil {
				return err
			}
			found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (x index, err error) {
				return x, row.Scan(&x.name, &x.definition, &x.constraint, &x.kind)
			})
			return err
		})
	}
	want, err := read(j.layout.Quoted())
	if err != nil {
		return nil, err
	}
	for pass := 0; ; pass++ {
		have, err := read(j.stage.quoted())
		if err != nil {
			return nil, err
		}
		replaced = replaced[:0]
		var missing []string
		used := map[string]bool{}
		for _, w := range want {
			i := slices.IndexFunc(have, func(h index) bool { return h.definition == w.definition && !used[h.name] })
			if i < 0 {
				missing = append(missing, strings.Replace(w.definition, " ON TABLE ", " ON "+j.stage.quoted()+" ", 1))
				continue
			}
			used[have[i].name] = true
			replaced = append(replaced, replacement{w.name, w.constraint, w.kind, have[i].name})
		}
		if len(missing) == 0 {
			return replaced, nil
		}
		if pass > 0 {
			return nil, fmt.Errorf("the stage does not take the index %s", missing[0])
		}
		if err := j.execute(ctx, missing...); err != nil {
			return nil, err
		}
	}
}

// exchange puts the stage in the table's place. Who reads the table waits for it, and whoever has
// an older snapshot (REPEATABLE READ) sees an empty table afterwards: its rows are all newer.
func (j *job) exchange(ctx context.Context, tx pgx.Tx) error {
	l, s := &j.layout, &j.stage
	place := pgx.Identifier{l.Name}.Sanitize()
	if err := j.remember(ctx, tx); err != nil {
		return err
	}
	var comment *string
	if err := tx.QueryRow(ctx, "select obj_description($1::text::regclass, 'pg_class')", l.Quoted()).Scan(&comment); err != nil {
		return err
	}
	said := "null"
	if comment != nil {
		said = pgname.Literal(*comment)
	}
	statements := []string{
		"drop table " + l.Quoted(),
		fmt.Sprintf("comment on table %s is %s", s.quoted(), said),
		fmt.Sprintf("alter table %s set schema %s", s.quoted(), pgx.Identifier{l.Schema}.Sanitize()),
		fmt.Sprintf("alter table %s rename to %s", pgx.Identifier{l.Schema, s.name}.Sanitize(), place),
	}
	for _, t := range j.replaced {
		from, to := pgx.Identifier{l.Schema, t.stage}.Sanitize(), pgx.Identifier{t.name}.Sanitize()
		statements = append(statements, fmt.Sprintf("alter index %s rename to %s", from, to))
		switch t.kind {
		case "p", "u": // an index that is a constraint's already keeps its name with it
			kind := map[string]string{"p": "primary key", "u": "unique"}[t.kind]
			statements = append(statements, fmt.Sprintf(`do $swap$ begin
	if not exists (select from pg_constraint where conindid = %s::regclass and contype in ('p', 'u')) then
		execute %s;
	end if;
end $swap$`, pgname.Literal(pgx.Identifier{l.Schema, t.name}.Sanitize()), pgname.Literal(fmt.Sprintf("alter table %s add constraint %s %s using index %s", l.Quoted(), pgx.Identifier{t.constraint}.Sanitize(), kind, to))))
		}
	}
	if err := pgtx.Exec(ctx, tx, statements...); err != nil {
		return err
	}
	j.result.Swapped = true
	return nil
}
