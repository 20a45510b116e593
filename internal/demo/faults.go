package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/offsets"
)

// transaction is an open transaction of a worker that stands still.
type transaction struct {
	pid int32  // of the PostgreSQL session
	xid string // the transaction's number
	at  string // when the session last did anything
}

// openSQL finds a transaction of a process that has written positions (it has a
// number) and has begun to write orders (it holds the lock of a writer), and whose
// session waits for its client: nothing is on its way in it, a COMMIT least of all.
const openSQL = `
select a.pid, a.backend_xid::text, a.state_change::text
  from pg_stat_activity a
 where a.application_name = 'oncesink ' || $1::text and a.datname = current_database()
   and a.state = 'idle in transaction' and a.backend_xid is not null
   and exists (select from pg_locks l where l.pid = a.pid and l.granted
                  and l.mode = 'RowExclusiveLock' and l.relation = 'orders'::regclass)
 order by a.backend_xid::text limit 1`

// freezeInside freezes a worker in the middle of a batch: inside a transaction that
// has written and not committed. It freezes it at random moments and looks, and
// wakes it where it missed.
func (d *demo) freezeInside(ctx context.Context, w *worker) (transaction, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second,
		fmt.Errorf("%s was never caught inside a transaction: the fault did not fire", w.name))
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return transaction{}, context.Cause(ctx)
		case <-time.After(time.Duration(d.rnd.IntN(30_000)) * time.Microsecond):
		}
		if err := w.freeze(); err != nil {
			return transaction{}, fmt.Errorf("freeze %s: %w", w.name, err)
		}
		tx, err := d.settled(ctx, w)
		if err == nil {
			return tx, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return transaction{}, errors.Join(fmt.Errorf("look for an open transaction: %w", err), w.wake())
		}
		if err := errors.Join(w.wake(), w.alive()); err != nil {
			return transaction{}, err
		}
	}
}

// settled returns an open transaction that a frozen worker has, and will keep: two
// looks, far enough apart for what was on the wire, find the same.
func (d *demo) settled(ctx context.Context, w *worker) (transaction, error) {
	first, err := d.openTransaction(ctx, w)
	if err != nil {
		return first, err
	}
	select {
	case <-ctx.Done():
		return first, context.Cause(ctx)
	case <-time.After(50 * time.Millisecond):
	}
	second, err := d.openTransaction(ctx, w)
	if err == nil && first != second {
		err = pgx.ErrNoRows
	}
	return second, err
}

func (d *demo) openTransaction(ctx context.Context, w *worker) (tx transaction, err error) {
	err = d.pool.QueryRow(ctx, openSQL, w.instance).Scan(&tx.pid, &tx.xid, &tx.at)
	return tx, err
}

// fate waits until a transaction has ended, and says how.
func (d *demo) fate(ctx context.Context, tx transaction) (status string, err error) {
	err = d.until(ctx, "transaction "+tx.xid+" has ended", 10*time.Second, func(look) (bool, error) {
		// The server is new: its transaction numbers have had no time to wrap around.
		err := d.pool.QueryRow(ctx, "select coalesce(pg_xact_status($1::text::xid8), 'unknown')", tx.xid).Scan(&status)
		return status != "in progress", err
	})
	return status, err
}

// crash kills a worker in the middle of a batch, and starts it again.
func (d *demo) crash(ctx context.Context, f *flow) error {
	w := d.workers[d.rnd.IntN(2)]
	d.crashed = w
	at := d.Orders/10 + d.rnd.Int64N(d.Orders*15/100)
	if err := d.applied(ctx, at); err != nil {
		return err
	}
	tx, err := d.freezeInside(ctx, w)
	if err != nil {
		return err
	}
	if err := w.kill(); err != nil {
		return fmt.Errorf("kill %s: %w", w.name, err)
	}
	began := time.Now()
	d.say("kill -9 %s, while its transaction %s has written rows and not committed", w.name, tx.xid)
	if err := w.start(ctx, d.Worker, d.config); err != nil {
		return err
	}
	status, err := d.fate(ctx, tx)
	if err != nil {
		return err
	}
	d.say("PostgreSQL: transaction %s %s; %s is started again", tx.xid, status, w.name)
	d.report.section("did the faults hit")
	d.report.add(w.name+", killed inside transaction "+tx.xid+", which was", "aborted", status)
	if err := d.shared(ctx); err != nil {
		return err
	}
	d.say("the group gave it partitions again after %s (session timeout %s)", seconds(time.Since(began)), sessionTimeout)
	f.open(0)
	return nil
}

