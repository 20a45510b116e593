package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// plan finds out what is to be read, and whether it can be, and takes up or makes the stage.
func (j *job) plan(ctx context.Context) error {
	sk, err := j.open(ctx)
	if err != nil {
		return err
	}
	l := &j.layout
	switch {
	case l.Distributed:
		return &sink.ConfigError{Problem: fmt.Sprintf("Citus distributes table %s, and a stage and its cut are made for one server", j.result.Table), Fix: "stop the group and replay the topic, over the table or into an empty one: docs/citus.md"}
	case l.Parent != "":
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s holds children of %s, which come with their parent's event", j.result.Table, l.Parent), Fix: "name " + l.Parent + ": its children are compared, and corrected, with it"}
	case len(l.Key) == 0:
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s appends without a guard: nothing tells its rows apart", j.result.Table), Fix: "empty it and rewind the group"}
	case j.Range != nil && !slices.Contains(l.Columns, j.Range.Column):
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s has no column %q that events fill", j.result.Table, j.Range.Column), Fix: "it has " + strings.Join(l.Columns, ", ")}
	}
	if j.Range != nil {
		j.result.From, j.result.To = j.Range.From, j.Range.To
	}
	if err := j.checkRange(ctx); err != nil {
		return err
	}
	if err := j.readKeys(ctx); err != nil {
		return err
	}
	if err := j.readFeeds(ctx); err != nil {
		return err
	}
	if err := j.sameMapping(sk); err != nil {
		return err
	}
	if err := j.sameChildMapping(ctx); err != nil {
		return err
	}
	if err := j.refuse(ctx); err != nil {
		return err
	}
	if j.Swap {
		if err := j.refuseSwap(ctx); err != nil {
			return err
		}
	}
	return j.stage.open(ctx, j, sk)
}

// typeOf reads the type of a column of the table, as SQL has it.
func (j *job) typeOf(ctx context.Context, column string) (typ string, err error) {
	if err := j.scan(ctx, `select format_type(atttypid, atttypmod) from pg_attribute where attrelid = $1::text::regclass and attname = $2::text`,
		[]any{j.layout.Quoted(), column}, &typ); err != nil {
		return "", fmt.Errorf("read the type of %s: %w", column, err)
	}
	return typ, nil
}

// checkRange reads the range as PostgreSQL does.
func (j *job) checkRange(ctx context.Context) error {
	if j.Range == nil {
		return nil
	}
	var err error
	if j.rangeType, err = j.typeOf(ctx, j.Range.Column); err != nil {
		return err
	}
	var empty bool
	err = j.scan(ctx, fmt.Sprintf("select %s >= %s", j.bound(j.Range.From), j.bound(j.Range.To)), []any{pgx.QueryExecModeSimpleProtocol}, &empty)
	if pgerr.Classify(err) == pgerr.Data {
		return &sink.ConfigError{Problem: fmt.Sprintf("the range from %q to %q of column %s: %v", j.Range.From, j.Range.To, j.Range.Column, err), Fix: "give values of the column's type, such as 2026-11-24"}
	}
	if err != nil {
		return fmt.Errorf("check the range: %w", err)
	}
	if empty {
		return &sink.ConfigError{Problem: fmt.Sprintf("the range from %q to %q is empty", j.Range.From, j.Range.To), Fix: "the end is not in the range: give a later one"}
	}
	return nil
}

// sameMapping wants the group to write the table as this configuration does: what comes after the cut is the group's.
func (j *job) sameMapping(sk *engine.Sink) error {
	j.mapping = map[string]string{}
	j.mappings = sk.Mappings()
	for _, m := range j.mappings {
		if m.Target == j.result.Table {
			j.mapping[m.Topic] = m.Fingerprint
		}
	}
	for _, f := range j.feeds {
		if j.otherMapping(f) {
			return j.mappedOtherwise(j.result.Table, f.Topic)
		}
	}
	return nil
}

func (j *job) otherMapping(f feed) bool { return f.mapping != j.mapping[f.Topic] }

// mappedOtherwise refuses a table that the group writes by another mapping. A dry run shows the difference first; verify compares by the mapping at
// hand, whoever has it.
func (j *job) mappedOtherwise(table, topic string) error {
	err := &sink.ConfigError{Problem: fmt.Sprintf("group %s writes table %s by another mapping of topic %s than this configuration has", j.Consumer.Group, table, topic),
		Fix: "`oncesink mapping plan` says what differs, and how it becomes the group's; --dry-run shows the rows that differ"}
	switch {
	case j.Verify:
		return nil
	case j.DryRun:
		if j.denied == nil { // the first one, as without
			j.denied = err
		}
		return nil
	}
	return err
}

