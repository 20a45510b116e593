package rebuild

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/sink"
)

// atHand is how many records are not worth a round without a lock.
const atHand = 500

// cutBudget is how long the stage may take to catch up while the group's positions are locked.
const cutBudget = 2 * time.Second

// errLater says that the cut could not be made at this moment, and cost nothing.
type errLater struct{ why string }

func (e *errLater) Error() string { return e.why }

// cut makes the one transaction that changes the table. It is tried again until the moment fits.
func (j *job) cut(ctx context.Context) error {
	j.progress(applying, 0, 0)
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(3*time.Second), backoff.WithMaxElapsedTime(0))
	for {
		if err := j.approach(ctx); err != nil {
			if outdated(err) {
				return &errAnew{err.Error()}
			}
			return err
		}
		if err := j.located(ctx); err != nil { // better without a lock
			return err
		}
		if j.columns == nil && (!j.Swap || j.DryRun) {
			if err := j.compare(ctx); err != nil {
				return err
			}
			j.progress(applying, 0, 0)
		}
		err := j.tryCut(ctx)
		var later *errLater
		var anew *errAnew
		var config *sink.ConfigError
		switch {
		case err == nil:
			return nil
		case OutcomeOf(err) != Unchanged:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &anew), errors.As(err, &config):
			return err
		case errors.As(err, &later):
			j.log.Info("the cut has to wait", "because", later.why)
			j.progress("waiting: "+later.why, 0, 0)
		case transient(err):
			j.log.Warn("the cut is tried again", "because", pgerr.Text(err))
		default:
			return rights("apply the differences", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// approach leaves little to the cut, without a lock: what has come since the last reading is read, until that is what comes in any one round, and
// compared. What comes during the first comparison takes a second, short one.
func (j *job) approach(ctx context.Context) error {
	for range 2 {
		if err := j.follow(ctx); err != nil {
			return err
		}
		if err := j.narrow(ctx); err != nil {
			return rights("compare", err)
		}
	}
	return j.follow(ctx)
}

// follow reads what has come, for as long as each round is clearly shorter than the one before.
func (j *job) follow(ctx context.Context) error {
	for last := int64(math.MaxInt64); ; {
		behind, err := j.behind(ctx)
		if err != nil {
			return err
		}
		if behind > 0 {
			if err := j.reached(ctx); err != nil {
				return err
			}
		}
		if !j.unmerged && (behind <= atHand || behind > last-last/4) {
			return nil
		}
		last = behind
		if err := j.advance(ctx); err != nil {
			return err
		}
	}
}

// transient reports whether the same may pass later: a lock, a deadlock.
func transient(err error) bool {
	code := pgerr.SQLState(err)
	return code == "55P03" || strings.HasPrefix(code, "40")
}

func (j *job) tryCut(ctx context.Context) error {
	settings := j.ofFew().With(
		mapping.Setting{Name: "lock_timeout", Value: "2s"},
		// Should this process be stopped here, the server ends the transaction.
		mapping.Setting{Name: "idle_in_transaction_session_timeout", Value: "5s"},
	)
	tx, err := j.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: settings.Begin()})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	frozen := time.Now()
	if err := j.freeze(ctx, tx); err != nil {
		return err
	}
	if err := j.catchUp(ctx, tx); err != nil {
		return err
	}
	if err := j.countMemory(ctx, tx); err != nil {
		return err
	}
	if err := j.countKept(ctx, tx); err != nil {
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
		if err := j.commit(ctx, tx); err != nil {
			return err
		}
	}
	j.result.Frozen = time.Since(frozen).Seconds()
	return nil
}

// freeze locks the group's positions in the order in which all writers do, and reads them: no
// transaction of the sink can write the table until the end of this one, and nobody can alter it. It makes sure that the table, its
// topics and their mapping are still those that the stage was made for.
func (j *job) freeze(ctx context.Context, tx pgx.Tx) error {
	if err := j.lock.Check(ctx); err != nil {
		return err
	}
	before := j.feeds
	if err := j.collectFeeds(ctx, tx, " for update of o"); err != nil {
		return err
	}
	mode := "row exclusive"
	switch {
	case j.DryRun:
		mode = "access share"
	case j.Swap:
		mode = "access exclusive"
	}
	tables := j.layout.Quoted()
	for _, c := range j.children {
		tables += ", " + c.layout.Quoted()
	}
	if err := pgtx.Exec(ctx, tx, fmt.Sprintf("lock table %s in %s mode", tables, mode)); err != nil {
		if pgerr.SQLState(err) == undefinedTable {
			return &errAnew{"the table is gone"}
		}
		return err
	}
	columns, err := j.allColumns(ctx, tx)
	switch {
	case err != nil:
		return err
	case !slices.Equal(columns, j.stage.about.Columns):
		return &errAnew{"the table was altered"}
	case len(j.feeds) == 0 && len(before) > 0:
		return &errAnew{"the group reads the table's topics no longer"}
	}
	for _, f := range j.feeds {
		if !j.DryRun && j.otherMapping(f) {
			return &errAnew{"the group's mapping of the table was changed"}
		}
	}
	// Who accepts another mapping of the children locks the positions as well.
	if err := j.sameChildMapping(ctx); err != nil {
		return err
	}
	return j.notBelow(ctx, tx)
}

const undefinedTable = "42P01"

