package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/sink"
)

// obstacles are what an exchange of tables would break or lose. Each query says of a table ($1) why it
// can't be exchanged, or nothing. Whatever hangs on a table's identity rather than on its
// name stays with the one that is dropped. The foreign keys of children ($3) to their parent ($2) are exchanged with them. Options of
// columns that begin with pg_ are the server's own: PostgreSQL 15.20 gives each column one.
var obstacles = []string{
	`select 'it is partitioned, or a partition, or has children' from pg_class c where c.oid = $1 and (c.relkind <> 'r' or c.relispartition
		or exists (select from pg_inherits where inhrelid = c.oid or inhparent = c.oid))`,
	`select 'the role does not own it' from pg_class where oid = $1 and not pg_has_role(relowner, 'usage')`,
	`select format('view or rule %s depends on it', r.ev_class::regclass) from pg_depend d join pg_rewrite r on r.oid = d.objid
		where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1`,
	`select format('%s depends on its row type', pg_describe_object(d.classid, d.objid, d.objsubid)) from pg_class c join pg_depend d on d.refobjid = c.reltype
		where c.oid = $1 and d.refclassid = 'pg_type'::regclass and d.deptype = 'n'`,
	`select format('function %s depends on it', objid::regprocedure) from pg_depend where classid = 'pg_proc'::regclass and refobjid = $1`,
	`select format('foreign key %I of %s', conname, conrelid::regclass) from pg_constraint where contype = 'f' and (confrelid = $1 or conrelid = $1)
		and not (confrelid = $2 and conrelid = any ($3))`,
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

// member is the table, or one of its children, and the stage that takes its place.
type member struct {
	*engine.Layout
	stage    string // in schema oncesink
	seen     string // the quoted name of the table that has the columns which events fill
	replaced []replacement
}

func (m *member) staged() string { return pgx.Identifier{"oncesink", m.stage}.Sanitize() }

// family are the tables that are exchanged together, the parent first.
func (j *job) family() []member {
	family := []member{{Layout: &j.layout, stage: j.stage.name, seen: j.stage.filled}}
	for i := range j.children {
		c := &j.children[i]
		family = append(family, member{Layout: &c.layout, stage: c.stage, seen: c.filled()})
	}
	return family
}

// refuseSwap finds out whether the tables can be exchanged at all.
func (j *job) refuseSwap(ctx context.Context) error {
	regclass := func(quoted string) string { return pgname.Literal(quoted) + "::regclass" }
	var children []string
	for _, t := range j.tables()[1:] {
		children = append(children, regclass(t))
	}
	var problems []error
	for i, table := range j.tables() {
		var whys []string
		cut, err := j.isHypertable(ctx, i)
		switch {
		case err != nil:
			return fmt.Errorf("look what the table is: %w", err)
		case cut: // TimescaleDB gives it chunks, options and triggers that there is no need to tell
			problems = append(problems, &sink.ConfigError{Problem: fmt.Sprintf("table %s can't be swapped: it is a hypertable, and the table in its place would be none", j.targets()[i]), Fix: "rebuild it without --swap"})
			continue
		}
		for _, o := range obstacles {
			sql := strings.NewReplacer("$1", regclass(table), "$2", regclass(j.layout.Quoted()), "$3", "array["+strings.Join(children, ", ")+"]::regclass[]").Replace(o)
			err := j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
				some, err := texts(ctx, tx, sql)
				whys = append(whys, some...)
				return err
			})
			if err != nil {
				return fmt.Errorf("look for what hangs on the table: %w", err)
			}
		}
		for _, why := range whys {
			problems = append(problems, &sink.ConfigError{Problem: fmt.Sprintf("table %s can't be swapped: %s", j.targets()[i], why), Fix: "rebuild it without --swap"})
		}
	}
	return errors.Join(problems...)
}

// isHypertable reports whether one of the family is a hypertable.
func (j *job) isHypertable(ctx context.Context, i int) (is bool, err error) {
	m := j.family()[i]
	return is, j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		r, err := catalog.Read(ctx, tx, m.Schema, m.Name)
		if err != nil {
			return err
		}
		is = r.Hypertable
		return nil
	})
}

// replacement is an index of the table and the stage's that takes its place.
type replacement struct{ name, stage string }

// furnish gives the stages what the tables have besides rows, without locking these.
func (j *job) furnish(ctx context.Context) error {
	j.progress("indexing", 0, 0)
	j.exchanged = j.family()
	var statements []string
	for i := range j.exchanged {
		m := &j.exchanged[i]
		if err := j.index(ctx, m); err != nil {
			return rights("index the stage", err)
		}
		err := j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			more, err := texts(ctx, tx, `
		select format('alter table %1$s add constraint %2$I %3$s', $2::text, conname, replace(pg_get_constraintdef(oid), format('REFERENCES %s(', confrelid::regclass), format('REFERENCES %s(', $3::text)))
		  from pg_constraint c where contype = 'f' and conrelid = $1::text::regclass
		   and not exists (select from pg_constraint s where s.conrelid = $2::text::regclass and s.conname = c.conname)
		union all
		select format('alter table %1$s set (%2$s)', $2::text, array_to_string(reloptions, ', ')) from pg_class where oid = $1::text::regclass and reloptions is not null
		union all
		select format('comment on column %s.%I is %L', $2::text, attname, col_description(attrelid, attnum)) from pg_attribute
		 where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and col_description(attrelid, attnum) is not null
		union all
		select format('grant %s on %s to %s%s', a.privilege_type, $2::text, case when a.grantee = 0 then 'public' else a.grantee::regrole::text end,
		              case when a.is_grantable then ' with grant option' else '' end)
		  from pg_class c, aclexplode(c.relacl) a where c.oid = $1::text::regclass and a.grantee <> c.relowner
		union all
		select format('alter table %s owner to %s', $2::text, relowner::regrole) from pg_class where oid = $1::text::regclass`, m.Quoted(), m.staged(), j.stage.quoted())
			statements = append(statements, more...)
			return err
		})
		if err != nil {
			return fmt.Errorf("read what the table has: %w", err)
		}
		statements = append(statements, "analyze "+m.staged())
	}
	if err := j.execute(ctx, statements...); err != nil {
		return rights("prepare the swap", err)
	}
	return nil
}

