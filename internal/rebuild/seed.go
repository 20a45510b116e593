package rebuild

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// Where the log has not the table's whole history (rule 22) the stage begins with what the table has, and the events that
// are left are applied to that. A row comes into the stage
//
//   - as it is, if its event is gone: what the log has of the key comes after it or loses, as it did before;
//   - before its own place, if compaction may have taken its event: if the event is there it is applied once more;
//   - before every place, if its event is in the log: that is applied once more, and the row has what it leaves out. An event
//     with a lower version is not: it may have lost to one that is gone. A row whose deletion is in the log is made of events
//     that are there.
//
// Rows of the last kind that no event has touched are not what the log has at their place. If they have a version it may be
// wrong, so the log is read once more without theirs; what is untouched then is deleted. Those of the second kind that none
// has touched get their place back. The memories of deletions and of sets of children are treated likewise.
//
// A stage that is loaded in bulk takes the rows afterwards: there every event fills the same columns and none
// deletes, so which events came before makes no difference.

// untouched is the offset of seeds whose events the log has.
const untouched = -2

// seed puts the table's rows into a stage that is still empty.
func (j *job) seed(ctx context.Context) (done bool, err error) {
	s, l := &j.stage, &j.layout
	if !s.about.Keep || s.about.Seeded || s.about.InBulk || l.Strategy == sink.Append {
		return false, nil
	}
	j.progress("taking over what the log no longer has", 0, 0)
	gone, forgotten := j.unproven("l"), j.from("l", j.forgets)
	conds := []string{"l." + tables.SourceColumn + " is not null"}
	if l.Memory != "" {
		deleted := fmt.Sprintf("exists (select from %s m where %s and %s", l.Memory, j.sameKey("m", "l"), j.proven("m"))
		if l.VersionedDeletes {
			deleted += " and not m." + tables.VersionedColumn
		}
		conds = append(conds, fmt.Sprintf("(%s or %s or not %s))", gone, forgotten, deleted))
	}
	columns := pgname.QuoteAll(l.Columns)
	statements := []string{fmt.Sprintf("insert into %s (%s, %s, %s) overriding system value\nselect %s, l.%[3]s, case when %[6]s then l.%[4]s when %[7]s then l.%[4]s - 1 else %[8]d end\n  from %[9]s l%[10]s",
		s.quoted(), strings.Join(columns, ", "), tables.SourceColumn, tables.OffsetColumn, qualified("l", l.Columns), gone, forgotten, untouched, l.Quoted(), where(conds...))}
	if l.Memory != "" {
		statements = append(statements, j.seedMemory(l.Memory, s.memory(), j.deleteColumns(), 1, l.Version != ""))
	}
	for i := range j.children {
		c := &j.children[i]
		statements = append(statements, j.seedMemory(c.layout.Sets, c.sets(), j.columnsOfSets(), 1, false), j.seedChildren(c))
	}
	s.about.Seeded = true
	if err := j.execute(ctx, append(statements, s.comment())...); err != nil {
		s.about.Seeded = false
		return false, rights("take over what the log no longer has", err)
	}
	return true, nil
}

// seedMemory takes over what a memory has and the log can't prove; what it may have forgotten stands back by so many places, and
// what the log has, if that is wanted, before every place.
func (j *job) seedMemory(memory, stage string, columns []string, back int, all bool) string {
	gone, forgotten := j.unproven("l"), j.from("l", j.isCompacted)
	return fmt.Sprintf("insert into %[1]s (%[2]s, %[3]s) select %[4]s, case when %[5]s then l.%[3]s when %[8]s then l.%[3]s - %[6]d else %[9]d end\n  from %[7]s l where %[5]s or %[8]s or %[10]v\n    on conflict do nothing",
		stage, strings.Join(pgname.QuoteAll(columns), ", "), tables.OffsetColumn, qualified("l", columns), gone, back, memory, forgotten, untouched, all)
}

// deleteColumns are the columns of the delete memory but for the offset, columnsOfSets those of a set memory.
func (j *job) deleteColumns() []string {
	key, state := j.memoryColumns()
	if j.layout.VersionedDeletes {
		state = append(state, tables.OutlivedSourceColumn, tables.OutlivedOffsetColumn)
	}
	return slices.DeleteFunc(slices.Concat(key, state), func(c string) bool { return c == tables.OffsetColumn })
}

