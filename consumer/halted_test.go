package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// reread is how often a process has seen the ledger change.
func (p *process) reread() int { return strings.Count(p.log.String(), "the ledger was changed") }

// halts is how often a partition of the process has halted.
func (p *process) halts() int { return strings.Count(p.log.String(), "partition halted") }

// strangers gives the partitions rows of another topic than the one that is there, which nobody has claimed.
func (r *rig) strangers(partitions int32) {
	r.t.Helper()
	for p := range partitions {
		r.exec(`select oncesink.first_positions($1, 'test', array[$2::text], array[$3::int], array[gen_random_uuid()], array[0::bigint], array[-1])`, group, r.topic, p)
	}
}

// Rule 8: a partition that halts before this process ever claimed it says so where people look, and
// looks again when its row changes: once, not over and over, while what it halted for still holds.
func TestHaltedBeforeTheFirstClaim(t *testing.T) {
	for _, command := range []string{
		`select oncesink.pause('orders-sink', 'orders')`,
		`select oncesink.resume('orders-sink', 'orders', 0)`,
		`select oncesink.rewind('orders-sink', 'orders', null, 0)`,
		`select oncesink.accept_gap('orders-sink', 'orders', 0, 3)`,
		`update oncesink.offsets set topic_id = gen_random_uuid()`,
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
			r.produce(0, 0, 10)
			r.strangers(1)
			p := r.start()
			if why := r.halted(0); !strings.Contains(why, "was recreated") {
				t.Fatalf("halted: %s", why)
			}
			r.exec(command)
			eventually(t, "the row is looked at again", func() bool { return p.reread() == 1 && p.halts() == 2 })
			r.exec(`select oncesink.resume('orders-sink', 'orders')`)
			eventually(t, "the row is looked at again", func() bool { return p.reread() == 2 && p.halts() == 3 })
			r.exec(`select oncesink.adopt('orders-sink', 'orders', $1)`, r.topicID())
			r.waitApplied(10)
			r.verify(map[int32]int64{0: 10})
			if p.reread() != 3 || p.halts() != 3 {
				t.Errorf("the row was read again %d times after 3 changes, and the partition halted %d times", p.reread(), p.halts())
			}
			if got := r.queryInt(`select count(*) from oncesink.status where halted is null`); got != 1 {
				t.Error("the status still shows the halt")
			}
		})
	}
}

// Rule 7, rule 8: a row that is gone when its partition is assigned halts it, and is read on from when it is put back.
func TestMissingAtReassignment(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.produce(1, 100, 10)
	first := r.start()
	r.waitApplied(20)
	second := r.start()
	owned := func(p *process) string {
		return fmt.Sprintf(`select count(*) from oncesink.offsets where instance = '%s'`, p.ledger.Instance())
	}
	eventually(t, "the second member has a partition", func() bool { return r.queryInt(owned(second)) == 1 })
	r.exec(`create table backup as select * from oncesink.offsets where instance = $1`, second.ledger.Instance())
	r.exec(`delete from oncesink.offsets where instance = $1`, second.ledger.Instance())
	r.must(second.end(t))
	eventually(t, "the partition halts in the first member", func() bool {
		return strings.Contains(first.log.String(), "partition halted") && strings.Contains(first.log.String(), "has no row")
	})
	r.exec(`insert into oncesink.offsets select * from backup`)
	r.produce(0, 10, 10)
	r.produce(1, 110, 10)
	r.waitApplied(40)
	r.verify(map[int32]int64{0: 20, 1: 20})
	if n := first.reread(); n != 1 {
		t.Errorf("the row was read again %d times", n)
	}
}

// Rule 7, rule 8: a row that vanished and is there again, unchanged, is a change, whatever noticed that it was gone.
func TestPutBackUnchanged(t *testing.T) {
	for _, quiet := range []bool{true, false} {
		t.Run(fmt.Sprintf("quiet %t", quiet), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
			r.produce(0, 0, 10)
			p := r.start()
			r.waitApplied(10)
			r.exec(`create table backup as select * from oncesink.offsets`)
			r.exec(`delete from oncesink.offsets`)
			if !quiet {
				r.produce(0, 10, 10)
			}
			eventually(t, "the partition halts", func() bool { return p.halts() == 1 })
			if !strings.Contains(p.log.String(), "Put it back from a backup") {
				t.Error("the log does not say what to do")
			}
			r.exec(`insert into oncesink.offsets select * from backup`)
			if quiet {
				r.produce(0, 10, 10)
			}
			r.waitApplied(20)
			r.verify(map[int32]int64{0: 20})
			if p.halts() != 1 {
				t.Errorf("halted %d times", p.halts())
			}
		})
	}
}

// Rule 8: a partition that halted in the middle is read on by resume, and says why it halted once.
func TestResumeAfterAHalt(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	broken := make(chan struct{})
	r.start(func(_ *Config, s *sink.Config) {
		s.Handlers = []sink.Handler{func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
			select {
			case <-broken:
				return witness(ctx, tx, records)
			default:
				return errors.New("the printer is on fire")
			}
		}}
	})
	why := r.halted(0)
	if !strings.Contains(why, "the printer is on fire") || strings.Contains(why, "halted") {
		t.Errorf("halted: %s", why)
	}
	close(broken)
	r.exec(`select oncesink.resume($1, $2)`, group, r.topic)
	r.waitApplied(10)
	r.verify(map[int32]int64{0: 10})
}