// allFilled refuses a swap that would lose the values of columns which no event fills.
func (j *job) allFilled(ctx context.Context) error {
	for _, m := range j.family() {
		var filled []string
		var rows bool
		if err := j.scan(ctx, fmt.Sprintf("select (select coalesce(array_agg(name), '{}') from %s), exists (select from %s)", m.seen, m.Quoted()), nil, &filled, &rows); err != nil {
			return fmt.Errorf("read the columns that events fill: %w", err)
		}
		for _, c := range m.Columns {
			if rows && !slices.Contains(filled, c) && !slices.Contains(m.Key, c) {
				return &sink.ConfigError{Problem: fmt.Sprintf("table %s.%s can't be swapped: no event fills column %s, whose values would be lost", m.Schema, m.Name, c), Fix: "rebuild it without --swap"}
			}
		}
	}
	return nil
}

// index gives the stage those of the table's indexes that it lacks, and notes which is whose.
func (j *job) index(ctx context.Context, m *member) error {
	type index struct{ name, definition, kind string } // kind of the constraint that it is: p, u, x or none
	read := func(table string) (found []index, err error) {
		return found, j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `
			select i.relname, regexp_replace(pg_get_indexdef(x.indexrelid), '^(CREATE (?:UNIQUE )?INDEX) .*? (USING .*)$', '\1 ON TABLE \2'), coalesce(c.contype::text, '')
			  from pg_index x join pg_class i on i.oid = x.indexrelid left join pg_constraint c on c.conindid = x.indexrelid and c.conrelid = x.indrelid
			 where x.indrelid = $1::text::regclass order by i.relname`, table)
			if err != nil {
				return err
			}
			found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (x index, err error) {
				return x, row.Scan(&x.name, &x.definition, &x.kind)
			})
			return err
		})
	}
	want, err := read(m.Quoted())
	if err != nil {
		return err
	}
	for pass := 0; ; pass++ {
		have, err := read(m.staged())
		if err != nil {
			return err
		}
		m.replaced = m.replaced[:0]
		var lacks []string
		used := map[string]bool{}
		for _, w := range want {
			i := slices.IndexFunc(have, func(h index) bool { return h.definition == w.definition && !used[h.name] })
			if i < 0 {
				lacks = append(lacks, strings.Replace(w.definition, " ON TABLE ", " ON "+m.staged()+" ", 1))
				continue
			}
			h := have[i]
			used[h.name] = true
			if kind := map[string]string{"p": "primary key", "u": "unique"}[w.kind]; kind != "" && h.kind == "" { // of a stage that was loaded in bulk
				name := pgx.Identifier{h.name}.Sanitize()
				lacks = append(lacks, fmt.Sprintf("alter table %s add constraint %s %s using index %[2]s", m.staged(), name, kind))
			}
			m.replaced = append(m.replaced, replacement{w.name, h.name})
		}
		if len(lacks) == 0 {
			return nil
		}
		if pass > 1 {
			return fmt.Errorf("the stage does not take the index: %s", lacks[0])
		}
		if err := j.execute(ctx, lacks...); err != nil {
			return err
		}
	}
}

// exchange puts the stages in the tables' places. Who reads one of these waits for it, and whoever has
// an older snapshot (REPEATABLE READ) sees empty tables afterwards: their rows are all newer.
func (j *job) exchange(ctx context.Context, tx pgx.Tx) error {
	if err := j.remember(ctx, tx); err != nil {
		return err
	}
	j.result.Children = nil
	for i := range j.children {
		c, r := &j.children[i], Children{Table: j.targets()[1+i]}
		var err error
		if r.Sets, err = j.rememberAs(ctx, tx, c.layout.Sets, c.sets(), false); err != nil {
			return fmt.Errorf("correct %s: %w", c.layout.Sets, err)
		}
		j.result.Children = append(j.result.Children, r)
	}
	statements := []string{"drop table " + strings.Join(j.tables(), ", ")}
	for i := range j.exchanged {
		m := &j.exchanged[i]
		var comment *string
		if err := tx.QueryRow(ctx, "select obj_description($1::text::regclass, 'pg_class')", m.Quoted()).Scan(&comment); err != nil {
			return err
		}
		said := "null"
		if comment != nil {
			said = pgname.Literal(*comment)
		}
		statements = append(statements,
			fmt.Sprintf("comment on table %s is %s", m.staged(), said),
			fmt.Sprintf("alter table %s set schema %s", m.staged(), pgx.Identifier{m.Schema}.Sanitize()),
			fmt.Sprintf("alter table %s rename to %s", pgx.Identifier{m.Schema, m.stage}.Sanitize(), pgx.Identifier{m.Name}.Sanitize()))
		for _, t := range m.replaced { // a constraint's takes that along
			statements = append(statements, fmt.Sprintf("alter index %s rename to %s", pgx.Identifier{m.Schema, t.stage}.Sanitize(), pgx.Identifier{t.name}.Sanitize()))
		}
	}
	if err := pgtx.Exec(ctx, tx, statements...); err != nil {
		return err
	}
	j.result.Swapped = true
	return nil
}
