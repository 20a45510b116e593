package rebuild

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// endBulk gives a stage that was loaded in bulk its key. Where a key has several rows, the one counts
// that comes last by the order of the guard: version, generation, offset, source (rule 11).
// That is what the events, applied one by one, would have left, since each fills the same
// columns and none deletes.
func (j *job) endBulk(ctx context.Context) error {
	s, l := &j.stage, &j.layout
	j.progress("indexing", 0, 0)
	set := s.about.Bulk
	s.about.Bulk, s.about.Tail = "", set
	unique := uniqueOver(s.quoted(), l.Key)
	children, folds := j.endBulkOfChildren()
	ends := append(j.makeTails(), s.comment())
	err := j.execute(ctx, slices.Concat([]string{unique}, children, ends)...)
	if pgerr.SQLState(err) == uniqueViolation {
		key := strings.Join(pgname.QuoteAll(l.Key), ", ")
		fold := replaced(s.name, fmt.Sprintf("(%s) overriding system value select distinct on (%s) %s from %s order by %s, %s", stored(l), key, stored(l), s.quoted(), key, j.latest()))
		err = j.execute(ctx, slices.Concat(fold, []string{unique}, folds, children, ends)...)
	}
	if err != nil {
		s.about.Bulk, s.about.Tail = set, ""
		return rights("index the stage", err)
	}
	return nil
}

const uniqueViolation = "23505"

// latest orders rows of a key, the one that counts first.
func (j *job) latest() string {
	version := j.layout.Version
	if version != "" {
		version = pgname.Quote(version)
	}
	return statement.LatestFirst(version)
}

// endBulkOfChildren are the statements that give the stages of children their keys and set memories, and, before these, those that
// leave in them only the children of the events whose rows have stayed.
func (j *job) endBulkOfChildren() (statements, folds []string) {
	s := &j.stage
	for i := range j.children {
		c := &j.children[i]
		folds = append(folds, replaced(c.stage, fmt.Sprintf("(%s) overriding system value select %s from %s c join %s s on %s and %s", stored(&c.layout), qualified("c", stageColumns(&c.layout)),
			c.staged(), s.quoted(), j.ofParent(c, "c", "s"), statement.SamePlace("c", "s")))...)
		statements = append(statements, uniqueOver(c.staged(), c.layout.Key))
		// Each event had the array: the one that made the row brought its children.
		key, state := j.setColumns()
		sets := mapping.SetMemory("oncesink", c.stage, j.entry(c.entry), "oncesink", s.name, j.entry(j.Table))
		sets.Fill = fmt.Sprintf("select %s from %s", strings.Join(pgname.QuoteAll(slices.Concat(key, state)), ", "), s.quoted())
		statements = append(statements, sets.Script()...)
	}
	return statements, folds
}

// entry is that of the configuration.
func (j *job) entry(name string) *sink.TableConfig {
	return &j.Sink.Tables[slices.IndexFunc(j.Sink.Tables, func(t sink.TableConfig) bool { return t.Name == name })]
}

func uniqueOver(table string, columns []string) string {
	return fmt.Sprintf("create unique index on %s (%s)", table, strings.Join(pgname.QuoteAll(columns), ", "))
}

// replaced are the statements that put what is selected in a stage's place.
func replaced(stage, insert string) []string {
	old, folded := pgx.Identifier{"oncesink", stage}.Sanitize(), pgx.Identifier{"oncesink", stage + "2"}.Sanitize()
	return []string{
		fmt.Sprintf("create table %s (like %s including all)", folded, old),
		fmt.Sprintf("insert into %s %s", folded, insert),
		"drop table " + old,
		fmt.Sprintf("alter table %s rename to %s", folded, pgx.Identifier{stage}.Sanitize()),
	}
}

// stageColumns are the columns of a stage that are not generated.
func stageColumns(l *engine.Layout) []string {
	return append(slices.Clone(l.Columns), tables.SourceColumn, tables.OffsetColumn)
}

func stored(l *engine.Layout) string { return strings.Join(pgname.QuoteAll(stageColumns(l)), ", ") }
