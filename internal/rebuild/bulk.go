package rebuild

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// endBulk gives a stage that was loaded in bulk its key. Where a key has several rows, the one counts
// that comes last by the order of the guard: version, generation, offset, source (rule 11).
// That is what the events, applied one by one, would have left, since each fills the same
// columns and none deletes.
func (j *job) endBulk(ctx context.Context) error {
	s, l := &j.stage, &j.layout
	j.progress("indexing", 0, 0)
	set := s.about.Bulk
	s.about.Bulk = ""
	key := strings.Join(pgname.QuoteAll(l.Key), ", ")
	unique := fmt.Sprintf("create unique index on %s (%s)", s.quoted(), key)
	err := j.execute(ctx, unique, s.comment())
	if pgerr.SQLState(err) == uniqueViolation {
		folded := pgx.Identifier{"oncesink", s.name + "2"}.Sanitize()
		err = j.execute(ctx,
			fmt.Sprintf("create table %s (like %s including all)", folded, s.quoted()),
			fmt.Sprintf("insert into %s (%s) overriding system value select distinct on (%s) %s from %s order by %s, %s", folded, j.stored(), key, j.stored(), s.quoted(), key, j.latest()),
			"drop table "+s.quoted(),
			fmt.Sprintf("alter table %s rename to %s", folded, pgx.Identifier{s.name}.Sanitize()),
			unique, s.comment())
	}
	if err != nil {
		s.about.Bulk = set
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

// stored lists the columns of the stage that are not generated.
func (j *job) stored() string {
	columns := pgname.QuoteAll(j.layout.Columns)
	return strings.Join(append(columns, tables.SourceColumn, tables.OffsetColumn), ", ")
}
