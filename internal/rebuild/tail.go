package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// A stage that was loaded in bulk gets its index while the group goes on, and what came meanwhile would cost it as much as it costs the group:
// of children more than the half of two cores. So that goes in by COPY as well: into a tail, a table like the stage without an index, whose
// rows each round merges into the stage, in one transaction that leaves the tail empty. The positions move with the rows of the tail; so
// the stage is what they say once the tail is merged, and whoever takes up a stage merges first. The same holds as in bulk: every event
// fills the same columns and none deletes. With the first one for which it doesn't, the tail is merged and given up.

func (s *stage) tail() string {
	return pgx.Identifier{"oncesink", strings.TrimSuffix(s.name, pgname.StageSuffix) + pgname.TailSuffix}.Sanitize()
}

func (c *child) tail() string {
	return pgx.Identifier{"oncesink", strings.TrimSuffix(c.stage, pgname.StageSuffix) + pgname.TailSuffix}.Sanitize()
}

// tails are the tails of the stage and of its children's.
func (j *job) tails() []string {
	tails := []string{j.stage.tail()}
	for i := range j.children {
		tails = append(tails, j.children[i].tail())
	}
	return tails
}

// makeTails are the statements that make the tails. The stages are analyzed: what is merged into them is a small part of them, which is found by
// the index if PostgreSQL knows that.
func (j *job) makeTails() (statements []string) {
	add := func(tail, stage string, key []string) {
		statements = append(statements, fmt.Sprintf("create table %s (like %s including defaults including generated including constraints including identity including storage including compression)", tail, stage),
			fmt.Sprintf("analyze %s (%s)", stage, strings.Join(pgname.QuoteAll(key), ", ")))
	}
	add(j.stage.tail(), j.stage.quoted(), j.layout.Key)
	for i := range j.children {
		c := &j.children[i]
		add(c.tail(), c.staged(), c.layout.Key)
		statements = append(statements, fmt.Sprintf("analyze %s (%s)", c.sets(), strings.Join(pgname.QuoteAll(j.layout.Key), ", ")))
	}
	return statements
}

// throughTail reads up to where the group stands into the tail, and merges that.
func (j *job) throughTail(ctx context.Context) error {
	if j.byTail == nil {
		cfg, stages := j.stage.config(j, true)
		sk, err := engine.OpenWith(ctx, j.Pool, nil, cfg, engine.Options{Stages: stages})
		if err != nil {
			return err
		}
		// To the ledger it is the stage that is written.
		ledger := offsets.New(j.Pool, j.stage.group, offsets.Options{ClusterID: j.Cluster, Mappings: j.byRow.sink.Mappings(), Logger: j.log})
		j.byTail = &writer{sk.WithLedger(ledger), ledger}
	}
	j.unmerged = true
	err := j.read(ctx, j.byTail)
	var uneven *engine.NotUniformError
	if err != nil && !errors.As(err, &uneven) {
		return err
	}
	if err := j.merge(ctx, uneven != nil); err != nil {
		return rights("merge what came into the stage", err)
	}
	if uneven == nil {
		return nil
	}
	j.log.Info("going on with the index", "because", uneven.Why)
	return j.read(ctx, j.byRow)
}

// merge brings the tail's rows into the stage; last: there will be no more.
func (j *job) merge(ctx context.Context, last bool) error {
	s := &j.stage
	tails := strings.Join(j.tails(), ", ")
	was := s.about.Tail
	err := j.within(ctx, j.ofFew(), func(ctx context.Context, tx pgx.Tx) error {
		if err := pgtx.Exec(ctx, tx, j.merges()...); err != nil {
			return err
		}
		if !last {
			return pgtx.Exec(ctx, tx, "truncate "+tails)
		}
		s.about.Tail = ""
		return pgtx.Exec(ctx, tx, "drop table "+tails, s.comment())
	})
	if err != nil {
		s.about.Tail = was
		return err
	}
	j.unmerged = false
	return nil
}

// merges are the statements that bring the tail's rows into the stage as its events would have come, one by one: of a row the one that comes last
// by the order of the guard (rule 11), and its children if the set is the event's (rule 16).
func (j *job) merges() (statements []string) {
	s, l := &j.stage, &j.layout
	key := strings.Join(pgname.QuoteAll(l.Key), ", ")
	if l.Strategy == sink.Append {
		return []string{fmt.Sprintf("insert into %s (%s) overriding system value select %[2]s from %s on conflict (%s) do nothing", s.quoted(), stored(l), s.tail(), key)}
	}
	if l.Memory != "" { // it has what the log has forgotten
		statements = append(statements, fmt.Sprintf("delete from %s s using %s m where %s and not (%s)", s.tail(), s.memory(), j.sameKey("s", "m"), j.outlives("s", "m")))
	}
	last := func(into, alias string, columns []string) string {
		var sets []string
		for _, c := range columns {
			if !slices.Contains(l.Key, c) {
				q := pgname.Quote(c)
				sets = append(sets, q+" = excluded."+q)
			}
		}
		names := strings.Join(pgname.QuoteAll(columns), ", ")
		return fmt.Sprintf("insert into %s as %s (%s) overriding system value\nselect distinct on (%s) %[3]s from %[5]s order by %[4]s, %[6]s\n    on conflict (%[4]s) do update set %[7]s\n where %[8]s",
			into, alias, names, key, s.tail(), j.latest(), strings.Join(sets, ", "), j.comesAfter("excluded", alias))
	}
	statements = append(statements, last(s.quoted(), "s", stageColumns(l)))
	for i := range j.children {
		c := &j.children[i]
		keys, state := j.setColumns()
		statements = append(statements, last(c.sets(), "m", slices.Concat(keys, state)),
			fmt.Sprintf("delete from %s c using %s m\n where %s and (c.%[4]s, c.%[5]s) is distinct from (m.%[4]s, m.%[5]s) and (%[6]s) in (select %[7]s from %[8]s)",
				c.staged(), c.sets(), j.ofParent(c, "c", "m"), tables.SourceColumn, tables.OffsetColumn, qualified("m", l.Key), key, s.tail()),
			fmt.Sprintf("insert into %s (%s) overriding system value\nselect %s from %s t\n where exists (select from %s m where %s and %s)\n    on conflict (%s) do nothing",
				c.staged(), stored(&c.layout), qualified("t", stageColumns(&c.layout)), c.tail(), c.sets(), j.ofParent(c, "t", "m"), statement.SamePlace("t", "m"), strings.Join(pgname.QuoteAll(c.layout.Key), ", ")))
	}
	return statements
}
