package rollup

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
)

// Shards that are no writer's.
const (
	foreignShard = -1 // of whoever changes rows by hand
	baseShard    = -2 // what was there when the rollup was built
)

// names are the objects of one build of a rollup. A rollup is built under a new number while
// the last build goes on; then the view changes over.
type names struct {
	view, target, storage, function string
	trigger                         string // without the event
}

func identifier(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// builder writes the statements of one build. The columns of its storage are g1, g2, ... for the
// groups, m1, m2, ... for the measures and n1, n2, ... for how many values a sum is of.
type builder struct {
	*Definition
	names
	schema, name string
	measures     []measure
}

// builder compiles a definition that [Definition.Check] finds right, for one of its builds.
func (d *Definition) builder(build int) (*builder, error) {
	b := &builder{Definition: d}
	var err error
	if b.schema, b.name, err = pgname.Qualify(d.Name, d.SearchPath); err != nil {
		return nil, err
	}
	targetSchema, target, err := pgname.Qualify(d.Table, d.SearchPath)
	if err != nil {
		return nil, err
	}
	for _, c := range d.Columns {
		m, err := parseMeasure(c)
		if err != nil {
			return nil, err
		}
		b.measures = append(b.measures, m)
	}
	b.view, b.target = identifier(b.schema, b.name), identifier(targetSchema, target)
	b.number(build)
	return b, nil
}

// number names the objects of another build.
func (b *builder) number(build int) {
	title := b.schema + "." + b.name
	object := identifier("oncesink", pgname.Short(title, fmt.Sprintf(" rollup %d", build)))
	b.storage, b.function = object, object
	b.trigger = pgname.Short("oncesink "+title, fmt.Sprintf(" %d truncate", build))
}

// each joins what f says of the numbers 1 to n.
func each(n int, separator string, f func(i int) string) string {
	var out []string
	for i := 1; i <= n; i++ {
		if s := f(i); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, separator)
}

func (b *builder) groups(prefix string) string {
	return each(len(b.GroupBy), ", ", func(i int) string { return fmt.Sprintf("%sg%d", prefix, i) })
}

func (b *builder) condition() string {
	if b.Where == "" {
		return ""
	}
	return " where (" + b.Where + ")"
}

// values selects groups and arguments from rows of the target.
func (b *builder) values(from, more string) string {
	columns := each(len(b.GroupBy), ", ", func(i int) string { return fmt.Sprintf("(%s) as g%d", b.GroupBy[i-1].SQL, i) })
	columns += each(len(b.measures), "", func(i int) string {
		if m := b.measures[i-1]; m.argument != "" {
			return fmt.Sprintf(", (%s) as x%d", m.argument, i)
		}
		return ""
	})
	return "select " + columns + more + " from " + from + b.condition()
}

// storageColumns lists what is stored of measure i (from 1) and the aggregates that it is made by.
// Filter is put behind each aggregate.
func (b *builder) storageColumns(filter string) (columns, aggregates []string) {
	add := func(column, format string, args ...any) {
		columns, aggregates = append(columns, column), append(aggregates, fmt.Sprintf(format, args...))
	}
	add("rows", "count(*)%s", filter)
	for k, m := range b.measures {
		i := k + 1
		switch {
		case m.function == "count" && m.argument != "":
			add(fmt.Sprintf("m%d", i), "count(x%d)%s", i, filter)
		case m.function == "sum" && b.Mode == Incremental:
			add(fmt.Sprintf("m%d", i), "%s", finite(fmt.Sprintf("coalesce(sum(x%d)%s, 0)::numeric", i, filter), m.name))
			add(fmt.Sprintf("n%d", i), "count(x%d)%s", i, filter)
		case m.function == "sum":
			add(fmt.Sprintf("m%d", i), "%s", finite(fmt.Sprintf("(sum(x%d)%s)::numeric", i, filter), m.name))
		case m.function != "count":
			add(fmt.Sprintf("m%d", i), "%s(x%d)%s", m.function, i, filter)
		}
	}
	return columns, aggregates
}

// finite is a sum, or an error if it is no finite number: only for these a difference with itself is not zero.
func finite(sum, name string) string {
	return fmt.Sprintf("case when %s - %s <> 0 then oncesink.finite(%s, %s) else %s end", sum, sum, sum, pgname.Literal(name), sum)
}

// createSQL makes the storage. Its columns take the types that the aggregates have.
func (b *builder) createSQL() []string {
	columns, aggregates := b.storageColumns("")
	shard, key := "", b.groups("")
	if b.Mode == Incremental {
		shard, key = "0 as shard, ", key+", shard"
	}
	var out []string
	for i := range columns {
		out = append(out, aggregates[i]+" as "+columns[i])
	}
	statements := []string{
		fmt.Sprintf("create table %s with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05) as\nselect %s, %s%s\n  from (%s) v\n group by %s\n  with no data",
			b.storage, b.groups(""), shard, strings.Join(out, ", "), b.values(b.target, ""), b.groups("")),
		fmt.Sprintf("create unique index on %s (%s) nulls not distinct", b.storage, key),
	}
	for i := range columns {
		if b.Mode == Incremental || columns[i] == "rows" {
			statements = append(statements, fmt.Sprintf("alter table %s alter column %s set not null", b.storage, columns[i]))
		}
	}
	return statements
}

// triggerSQL makes the function and its triggers on the target.
func (b *builder) triggerSQL() []string {
	body := b.incrementalBody()
	if b.Mode == Recompute {
		body = b.recomputeBody()
	}
	statements := []string{fmt.Sprintf("create function %s() returns trigger language plpgsql security definer set search_path = %s, pg_temp as %s",
		b.function, b.SearchPath, pgname.Literal(body))}
	for _, t := range [][2]string{
		{"insert", " referencing new table as new_rows"},
		{"update", " referencing old table as old_rows new table as new_rows"},
		{"delete", " referencing old table as old_rows"},
		{"truncate", ""},
	} {
		statements = append(statements, fmt.Sprintf("create trigger %s after %s on %s%s for each statement execute function %s()",
			identifier(strings.TrimSuffix(b.trigger, "truncate")+t[0]), t[0], b.target, t[1], b.function))
	}
	return statements
}

// incrementalBody adds what rows are and takes away what they were. The shard is that of
// the writer, which holds the ledger row of that source until it commits: so no two
// transactions of the sink change one row.
func (b *builder) incrementalBody() string {
	shard := func(rows string) string {
		if !b.Guarded {
			return "case when writing then 0 else " + fmt.Sprint(foreignShard) + " end"
		}
		return fmt.Sprintf("case when writing then coalesce((select min(_oncesink_source) from %s), 0) else %d end", rows, foreignShard)
	}
	return fmt.Sprintf(`
declare
  writing constant boolean := coalesce(current_setting('oncesink.writer', true), '') = 'on';
begin
  if tg_op = 'INSERT' then
    %s;
  elsif tg_op = 'UPDATE' then
    %s;
  elsif tg_op = 'DELETE' then
    %s;
  else
    delete from %s;
  end if;
  return null;
end `, b.addSQL(shard("new_rows"), "new_rows", ""), b.addSQL(shard("new_rows"), "new_rows", "old_rows"), b.addSQL(shard("old_rows"), "", "old_rows"), b.storage)
}

// addSQL adds the rows of one transition table and takes away those of another.
func (b *builder) addSQL(shard, added, removed string) string {
	var plusFilter, minusFilter, plusMark, minusMark string
	both := added != "" && removed != ""
	if both {
		plusFilter, minusFilter = " filter (where added)", " filter (where not added)"
		plusMark, minusMark = ", true as added", ", false as added"
	}
	columns, plus := b.storageColumns(plusFilter)
	_, minus := b.storageColumns(minusFilter)
	var rows, deltas, moved, sets []string
	for i, c := range columns {
		delta := plus[i]
		switch {
		case both:
			delta = plus[i] + " - " + minus[i]
		case removed != "":
			delta = "- " + minus[i]
		}
		deltas, moved = append(deltas, delta+" as "+c), append(moved, "d."+c+" <> 0")
		sets = append(sets, fmt.Sprintf("%s = t.%s + excluded.%s", c, c, c))
	}
	if added != "" {
		rows = append(rows, b.values(added, plusMark))
	}
	if removed != "" {
		rows = append(rows, b.values(removed, minusMark))
	}
	return fmt.Sprintf(`insert into %s as t (%s, shard, %s)
    select %s, %s, %s
      from (select %s, %s
              from (%s) v
             group by %s) d
     where %s
     order by %s
        on conflict (%s, shard) do update set %s`,
		b.storage, b.groups(""), strings.Join(columns, ", "),
		b.groups("d."), shard, "d."+strings.Join(columns, ", d."),
		b.groups(""), strings.Join(deltas, ", "),
		strings.Join(rows, "\n                    union all "), b.groups(""),
		strings.Join(moved, " or "), b.groups("d."), b.groups(""), strings.Join(sets, ", "))
}

// recomputeBody makes the touched groups anew. The lock makes transactions take turns, and the
// statement after it sees what the one before left. A group without rows keeps a row that says so,
// which a build beside it must not overwrite.
func (b *builder) recomputeBody() string {
	touched := func(tables ...string) string {
		var parts []string
		for _, t := range tables {
			parts = append(parts, b.values(t, ""))
		}
		return b.makeSQL("select " + b.groups("") + " from (" + strings.Join(parts, " union all ") + ") t group by " + b.groups(""))
	}
	anyOf := func(tables ...string) string {
		var parts []string
		for _, t := range tables {
			parts = append(parts, fmt.Sprintf("exists (select from %s%s)", t, b.condition()))
		}
		return strings.Join(parts, " or ")
	}
	turn := func(condition, work string) string {
		return fmt.Sprintf("    if %s then\n      perform %s;\n      %s;\n    end if;", condition, b.lock(), work)
	}
	return fmt.Sprintf(`
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'rows of %% can be changed in isolation level read committed only', tg_relid::regclass
      using errcode = '0A000', hint = 'Its rollup %s is recomputed from what other transactions have committed by then.';
  end if;
  if tg_op = 'INSERT' then
%s
  elsif tg_op = 'UPDATE' then
%s
  elsif tg_op = 'DELETE' then
%s
  else
    perform %s;
    delete from %s;
  end if;
  return null;
end `, strings.ReplaceAll(b.view, "'", "''"),
		turn(anyOf("new_rows"), touched("new_rows")),
		turn(anyOf("new_rows", "old_rows"), touched("old_rows", "new_rows")),
		turn(anyOf("old_rows"), touched("old_rows")),
		b.lock(), b.storage)
}

// lockClass is the first key of the advisory locks of rollups: "roll".
const lockClass = 0x726f6c6c

// lock is the call by which transactions take turns at a recomputed rollup.
func (b *builder) lock() string {
	return fmt.Sprintf("pg_advisory_xact_lock(%d, %d)", lockClass, pgname.LockKey(b.view))
}

// makeSQL makes the groups that touched selects anew.
func (b *builder) makeSQL(touched string) string {
	columns, aggregates := b.storageColumns(" filter (where real)")
	arguments := each(len(b.measures), "", func(i int) string {
		if b.measures[i-1].argument != "" {
			return fmt.Sprintf(", s.x%d", i)
		}
		return ""
	})
	nulls := strings.ReplaceAll(arguments, "s.x", "null as x")
	same := each(len(b.GroupBy), " and ", func(i int) string { return fmt.Sprintf("touched.g%d = s.g%d", i, i) })
	sameOrNull := strings.ReplaceAll(same, " = ", " is not distinct from ")
	null := func(of string) string {
		return each(len(b.GroupBy), " or ", func(i int) string { return fmt.Sprintf("%sg%d is null", of, i) })
	}
	var sets, differ []string
	for _, c := range columns {
		sets = append(sets, fmt.Sprintf("%s = excluded.%s", c, c))
		differ = append(differ, fmt.Sprintf("t.%s is distinct from excluded.%s", c, c))
	}
	rows := b.values(b.target, "")
	return fmt.Sprintf(`insert into %s as t (%s, %s)
      with touched as materialized (%s)
      select %s, %s
        from (select %s%s, true as real from (%s) s
               where exists (select from touched where %s)
              union all
              select %s%s, true from (%s) s
               where (select bool_or(%s) from touched) and (%s) and exists (select from touched where %s)
              union all
              select %s%s, false from touched) v
       group by %s
          on conflict (%s) do update set %s
       where %s`,
		b.storage, b.groups(""), strings.Join(columns, ", "), touched,
		b.groups(""), strings.Join(aggregates, ", "),
		b.groups("s."), arguments, rows, same,
		b.groups("s."), arguments, rows, null(""), null("s."), sameOrNull,
		b.groups(""), nulls,
		b.groups(""), b.groups(""), strings.Join(sets, ", "), strings.Join(differ, " or "))
}

// viewSQL is what readers see.
func (b *builder) viewSQL() string {
	columns := []string{each(len(b.GroupBy), ", ", func(i int) string { return fmt.Sprintf("g%d as %s", i, identifier(b.GroupBy[i-1].Name)) })}
	for k, m := range b.measures {
		i, as := k+1, " as "+identifier(m.name)
		switch {
		case b.Mode == Recompute && m.function == "count" && m.argument == "":
			columns = append(columns, "rows"+as)
		case b.Mode == Recompute:
			columns = append(columns, fmt.Sprintf("m%d%s", i, as))
		case m.function == "sum":
			columns = append(columns, fmt.Sprintf("case when sum(n%d) <> 0 then sum(m%d) end%s", i, i, as))
		case m.argument == "":
			columns = append(columns, "sum(rows)::bigint"+as)
		default:
			columns = append(columns, fmt.Sprintf("sum(m%d)::bigint%s", i, as))
		}
	}
	tail := "where rows <> 0"
	if b.Mode == Incremental {
		tail = "group by " + b.groups("") + " having sum(rows) <> 0"
	}
	return fmt.Sprintf("select %s\n  from %s\n %s", strings.Join(columns, ", "), b.storage, tail)
}

// freshSQL is the rollup from scratch, with the names and values of the view.
func (b *builder) freshSQL() string {
	columns := []string{each(len(b.GroupBy), ", ", func(i int) string { return fmt.Sprintf("g%d as %s", i, identifier(b.GroupBy[i-1].Name)) })}
	for k, m := range b.measures {
		value := fmt.Sprintf("%s(x%d)", m.function, k+1)
		switch {
		case m.argument == "":
			value = "count(*)"
		case m.function == "sum":
			value += "::numeric"
		}
		columns = append(columns, value+" as "+identifier(m.name))
	}
	return fmt.Sprintf("select %s\n  from (%s) v\n group by %s", strings.Join(columns, ", "), b.values(b.target, ""), b.groups(""))
}

// fillSQL fills the storage, or a table beside it, with what the target's rows are.
func (b *builder) fillSQL(into string) string {
	columns, aggregates := b.storageColumns("")
	shard, value := "", ""
	if b.Mode == Incremental {
		shard, value = "shard, ", fmt.Sprintf("%d, ", baseShard)
	}
	return fmt.Sprintf("insert into %s (%s, %s%s)\nselect %s, %s%s\n  from (%s) v\n group by %s",
		into, b.groups(""), shard, strings.Join(columns, ", "), b.groups(""), value, strings.Join(aggregates, ", "), b.values(b.target, ""), b.groups(""))
}