func (j *job) columnsOfSets() []string {
	key, state := j.setColumns()
	return slices.DeleteFunc(slices.Concat(key, state), func(c string) bool { return c == tables.OffsetColumn })
}

// seedChildren takes over the children of sets that seedMemory has taken over, at their places.
func (j *job) seedChildren(c *child) string {
	return fmt.Sprintf("insert into %s (%s, %s, %s) overriding system value\nselect %s, l.%[3]s, m.%[4]s from %[6]s l join %[7]s m on %[8]s and l.%[3]s = m.%[3]s and l.%[4]s - m.%[4]s in (0, 1)\n where %[9]s or %[10]s",
		c.staged(), strings.Join(pgname.QuoteAll(c.layout.Columns), ", "), tables.SourceColumn, tables.OffsetColumn, qualified("l", c.layout.Columns),
		c.layout.Quoted(), c.sets(), j.ofParent(c, "l", "m"), j.unproven("l"), j.from("l", j.isCompacted))
}

// ofParent is the condition that a row of children belongs to a row with the parent's key.
func (j *job) ofParent(c *child, alias, parent string) string {
	var conds []string
	for i, k := range pgname.QuoteAll(j.layout.Key) {
		conds = append(conds, fmt.Sprintf("%s.%s = %s.%s", alias, pgname.Quote(c.layout.OfParent[i]), parent, k))
	}
	return strings.Join(conds, " and ")
}

// reap ends what seed has begun, once the stage has read all that the table's rows come from; again: it has to be read once more.
func (j *job) reap(ctx context.Context) (again bool, err error) {
	s, l := &j.stage, &j.layout
	if !s.about.Keep || s.about.Reaped {
		return false, nil
	}
	if err := j.sameBeginning(); err != nil {
		return false, err
	}
	before := s.about
	err = j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		switch {
		case l.Strategy == sink.Append:
			err = j.keepAppended(ctx, tx)
		case s.about.InBulk:
			err = j.keepInBulk(ctx, tx)
		default:
			if again, err = j.doubtVersions(ctx, tx); err == nil && !again {
				err = j.reapSeeds(ctx, tx)
			}
		}
		if err != nil {
			return err
		}
		s.about.Again, s.about.Reaped = s.about.Again || again, !again
		_, err = tx.Exec(ctx, s.comment())
		return err
	})
	if err != nil {
		s.about = before
		return false, rights("keep what the log no longer has", err)
	}
	if again {
		j.staged = nil
		return true, nil
	}
	return false, j.sameLetters(ctx)
}

// doubtVersions takes their versions from rows that no event has touched, and sends the stage back to its beginning. It reports whether
// there are any.
func (j *job) doubtVersions(ctx context.Context, tx pgx.Tx) (any bool, err error) {
	s, l := &j.stage, &j.layout
	if s.about.Again || l.Version == "" || slices.Contains(l.Key, l.Version) {
		return false, nil
	}
	untouched := fmt.Sprintf("%s = %d", tables.OffsetColumn, untouched)
	if err := tx.QueryRow(ctx, fmt.Sprintf("select exists (select from %s where %s)", s.quoted(), untouched)).Scan(&any); err != nil || !any {
		return false, err
	}
	j.log.Info("reading once more: rows have a version that no event has at their place", "table", j.result.Table)
	version := pgname.Quote(l.Version)
	if err := pgtx.Exec(ctx, tx, fmt.Sprintf("alter table %s alter column %s drop not null", s.quoted(), version),
		fmt.Sprintf("update %s set %s = null where %s", s.quoted(), version, untouched)); err != nil {
		return false, err
	}
	return true, s.forget(ctx, tx)
}

// sameBeginning makes sure that the stage has read from where its seeds were made for: the log may have moved on between.
func (j *job) sameBeginning() error {
	for _, f := range j.feeds {
		if at, ok := j.staged[f.Partition]; ok && at.first > j.stage.about.Starts[f.String()] && !j.accepted(DeleteUnproven) {
			return &errAnew{fmt.Sprintf("%s was read from offset %d on", f.Partition, at.first)}
		}
	}
	return nil
}