// catchUp brings the stage to exactly where the group stands.
func (j *job) catchUp(ctx context.Context, tx pgx.Tx) error {
	if err := j.readStaged(ctx, tx); err != nil {
		return err
	}
	if f := j.otherTopic(); f != nil {
		return &errAnew{"the group follows another topic of the name " + f.Topic}
	}
	var behind int64
	for _, f := range j.feeds {
		at := j.staged[f.Partition].next
		if at > f.next {
			return &errLater{fmt.Sprintf("the group stands at offset %d of %s, and the stage at %d: was it rewound?", f.next, f.Partition, at)}
		}
		behind += f.next - at
	}
	if behind > 4*nearby {
		return &errLater{fmt.Sprintf("the stage is %d records behind", behind)}
	}
	if behind > 0 {
		catching, cancel := context.WithTimeout(ctx, cutBudget)
		defer cancel()
		if err := j.advance(catching); err != nil {
			if catching.Err() != nil && ctx.Err() == nil {
				return &errLater{fmt.Sprintf("the last %d records take longer than %v", behind, cutBudget)}
			}
			if outdated(err) {
				return &errAnew{err.Error()}
			}
			return err
		}
		if err := j.readStaged(ctx, tx); err != nil {
			return err
		}
	}
	for _, f := range j.feeds {
		// It may stand below the group where compaction, or an aborted transaction, has left no record between.
		at := j.staged[f.Partition]
		if at.next > f.next {
			return &errLater{fmt.Sprintf("the stage stands at offset %d of %s, and the group at %d", at.next, f.Partition, f.next)}
		}
	}
	return j.sameBeginning() // it may have begun after the log was asked for its beginning
}

// apply finds the rows that differ now and changes them in place: whoever reads meanwhile sees the
// table as it was.
func (j *job) apply(ctx context.Context, tx pgx.Tx) error {
	columns, err := j.filled(ctx)
	if err != nil {
		return err
	}
	same, err := j.fillChildren(ctx)
	if err != nil {
		return err
	}
	if len(columns) != len(j.columns) || !same {
		j.columns = nil // the last records filled a column that none had filled before: compare again
		return &errLater{"the events fill more columns than before"}
	}
	if !j.bare {
		if err := j.touched(ctx, tx); err != nil {
			return err
		}
	}
	if err := j.strayChildren(ctx, tx); err != nil {
		return err
	}
	if j.DryRun {
		if err := j.foretell(ctx, tx); err != nil {
			return err
		}
		return j.countChildren(ctx, tx)
	}
	if err := j.dropChildren(ctx, tx); err != nil {
		return err
	}
	if err := j.change(ctx, tx); err != nil {
		return err
	}
	if err := j.changeChildren(ctx, tx); err != nil {
		return err
	}
	return j.remember(ctx, tx)
}

// change makes rows of the table what they are in the stage.
func (j *job) change(ctx context.Context, tx pgx.Tx) error {
	s, l := &j.stage, &j.layout
	table, st := l.Quoted(), s.quoted()
	vacant, err := j.vacant(ctx, tx, table)
	if err != nil {
		return err
	}
	execute := func(n *int64, sql string) error {
		tag, err := tx.Exec(ctx, sql)
		*n = tag.RowsAffected()
		return err
	}
	filling := fmt.Sprintf("insert into %s (%s) overriding system value\nselect %s from %s s", table, strings.Join(pgname.QuoteAll(j.columns), ", "), qualified("s", j.columns), st)
	if vacant {
		j.result.Deleted, j.result.Changed = 0, 0
		return execute(&j.result.Added, filling+where(j.inRange("s")))
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
	return execute(&j.result.Added, filling+where(j.listed("s"), j.inRange("s"), fmt.Sprintf("not exists (select from %s t where %s)", table, j.sameKey("t", "s"))))
}

// vacant reports whether a table that had no row has none yet: it is just filled then.
func (j *job) vacant(ctx context.Context, tx pgx.Tx, table string) (vacant bool, err error) {
	if !j.bare {
		return false, nil
	}
	return vacant, tx.QueryRow(ctx, "select not exists (select from "+table+")").Scan(&vacant)
}

// listed is the condition that the key of a row is among those that may differ.
func (j *job) listed(alias string) string {
	if j.bare {
		return "" // all may
	}
	return fmt.Sprintf("(%s) in (select %s from %s)", qualified(alias, j.layout.Key), strings.Join(pgname.QuoteAll(j.layout.Key), ", "), j.stage.differs)
}

// touched adds the keys of what the stage took since the comparison.
func (j *job) touched(ctx context.Context, tx pgx.Tx) error {
	l := &j.layout
	if !l.Guarded {
		// Nothing says what came since: all keys are compared again, under the lock.
		return pgtx.Exec(ctx, tx, "truncate "+j.stage.differs, fmt.Sprintf("insert into %s select %s\n  from %s t full join %s s on %s%s",
			j.stage.differs, j.eitherKey(), l.Quoted(), j.stage.quoted(), j.sameKey("t", "s"), where(j.differs("t", "s"), j.inEitherRange("t", "s"))))
	}
	var statements []string
	if list := j.listMemory(); list != "" {
		statements = append(statements, list)
	}
	statements = append(statements, j.listLater()...)
	if narrow := j.ofRange(); narrow != "" {
		statements = append(statements, narrow)
	}
	return pgtx.Exec(ctx, tx, statements...)
}