// Rule 8: what a halted lane makes of its row, look after look.
func TestSightOfTheRow(t *testing.T) {
	claim := offsets.Claim{Partition: offsets.Partition{Topic: "orders"}, ID: offsets.NewToken(), Fence: offsets.NewToken(), Position: offsets.Position{Next: 10}, TopicID: offsets.NewToken()}
	row := func(change func(*offsets.Row)) *offsets.Row {
		r := offsets.Row{Partition: claim.Partition, ClaimID: claim.ID, Fence: claim.Fence, Position: claim.Position, TopicID: claim.TopicID, ClusterID: "one"}
		change(&r)
		return &r
	}
	same := func(*offsets.Row) {}
	fence := func(r *offsets.Row) { r.Fence = offsets.Token{1} }
	moved := func(r *offsets.Row) { r.Position.Next = 4 }
	other := func(r *offsets.Row) { r.ClaimID = offsets.Token{2} }
	otherMoved := func(r *offsets.Row) { other(r); moved(r) }
	topic := func(r *offsets.Row) { r.TopicID = offsets.Token{3} }
	cluster := func(r *offsets.Row) { r.ClusterID = "two" }
	noted := func(r *offsets.Row) { r.Halted = "a gap" }
	gone := (*offsets.Row)(nil)
	gap, missing := &GapError{}, fmt.Errorf("orders/0: %w", offsets.ErrNoPosition)
	recreated := &offsets.TopicChangedError{Was: claim.TopicID}
	moving := &offsets.ClusterChangedError{Was: "one"}
	for i, test := range []struct {
		cause   error
		claimed bool
		looks   []*offsets.Row // all but the last are no change; the first one is by the claim, if that was refused
		changed bool           // is the last
	}{
		{gap, true, []*offsets.Row{row(same), row(noted), row(same)}, false},
		{gap, true, []*offsets.Row{row(fence)}, true},
		{gap, true, []*offsets.Row{row(moved)}, true},
		{gap, true, []*offsets.Row{row(same), row(fence)}, true},
		{gap, true, []*offsets.Row{row(same), row(moved)}, true},
		{gap, true, []*offsets.Row{row(same), row(other)}, true},
		{gap, true, []*offsets.Row{row(same), gone, gone}, false},
		{gap, true, []*offsets.Row{row(same), gone, row(same)}, true},
		{gap, true, []*offsets.Row{gone, row(same)}, true},
		{missing, true, []*offsets.Row{gone, row(same)}, true},
		{missing, true, []*offsets.Row{gone, gone}, false},
		{missing, false, []*offsets.Row{gone, row(same)}, true},
		{recreated, false, []*offsets.Row{row(same), row(noted)}, false},
		{recreated, false, []*offsets.Row{row(same), row(topic)}, true},
		{recreated, false, []*offsets.Row{row(same), row(fence)}, true},
		{recreated, false, []*offsets.Row{row(same), row(cluster)}, true},
		{recreated, false, []*offsets.Row{gone, row(same)}, true},
		{recreated, true, []*offsets.Row{row(other), row(otherMoved)}, false}, // its owner's business
		{moving, false, []*offsets.Row{row(same), row(moved)}, false},
		{moving, false, []*offsets.Row{row(same), row(cluster)}, true},
		{errors.New("the ledger is newer"), false, []*offsets.Row{row(same), row(same)}, false},
		{errors.New("the ledger is newer"), false, []*offsets.Row{row(same), row(fence)}, true},
	} {
		l := newLane(claim.Partition)
		if test.claimed {
			l.start(claim)
		}
		if test.cause == gap {
			l.leave(halted, test.cause)
		} else {
			l.leaveAt(halted, test.cause, sight{known: true, row: test.looks[0]})
		}
		for n, look := range test.looks {
			v := l.view()
			if got, want := v.changed(look), test.changed && n == len(test.looks)-1; got != want {
				t.Errorf("%d, look %d: changed %t, want %t", i, n, got, want)
			}
			l.see(v, look)
		}
	}
}

// A process that stops because of a halt, or while it halts, has told of it before it ends.
func TestHaltIsNotedAtTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.strangers(1)
	m := still(t, nil)
	m.work, m.endWork = context.WithCancel(t.Context())
	m.life = t.Context()
	m.ledger = offsets.New(r.pool, group, offsets.Options{ClusterID: "test"})
	l := m.runAt(0, 10)
	l.claim.ID = offsets.Token{} // the row's, which nobody has claimed
	tx, err := r.pool.Begin(t.Context())
	r.must(err)
	_, err = tx.Exec(t.Context(), `select from oncesink.offsets for update`)
	r.must(err)
	m.halt(l, &GapError{Partition: l.Partition, From: 10, To: 20})
	waits := func() bool {
		return r.queryInt(`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query ~ 'oncesink.halt'`) == 1
	}
	eventually(t, "the note waits for the row", waits)
	l.leave(closed, nil)
	m.endWork()
	r.must(tx.Rollback(t.Context()))
	if why := r.halted(0); !strings.Contains(why, "offsets 10 to 19") {
		t.Errorf("halted: %s", why)
	}
	// Nothing was noted yet when all work ended.
	r.exec(`update oncesink.offsets set halted = null`)
	l = m.runAt(0, 10)
	l.claim.ID = offsets.Token{}
	m.halt(l, &GapError{Partition: l.Partition, From: 10, To: 30})
	if why := r.halted(0); !strings.Contains(why, "offsets 10 to 29") {
		t.Errorf("halted: %s", why)
	}
}