// reapSeeds deletes seeds that the log has disproved, and gives those their place back that it has forgotten.
func (j *job) reapSeeds(ctx context.Context, tx pgx.Tx) error {
	s, l := &j.stage, &j.layout
	var statements []string
	for i := range j.children {
		statements = append(statements, fmt.Sprintf("delete from %s c using %s s where s.%s = %d and %s", j.children[i].staged(), s.quoted(), tables.OffsetColumn, untouched, j.ofParent(&j.children[i], "c", "s")))
	}
	statements = append(statements, fmt.Sprintf("delete from %s where %s = %d", s.quoted(), tables.OffsetColumn, untouched))
	if err := pgtx.Exec(ctx, tx, statements...); err != nil {
		return err
	}
	back := func(stage, table string) string {
		return fmt.Sprintf("update %s s set %s = l.%[2]s from %s l\n where %s and s.%[5]s = l.%[5]s and s.%[2]s = l.%[2]s - 1", stage, tables.OffsetColumn, table, j.sameKey("s", "l"), tables.SourceColumn)
	}
	if err := affected(ctx, tx, &s.about.Forgotten, back(s.quoted(), l.Quoted())+" and "+j.from("s", j.forgets)); err != nil {
		return err
	}
	statements = statements[:0]
	if l.Memory != "" {
		statements = append(statements, fmt.Sprintf("delete from %s where %s = %d", s.memory(), tables.OffsetColumn, untouched), back(s.memory(), l.Memory)+" and "+j.from("s", j.isCompacted))
	}
	for i := range j.children {
		c := &j.children[i]
		statements = append(statements, back(c.sets(), c.layout.Sets)+" and "+j.from("s", j.isCompacted),
			fmt.Sprintf("update %s c set %s = m.%[2]s from %s m\n where %s and c.%[5]s = m.%[5]s and c.%[2]s = m.%[2]s - 1 and %[6]s", c.staged(), tables.OffsetColumn, c.sets(), j.ofParent(c, "c", "m"), tables.SourceColumn, j.from("c", j.isCompacted)),
			// Of a parent that is gone nothing stays.
			fmt.Sprintf("delete from %s c where not exists (select from %s s where %s)", c.staged(), s.quoted(), j.ofParent(c, "c", "s")))
	}
	if err := pgtx.Exec(ctx, tx, statements...); err != nil {
		return err
	}
	var notNull bool
	if s.about.Again {
		if err := tx.QueryRow(ctx, "select attnotnull from pg_attribute where attrelid = $1::text::regclass and attname = $2::text", l.Quoted(), l.Version).Scan(&notNull); err != nil {
			return err
		}
	}
	if !notNull {
		return nil
	}
	return pgtx.Exec(ctx, tx, fmt.Sprintf("alter table %s alter column %s set not null", s.quoted(), pgname.Quote(l.Version)))
}

// keepInBulk takes over rows and deletions that the log can't prove into a stage that was loaded in bulk.
func (j *job) keepInBulk(ctx context.Context, tx pgx.Tx) error {
	s, l := &j.stage, &j.layout
	var sets []string
	for _, c := range pgname.QuoteAll(stageColumns(l)) {
		sets = append(sets, c+" = excluded."+c)
	}
	if err := affected(ctx, tx, &s.about.Forgotten, fmt.Sprintf("insert into %s as s (%s) overriding system value\nselect %[2]s from %s l where %s or %s\n    on conflict (%s) do update set %s\n where %s",
		s.quoted(), stored(l), l.Quoted(), j.unproven("l"), j.from("l", j.forgets), strings.Join(pgname.QuoteAll(l.Key), ", "), strings.Join(sets, ", "), j.comesAfter("excluded", "s"))); err != nil {
		return err
	}
	if l.Memory != "" {
		if _, err := tx.Exec(ctx, j.seedMemory(l.Memory, s.memory(), j.deleteColumns(), 0, false)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("delete from %s s using %s m where %s and not (%s)", s.quoted(), s.memory(), j.sameKey("s", "m"), j.outlives("s", "m"))); err != nil {
			return err
		}
	}
	for i := range j.children {
		c := &j.children[i]
		// Of a row whose event is gone the table's children are the right ones, and of one that went none.
		without := func(table, alias, of string, conds ...string) string {
			return fmt.Sprintf("delete from %s %s where not exists (select from %s s%s)", table, alias, s.quoted(), where(append(conds, of)...))
		}
		proven := "not " + j.unproven("s")
		if err := pgtx.Exec(ctx, tx,
			without(c.staged(), "c", j.ofParent(c, "c", "s"), proven), without(c.sets(), "m", j.sameKey("m", "s"), proven),
			j.seedMemory(c.layout.Sets, c.sets(), j.columnsOfSets(), 0, false), j.seedChildren(c),
			without(c.staged(), "c", j.ofParent(c, "c", "s")), without(c.sets(), "m", j.sameKey("m", "s"))); err != nil {
			return err
		}
	}
	return j.notCountedTwice(ctx, tx)
}

