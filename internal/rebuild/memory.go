package rebuild

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// The delete memory is a state like the table's rows: which event of a key comes next in depends on both (rule
// 13). With the stage at exactly the group's positions its memory is what building the table from zero would have left;
// so the cut makes the table's say the same, also where that is lower. Live, nothing lowers it: there
// a later version may be another partition's.

// memoryColumns are the memory's key columns, and the others.
func (j *job) memoryColumns() (key, state []string) {
	if j.layout.Version != "" {
		state = append(state, j.layout.Version)
	}
	if j.layout.VersionedDeletes {
		state = append(state, tables.VersionedColumn)
	}
	return j.layout.Key, append(state, tables.SourceColumn, tables.OffsetColumn)
}

// setColumns are memoryColumns of a set memory: whose set it is no deletion says.
func (j *job) setColumns() (key, state []string) {
	key, state = j.memoryColumns()
	return key, slices.DeleteFunc(state, func(c string) bool { return c == tables.VersionedColumn })
}

// compareMemory is the beginning of each statement over both memories: m is the table's row, s the stage's.
func (j *job) compareMemory() (from, gone, missing, unlike string) {
	return j.compareMemories(j.layout.Memory, j.stage.memory())
}

// compareMemories is compareMemory for any two tables that remember events by the table's key.
func (j *job) compareMemories(memory, stage string) (from, gone, missing, unlike string) {
	key, state := j.memoryColumns()
	if memory != j.layout.Memory {
		key, state = j.setColumns()
	}
	var same, differ []string
	for _, c := range pgname.QuoteAll(key) {
		same = append(same, fmt.Sprintf("m.%s = s.%s", c, c))
	}
	for _, c := range pgname.QuoteAll(state) {
		differ = append(differ, fmt.Sprintf("m.%s is distinct from s.%s", c, c))
	}
	first := pgname.QuoteAll(key)[0]
	from = fmt.Sprintf("%s m full join %s s on %s", memory, stage, strings.Join(same, " and "))
	return from, "s." + first + " is null", "m." + first + " is null", "(" + strings.Join(differ, " or ") + ")"
}

// kept is the condition that a row m of the memory stays, whatever the stage's row says.
func (j *job) kept(stage string) string {
	return fmt.Sprintf("(not %s and ((%s) > (%s)) is not true)", j.proven("m"), statement.Place(stage, false), statement.Place("m", false))
}

// listMemory adds the keys whose deletions differ to those of rows that differ: the next event of such a key may
// become a row in the table and none in the stage, where it leaves no trace. Empty without a memory.
func (j *job) listMemory() string {
	if j.layout.Memory == "" {
		return ""
	}
	from, _, _, unlike := j.compareMemory()
	var keys []string
	for _, c := range pgname.QuoteAll(j.layout.Key) {
		keys = append(keys, fmt.Sprintf("coalesce(m.%[1]s, s.%[1]s)", c))
	}
	return fmt.Sprintf("insert into %s select %s from %s where %s", j.stage.differs, strings.Join(keys, ", "), from, unlike)
}

// countMemory counts the rows of the memory that are not what the stage says.
func (j *job) countMemory(ctx context.Context, tx pgx.Tx) error {
	if j.layout.Memory == "" {
		return nil
	}
	from, gone, missing, unlike := j.compareMemory()
	unproven := fmt.Sprintf("(not %s and (%s or %s and %s))", missing, j.kept("s"), gone, j.from("m", j.isCompacted))
	m := &Memory{}
	j.result.Memory = m
	return tx.QueryRow(ctx, fmt.Sprintf(`select count(*) filter (where not %[1]s and not %[2]s and not %[3]s),
		count(*) filter (where %[2]s), count(*) filter (where %[1]s and not %[3]s), count(*) filter (where %[3]s) + (select count(*) from %[6]s s where %[7]s)
		  from %[4]s where %[5]s`, gone, missing, unproven, from, unlike, j.stage.memory(), j.unproven("s"))).Scan(&m.Differ, &m.Missing, &m.Stray, &m.Unproven)
}

// remember makes the table's memory what the stage's says, except for what the topics can't prove.
func (j *job) remember(ctx context.Context, tx pgx.Tx) error {
	if j.layout.Memory == "" {
		return nil
	}
	_, err := j.rememberAs(ctx, tx, j.layout.Memory, j.stage.memory(), false)
	return err
}

// rememberAs is remember for any two tables that remember events by the table's key; listed: of keys on the list alone. It says how
// many rows it wrote.
func (j *job) rememberAs(ctx context.Context, tx pgx.Tx, memory, stage string, listed bool) (wrote int64, err error) {
	var ofTable, ofStage string
	if listed {
		ofTable, ofStage = j.listed("m"), j.listed("s")
	}
	key, state := j.memoryColumns()
	if memory != j.layout.Memory {
		key, state = j.setColumns()
	}
	var same, alike, sets []string
	for _, c := range pgname.QuoteAll(key) {
		same = append(same, fmt.Sprintf("m.%s = s.%s", c, c))
	}
	for _, c := range pgname.QuoteAll(state) {
		alike = append(alike, fmt.Sprintf("m.%s is not distinct from s.%s", c, c))
		sets = append(sets, fmt.Sprintf("%s = excluded.%s", c, c))
	}
	if j.layout.VersionedDeletes && memory == j.layout.Memory { // of rows that are gone since, which of them is known depends on batches: no difference by itself
		for _, c := range []string{tables.OutlivedSourceColumn, tables.OutlivedOffsetColumn} {
			state, sets = append(state, c), append(sets, fmt.Sprintf("%s = excluded.%s", c, c))
		}
	}
	names := strings.Join(pgname.QuoteAll(slices.Concat(key, state)), ", ")
	keys := strings.Join(pgname.QuoteAll(key), ", ")
	for _, sql := range []string{
		fmt.Sprintf("delete from %s m%s", memory, where(ofTable, j.proven("m"), fmt.Sprintf("not exists (select from %s s where %s)", stage, strings.Join(same, " and ")))),
		fmt.Sprintf("insert into %s as m (%s) select %s from %s s%s\n    on conflict (%s) do update set %s where not %s", memory, names, names, stage,
			where(ofStage, fmt.Sprintf("not exists (select from %s m where %s)", memory, strings.Join(append(same, alike...), " and "))), keys, strings.Join(sets, ", "), j.kept("excluded")),
	} {
		var n int64
		if err := affected(ctx, tx, &n, sql); err != nil {
			return wrote, err
		}
		wrote += n
	}
	return wrote, nil
}
