package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// cutBudget is how long the stage may take to catch up while the group's positions are locked.
const cutBudget = 2 * time.Second

// errLater says that the cut could not be made at this moment, and cost nothing.
type errLater struct{ why string }

func (e *errLater) Error() string { return e.why }

// cut makes the one transaction that changes the table. It is tried again until the moment fits.
func (j *job) cut(ctx context.Context) error {
	sk, ledger, err := j.stage.prepare(ctx, j)
	if err != nil {
		return err
	}
	j.progress("applying", 0, 0)
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(3*time.Second), backoff.WithMaxElapsedTime(0))
	for {
		err := j.tryCut(ctx, sk, ledger)
		var later *errLater
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &later):
			j.log.Info("the cut has to wait", "because", later.why)
			j.progress("waiting: "+later.why, 0, 0)
		case transient(err):
			j.log.Warn("the cut is tried again", "because", err)
		default:
			return rights("apply the differences", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait.NextBackOff()):
		}
		// What has come meanwhile is read without a lock.
		if err := j.readFeeds(ctx); err != nil {
			return err
		}
		if err := j.read(ctx, sk, ledger, j.bounds()); err != nil {
			return err
		}
		if j.columns == nil && !j.Swap {
			if err := j.compare(ctx); err != nil {
				return err
			}
		}
	}
}

// transient reports whether the same may pass later: a lock, a deadlock.
func transient(err error) bool {
	code := sink.SQLState(err)
	return code == "55P03" || strings.HasPrefix(code, "40")
}

func (j *job) tryCut(ctx context.Context, sk *sink.Sink, ledger *offsets.Ledger) (err error) {
	tx, err := j.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// Should this process be stopped here, the server ends the transaction.
	if _, err := tx.Exec(ctx, "select set_config('lock_timeout', '2s', true), set_config('idle_in_transaction_session_timeout', '5s', true)"); err != nil {
		return err
	}
	frozen := time.Now()
	if err := j.freeze(ctx, tx); err != nil {
		return err
	}
	if err := j.catchUp(ctx, sk, ledger); err != nil {
		return err
	}
	if j.Swap && !j.DryRun {
		err = j.exchange(ctx, tx)
	} else {
		err = j.apply(ctx, tx)
	}
	if err != nil {
		return err
	}
	j.result.Bulk = j.stage.about.InBulk
	if err := j.settle(ctx, tx); err != nil {
		return err
	}
	if !j.DryRun {
		if err := tx.Commit(ctx); err != nil {
			return err
		}
	}
	j.result.Frozen = time.Since(frozen).Seconds()
	return nil
}

