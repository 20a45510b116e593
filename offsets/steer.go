package offsets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Action is what an operator has partitions do: the function of this name in the schema oncesink, which is there for psql.
type Action string

// The actions.
const (
	Pause             Action = "pause"               // stops partitions until they are resumed
	Resume            Action = "resume"              // lets paused or halted partitions go on from where they stand
	RewindTo          Action = "rewind"              // sends partitions back to Order.To, never forward
	AcceptGap         Action = "accept_gap"          // goes on at Order.To, never back; what lies before it is not read
	AcceptDeadLetters Action = "accept_dead_letters" // lets records below Order.To become dead letters, however many
	Adopt             Action = "adopt"               // goes on with the new topic of the name, Order.TopicID, from its beginning
)

// Order is an action on a topic.
type Order struct {
	Action Action
	Topic  string
	// Partition is one of the topic; nil: all of them. Accept_gap and accept_dead_letters need one, and adopt takes none.
	Partition *int32
	To        int64
	TopicID   Token
}

// Change is a ledger row as it was under the lock, and as an order left it.
type Change struct{ Before, After Row }

// RefusedError says why the ledger refuses an order: it names what is not there, or what may not be done. Nothing was changed.
type RefusedError struct {
	Problem string
	// Hint is a statement that may be meant instead, for psql; empty if there is none.
	Hint string
}

func (e *RefusedError) Error() string {
	if e.Hint == "" {
		return e.Problem
	}
	return e.Problem + ". " + e.Hint
}

// errTried ends the transaction of orders that were only tried.
var errTried = errors.New("tried")

// Steer carries out orders in one transaction: all of them or none, each by the SQL function of its action. The rows are
// locked in the lock order, for as long as a command waits. With try it is rolled back in the end: what is returned would
// have been done. The answer has the rows that the orders name, by topic and partition. The error is a *RefusedError
// where the order can't be meant.
func (l *Ledger) Steer(ctx context.Context, try bool, orders ...Order) ([]Change, error) {
	var out []Change
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '3s'`); err != nil {
			return err
		}
		all, err := l.readRows(ctx, tx, rowsQuery, nil)
		if err != nil {
			return err
		}
		var named []Partition
		for _, r := range all {
			if slices.ContainsFunc(orders, func(o Order) bool { return o.names(r.Partition) }) {
				named = append(named, r.Partition)
			}
		}
		if len(named) > 0 {
			if all, err = l.readRows(ctx, tx, rowsQuery+" for update", named); err != nil {
				return err
			}
		}
		for _, o := range orders {
			if err := l.order(ctx, tx, o, try); err != nil {
				return err
			}
		}
		after, err := l.readRows(ctx, tx, rowsQuery, named)
		if err != nil {
			return err
		}
		for i, r := range all {
			if i < len(after) && after[i].Partition == r.Partition {
				out = append(out, Change{r, after[i]})
			}
		}
		if try {
			return errTried
		}
		return nil
	})
	switch state := sqlState(err); {
	case errors.Is(err, errTried):
		return out, nil
	case state == stateLockTimeout:
		return nil, fmt.Errorf("a row of group %s is locked by another session: try again", l.group)
	case state == "P0002" || state == "22023" || state == "55000": // not found, a parameter, a state: raised by the functions
		var pg *pgconn.PgError
		errors.As(err, &pg)
		e := &RefusedError{Problem: strings.TrimPrefix(pg.Message, "oncesink: ")}
		if state == "22023" {
			e.Hint = pg.Hint
		}
		return nil, e
	case err != nil:
		return nil, missingLedger(err)
	}
	return out, nil
}

func (o *Order) names(p Partition) bool {
	return o.Topic == p.Topic && (o.Partition == nil || *o.Partition == p.Partition)
}

func (l *Ledger) order(ctx context.Context, tx pgx.Tx, o Order, try bool) error {
	var err error
	switch o.Action {
	case Pause, Resume:
		_, err = tx.Exec(ctx, `select oncesink.`+string(o.Action)+`($1::text, $2::text, $3::int)`, l.group, o.Topic, o.Partition)
	case RewindTo, AcceptGap, AcceptDeadLetters:
		_, err = tx.Exec(ctx, `select oncesink.`+string(o.Action)+`($1::text, $2::text, $3::int, $4::bigint)`, l.group, o.Topic, o.Partition, o.To)
	case Adopt:
		if try { // the numbers of sources that a try would draw don't come back
			_, err = tx.Exec(ctx, `select oncesink.lock_rows($1::text, $2::text, null)`, l.group, o.Topic)
			break
		}
		_, err = tx.Exec(ctx, `select oncesink.adopt($1::text, $2::text, $3::text::uuid)`, l.group, o.Topic, uuid(o.TopicID))
	default:
		err = fmt.Errorf("there is no action %q", o.Action)
	}
	return err
}