// outlives is whether row s comes after the deletion m.
func (j *job) outlives(s, m string) string {
	return fmt.Sprintf("%s and (%s %[3]s.%[4]s <> %[5]s.%[4]s or %[3]s.%[6]s > %[5]s.%[6]s)", j.comesAfter(s, m), j.versionedDeletion(m), s, tables.SourceColumn, m, tables.OffsetColumn)
}

// versionedDeletion is the beginning of a condition on the memory's row.
func (j *job) versionedDeletion(alias string) string {
	if !j.layout.VersionedDeletes {
		return ""
	}
	return alias + "." + tables.VersionedColumn + " or"
}

// keepAppended takes over rows of an append table whose events are gone, or may be.
func (j *job) keepAppended(ctx context.Context, tx pgx.Tx) error {
	s, l := &j.stage, &j.layout
	if err := affected(ctx, tx, &s.about.Forgotten, fmt.Sprintf("insert into %s (%s) overriding system value\nselect %[2]s from %s l\n where (%s or %s) and not exists (select from %[1]s s where %[6]s)",
		s.quoted(), stored(l), l.Quoted(), j.unproven("l"), j.from("l", j.forgets), j.sameKey("s", "l"))); err != nil {
		return err
	}
	return j.notCountedTwice(ctx, tx)
}

// notCountedTwice leaves in Forgotten those rows alone that countKept doesn't find by their place.
func (j *job) notCountedTwice(ctx context.Context, tx pgx.Tx) error {
	var gone int64
	if err := tx.QueryRow(ctx, fmt.Sprintf("select count(*) from %s s where %s", j.stage.quoted(), j.unproven("s"))).Scan(&gone); err != nil {
		return err
	}
	j.stage.about.Forgotten -= gone
	return nil
}

// comesAfter is whether row e comes after the stored row r in the order of the guard (rule 11). It is never null.
func (j *job) comesAfter(e, r string) string {
	return statement.Newer(j.layout.Version, e, r)
}

// sameLetters makes sure that no event was refused by the stage because a row had, from the table, a value of a further unique index that
// it took later.
func (j *job) sameLetters(ctx context.Context) error {
	if len(j.layout.Others) == 0 {
		return nil
	}
	var refused int64
	if err := j.scan(ctx, `select count(*) from oncesink.dead_letters s where s.sink_group = $1::text and s.code in ('23505', '23P01')
		and not exists (select from oncesink.dead_letters g where g.sink_group = $2::text and g.topic_id = s.topic_id and g.partition = s.partition and g."offset" = s."offset")`,
		[]any{j.stage.group, j.Consumer.Group}, &refused); err != nil {
		return fmt.Errorf("read the stage's dead letters: %w", err)
	}
	if refused > 0 {
		return &sink.ConfigError{Problem: fmt.Sprintf("%d record(s) can't be applied without those that are gone: values of %s have moved between rows of %s", refused, j.layout.Others[0], j.result.Table), Fix: j.fix(DeleteUnproven)}
	}
	return nil
}

// countKept counts the rows that stay because the log can't prove what became of them.
func (j *job) countKept(ctx context.Context, tx pgx.Tx) error {
	j.result.Kept, j.result.History = 0, j.histories()
	if !j.stage.about.Keep {
		return nil
	}
	if err := tx.QueryRow(ctx, fmt.Sprintf("select count(*) from %s s%s", j.stage.quoted(), where(j.unproven("s"), j.inRange("s")))).Scan(&j.result.Kept); err != nil {
		return fmt.Errorf("count what is kept: %w", err)
	}
	if !j.scoped() {
		j.result.Kept += j.stage.about.Forgotten
	}
	return nil
}