// freeze locks the group's positions in the order in which all writers do, and reads them: no
// transaction of the sink can write the table until the end of this one.
func (j *job) freeze(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		select o.topic, o.partition, o.next_offset from oncesink.offsets o
		 where o.sink_group = $1::text
		   and exists (select from oncesink.mappings m where m.sink_group = o.sink_group and m.topic = o.topic and m.partition = o.partition and m.target = $2::text)
		 order by o.topic, o.partition for update of o`, j.Consumer.Group, j.result.Table)
	if err != nil {
		return err
	}
	var f feed
	j.feeds = j.feeds[:0]
	_, err = pgx.ForEachRow(rows, []any{&f.Topic, &f.Partition.Partition, &f.next}, func() error {
		j.feeds = append(j.feeds, f)
		return nil
	})
	return err
}

// catchUp brings the stage to exactly where the group stands.
func (j *job) catchUp(ctx context.Context, sk *sink.Sink, ledger *offsets.Ledger) error {
	at, err := j.staged(ctx)
	if err != nil {
		return err
	}
	var behind int64
	for _, f := range j.feeds {
		if at[f.Partition] > f.next {
			return &errLater{fmt.Sprintf("the group stands at offset %d of %s, and the stage at %d: was it rewound?", f.next, f.Partition, at[f.Partition])}
		}
		behind += f.next - at[f.Partition]
	}
	switch {
	case behind == 0:
		return nil
	case behind > 4*nearby:
		return &errLater{fmt.Sprintf("the stage is %d records behind", behind)}
	}
	catching, cancel := context.WithTimeout(ctx, cutBudget)
	defer cancel()
	if err := j.read(catching, sk, ledger, j.bounds()); err != nil {
		if catching.Err() != nil && ctx.Err() == nil {
			return &errLater{fmt.Sprintf("the last %d records take longer than %v", behind, cutBudget)}
		}
		return err
	}
	return nil
}

// apply finds the rows that differ now and changes them in place: whoever reads meanwhile sees the
// table as it was.
func (j *job) apply(ctx context.Context, tx pgx.Tx) error {
	columns, err := j.seen(ctx)
	if err != nil {
		return err
	}
	if len(columns) != len(j.columns) {
		j.columns = nil // the last records filled a column that none had filled before: compare again
		return &errLater{"the events fill more columns than before"}
	}
	if !j.bare {
		if err := j.touched(ctx, tx); err != nil {
			return err
		}
	}
	if j.DryRun {
		return j.foretell(ctx, tx)
	}
	return j.change(ctx, tx)
}

// change makes rows of the table what they are in the stage.
func (j *job) change(ctx context.Context, tx pgx.Tx) error {
	s, l := &j.stage, &j.layout
	table, st := l.Quoted(), s.quoted()
	execute := func(n *int64, sql string) error {
		tag, err := tx.Exec(ctx, sql)
		*n = tag.RowsAffected()
		return err
	}
	if err := execute(&j.result.Deleted, fmt.Sprintf("delete from %s t%s", table,
		where(j.listed("t"), j.inRange("t"), fmt.Sprintf("not exists (select from %s s where %s)", st, j.sameKey("s", "t"))))); err != nil {
		return err
	}
	var sets []string
	for _, c := range j.columns {
		if !slices.Contains(l.Key, c) {
			q := pgx.Identifier{c}.Sanitize()
			sets = append(sets, q+" = s."+q)
		}
	}
	if len(sets) > 0 {
		if err := execute(&j.result.Changed, fmt.Sprintf("update %s t set %s\n  from %s s%s", table, strings.Join(sets, ", "), st,
			where(j.sameKey("t", "s"), j.listed("s"), j.unlike("t", "s"), j.inEitherRange("t", "s")))); err != nil {
			return err
		}
	}
	err := execute(&j.result.Added, fmt.Sprintf("insert into %s (%s) overriding system value\nselect %s from %s s%s",
		table, strings.Join(quoteAll(j.columns), ", "), qualified("s", j.columns), st,
		where(j.listed("s"), j.inRange("s"), fmt.Sprintf("not exists (select from %s t where %s)", table, j.sameKey("t", "s")))))
	if err != nil {
		return err
	}
	return j.remember(ctx, tx)
}

// listed is the condition that the key of a row is among those that may differ.
func (j *job) listed(alias string) string {
	if j.bare {
		return "" // all may
	}
	return fmt.Sprintf("(%s) in (select %s from %s)", qualified(alias, j.layout.Key), strings.Join(quoteAll(j.layout.Key), ", "), j.stage.differs)
}

// remember takes over what the stage remembers of deleted rows. Nothing lowers what the table's own
// memory holds (rule 13).
func (j *job) remember(ctx context.Context, tx pgx.Tx) error {
	l := &j.layout
	if l.Memory == "" {
		return nil
	}
	columns := slices.Clone(l.Key)
	if l.Version != "" {
		columns = append(columns, l.Version)
	}
	columns = append(columns, sink.SourceColumn, sink.OffsetColumn)
	var sets []string
	for _, c := range quoteAll(columns[len(l.Key):]) {
		sets = append(sets, fmt.Sprintf("%s = excluded.%s", c, c))
	}
	list := strings.Join(quoteAll(columns), ", ")
	place := func(row string) string {
		return fmt.Sprintf("(%[1]s.%[2]s >> 20, %[1]s.%[3]s, %[1]s.%[2]s)", row, sink.SourceColumn, sink.OffsetColumn)
	}
	_, err := tx.Exec(ctx, fmt.Sprintf("insert into %s as m (%s) select %s from %s s order by %s\n    on conflict (%s) do update set %s where %s > %s",
		l.Memory, list, list, j.stage.memory(), strings.Join(quoteAll(l.Key), ", "), strings.Join(quoteAll(l.Key), ", "), strings.Join(sets, ", "), place("excluded"), place("m")))
	return err
}

// touched adds the keys of what the stage took since the comparison.
func (j *job) touched(ctx context.Context, tx pgx.Tx) error {
	l := &j.layout
	if !l.Guarded {
		// Nothing says what came since: all keys are compared again, under the lock.
		return execAll(ctx, tx, "truncate "+j.stage.differs, fmt.Sprintf("insert into %s select %s\n  from %s t full join %s s on %s%s",
			j.stage.differs, j.eitherKey(), l.Quoted(), j.stage.quoted(), j.sameKey("t", "s"), where(j.differs("t", "s"), j.inEitherRange("t", "s"))))
	}
	var statements []string
	for _, t := range j.stage.places(l) {
		statements = append(statements, fmt.Sprintf("insert into %s select %s from %s where %s", j.stage.differs, strings.Join(quoteAll(l.Key), ", "), t, j.later))
	}
	return execAll(ctx, tx, statements...)
}

func execAll(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