func (j *job) accepted(what string) bool { return slices.Contains(j.Accept, what) }

// fate is what would become of rows that no event brings back.
func (j *job) fate() string {
	if j.Verify {
		return "told as rows too many"
	}
	return "deleted"
}

// fix is how to go on in spite of something.
func (j *job) fix(what string) string {
	if j.Verify {
		return "compare all the same with --accept " + what
	}
	return "see what that means with --dry-run --accept " + what + ", and go on with --accept " + what
}

// refuse finds out what the topics still hold of the table's history (rule 22), and whether rows would go that none of them made.
func (j *job) refuse(ctx context.Context) error {
	if err := j.rights(ctx); err != nil {
		return err
	}
	if err := j.readHistory(ctx); err != nil {
		return err
	}
	if err := j.refuseUntold(); err != nil {
		return err
	}
	j.result.Foreign, j.older = 0, false
	if !j.layout.Guarded {
		return nil
	}
	var problems []error
	for i, table := range j.tables() {
		foreign, older, err := j.strangers(ctx, i, table)
		if err != nil {
			return err
		}
		j.result.Foreign += foreign
		j.older = j.older || older > 0
		if foreign > 0 && !j.Verify && !j.accepted(ForeignRows) { // they are what verify looks for
			problems = append(problems, &sink.ConfigError{Problem: fmt.Sprintf("%d row(s) of %s were made by no topic (%s is null): they would be deleted, or changed", foreign, j.targets()[i], tables.SourceColumn), Fix: j.fix(ForeignRows)})
		}
	}
	return errors.Join(problems...)
}

// tables are the quoted names of the table and of its children.
func (j *job) tables() []string {
	tables := []string{j.layout.Quoted()}
	for _, c := range j.children {
		tables = append(tables, c.layout.Quoted())
	}
	return tables
}

// rights finds out whether the role sees all rows, and may change them: a dry run refuses what the command itself would.
func (j *job) rights(ctx context.Context) error {
	all := j.tables()
	if j.layout.Memory != "" {
		all = append(all, j.layout.Memory)
	}
	for _, c := range j.children {
		all = append(all, c.layout.Sets)
	}
	for _, table := range all {
		var filtered bool
		var lacks []string
		if err := j.scan(ctx, `select row_security_active($1::text::regclass),
			array(select lower(x) from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) x where not has_table_privilege($1::text::regclass, x))`, []any{table}, &filtered, &lacks); err != nil {
			return fmt.Errorf("read the rights on %s: %w", table, err)
		}
		switch {
		case len(lacks) > 0 && !j.Verify:
			return &sink.ConfigError{Problem: fmt.Sprintf("the role lacks %s on table %s", strings.Join(lacks, ", "), table), Fix: "use the table's owner"}
		case filtered:
			return &sink.ConfigError{Problem: fmt.Sprintf("row level security hides rows of table %s from the role", table), Fix: "use its owner, or a role with bypassrls"}
		}
	}
	return nil
}

// strangers counts rows of a table of the family, in the range, that the present topics did not make.
func (j *job) strangers(ctx context.Context, i int, table string) (foreign, older int64, err error) {
	in := j.inRange("t")
	if in != "" && i > 0 {
		in = j.children[i-1].inRange(j, "t")
	}
	sources := make([]int32, len(j.feeds))
	for i, f := range j.feeds {
		sources[i] = f.source
	}
	err = j.scan(ctx, fmt.Sprintf("select count(*) filter (where t.%[1]s is null), count(*) filter (where t.%[1]s <> all ($1::int[])) from %[2]s t%[3]s",
		tables.SourceColumn, table, where(in)), []any{sources}, &foreign, &older)
	if err != nil {
		return 0, 0, fmt.Errorf("look for rows of other origin: %w", err)
	}
	return foreign, older, nil
}

func (j *job) progress(phase string, done, total int64) {
	if j.DryRun && phase == applying {
		phase = counting
	}
	if j.Progress != nil {
		j.Progress(Progress{phase, done, total})
	}
}