// zombie freezes the other worker in the middle of a batch until it has lost its
// partitions, and wakes it.
func (d *demo) zombie(ctx context.Context, f *flow) error {
	w, heir := d.workers[0], d.workers[1]
	if d.crashed == w {
		w, heir = heir, w
	}
	if err := d.applied(ctx, d.Orders/2+d.rnd.Int64N(d.Orders/10)); err != nil {
		return err
	}
	tx, err := d.freezeInside(ctx, w)
	if err != nil {
		return err
	}
	began := time.Now()
	before, err := d.look(ctx)
	if err != nil {
		return err
	}
	held := before.owned(w.instance)
	d.say("freeze %s (SIGSTOP), while its transaction %s has written rows and not committed", w.name, tx.xid)
	d.note("it owns partitions %s, and its transaction keeps its locks", list(held))
	err = d.until(ctx, heir.name+" takes over", 45*time.Second, func(l look) (bool, error) {
		taken := l.owned(heir.instance)
		moved := false
		for p, was := range held {
			at, ok := taken[p]
			if !ok {
				return false, nil
			}
			moved = moved || at > was
		}
		return moved, nil
	})
	if err != nil {
		return err
	}
	status, err := d.fate(ctx, tx)
	if err != nil {
		return err
	}
	d.say("%s took over after %s, and ended the frozen transaction: %s", heir.name, seconds(time.Since(began)), status)
	refused, err := d.tryFence(ctx, before, w)
	if err != nil {
		return err
	}
	d.report.add(w.name+", frozen inside transaction "+tx.xid+", which was", "aborted", status)
	d.report.add("a write under the fence that "+w.name+" still holds", "refused", refused)
	return d.awake(ctx, f, w)
}

// tryFence does what the frozen worker would do if it got to it: it moves a position
// from exactly where it stands, under the fence from before the takeover.
func (d *demo) tryFence(ctx context.Context, before look, w *worker) (outcome string, err error) {
	at := slices.IndexFunc(before.rows, func(r offsets.Row) bool { return r.Instance == w.instance })
	if at < 0 {
		return "", fmt.Errorf("%s owned no partition when it was frozen", w.name)
	}
	row := before.rows[at]
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return "", fmt.Errorf("try an old fence: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // whatever it did, it must not count
	// With the row locked the position can't be what is wrong.
	claim := offsets.Claim{Partition: row.Partition, Fence: row.Fence}
	err = tx.QueryRow(ctx, `select next_offset from oncesink.offsets where sink_group = $1 and topic = $2 and partition = $3 for update`,
		group, row.Topic, row.Partition.Partition).Scan(&claim.Position.Next)
	if err != nil {
		return "", fmt.Errorf("try an old fence: %w", err)
	}
	err = d.ledger.Advance(ctx, tx, []offsets.Step{{Claim: claim, To: offsets.Position{Next: claim.Position.Next + 1, Epoch: -1}}})
	var fenced *offsets.FencedError
	switch {
	case err == nil:
		return "accepted", nil
	case errors.As(err, &fenced):
		return "refused", nil
	default:
		return "", fmt.Errorf("try an old fence: %w", err)
	}
}

// awake wakes a worker that lost its partitions, and waits until it has noticed.
func (d *demo) awake(ctx context.Context, f *flow, w *worker) error {
	from, err := w.logSize()
	if err != nil {
		return err
	}
	if err := w.wake(); err != nil {
		return fmt.Errorf("wake %s: %w", w.name, err)
	}
	d.say("wake %s (SIGCONT): it believes that it owns them still, and logs:", w.name)
	f.open(1)
	var lines []string
	fenced := false
	err = d.until(ctx, w.name+" learns that it was fenced", 20*time.Second, func(look) (_ bool, err error) {
		lines, err = w.logged(from)
		fenced = slices.ContainsFunc(lines, isFenced)
		return fenced, err
	})
	for _, line := range lines[:min(4, len(lines))] {
		d.note("%s", message(line))
	}
	found := "fenced"
	if !fenced { // a zombie that never noticed proves nothing
		found = "nothing happened"
		d.note("%v", err)
	}
	d.report.add(w.name+", woken after its partitions were taken over", "fenced", found)
	if err := d.shared(ctx); err != nil {
		return err
	}
	d.say("%s has joined the group anew and owns partitions again, by a new claim", w.name)
	return nil
}

// isFenced reports whether a line of a worker's log says that it lost a partition:
// to the ledger, or to the group.
func isFenced(line string) bool {
	return strings.Contains(line, `msg="lost the fence"`) || strings.Contains(line, `msg="group session lost`)
}

// What a person wants to see of a log line.
var (
	logged      = regexp.MustCompile(`level=(\w+) msg=("(?:[^"\\]|\\.)*"|\S+)`)
	loggedError = regexp.MustCompile(` error=("(?:[^"\\]|\\.)*"|\S+)`)
)

// message is what a line of a worker's log says, short enough for a screen.
func message(line string) string {
	if m := logged.FindStringSubmatch(line); m != nil {
		e := loggedError.FindStringSubmatch(line)
		line = m[1] + " " + unquote(m[2])
		if e != nil {
			line += ": " + unquote(e[1])
		}
	}
	const most = 88
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most-3], "") + "..."
	}
	return line
}

func unquote(s string) string {
	if plain, err := strconv.Unquote(s); err == nil {
		return plain
	}
	return s
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func list(partitions map[int32]int64) string {
	var names []string
	for _, p := range slices.Sorted(maps.Keys(partitions)) {
		names = append(names, fmt.Sprint(p))
	}
	return strings.Join(names, ", ")
}
