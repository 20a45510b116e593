package offsets_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/offsets"
)

// stop makes a session stop in an open transaction, as a process does that gets
// SIGSTOP: the server waits for it.
var stops = map[string]func(r *rig, conn *pgx.Conn){
	"between statements": func(*rig, *pgx.Conn) {},
	"in COPY FROM STDIN": func(r *rig, conn *pgx.Conn) {
		silent, stopped := io.Pipe()
		done := make(chan struct{})
		r.Cleanup(func() { stopped.Close(); <-done })
		go func() {
			defer close(done)
			conn.PgConn().CopyFrom(context.Background(), silent, "copy target from stdin")
		}()
	},
	"in a pipeline without its sync": func(r *rig, conn *pgx.Conn) {
		p := conn.PgConn().StartPipeline(r.Context())
		p.SendQueryParams("insert into target values (2)", nil, nil, nil, nil)
		r.must(p.Flush())
	},
}

// stopped begins a transaction that advances the steps, and stops as told.
func (p *process) stopped(how string, steps ...offsets.Step) uint32 {
	p.rig.Helper()
	conn, _ := p.holding(steps...)
	stops[how](p.rig, conn)
	pid := conn.PgConn().PID()
	state := "active"
	if how == "between statements" {
		state = "idle in transaction"
	}
	p.rig.until(`select exists (select from pg_stat_activity where pid = $1 and state = $2 and wait_event = 'ClientRead')`, int64(pid), state)
	return pid
}

// Rules 1 and 5: wherever a process stopped inside its transaction, the next
// owner has the partition within 5 s, and nothing of the stopped one is there.
func TestRule1StoppedOwnerIsEnded(t *testing.T) {
	for how := range stops {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			zombie, owner := r.process(), r.process()
			old := zombie.claim(2)
			pid := zombie.stopped(how, step(old[0], 1), step(old[1], 1))
			start := time.Now()
			claimed, err := owner.Claim(t.Context(), r.wants(partitions(3)...))
			took := time.Since(start)
			r.must(err)
			t.Logf("claimed after %v; waited for %s", took, claimed[0].WaitedFor)
			for i, c := range claimed {
				r.must(c.Err)
				if c.Position.Next != 0 {
					t.Errorf("%s at %d", c.Partition, c.Position.Next)
				}
				waited := strings.Contains(c.WaitedFor, fmt.Sprintf("session %d ", pid))
				if waited != (i < 2) {
					t.Errorf("%s waited for %q", c.Partition, c.WaitedFor)
				}
			}
			if took < 3*time.Second || took > 8*time.Second {
				t.Errorf("took %v", took)
			}
			r.gone(pid)
			r.stands(0, 0)
			r.must(owner.advance(step(claimed[0].Claim, 1)))
			r.stands(1, 1)
		})
	}
}

// Rules 1 and 5: only sessions of this program are ended, by name and role. A
// claim that isn't won answers with the last committed position, and the
// others are won before it waits.
func TestRule5HeldByAnother(t *testing.T) {
	r := newRig(t)
	r.exec(`do $$ begin create role stranger login; exception when duplicate_object or unique_violation then null; end $$`)
	r.exec(`grant usage on schema oncesink to stranger; grant select, update on oncesink.offsets to stranger`)
	for name, connect := range map[string]func() *pgx.Conn{
		"psql": func() *pgx.Conn { return r.connect("psql") },
		"our name, another role": func() *pgx.Conn {
			cfg, err := pgx.ParseConfig(r.url)
			r.must(err)
			cfg.User = "stranger"
			cfg.RuntimeParams["application_name"] = "oncesink 00000000"
			conn, err := pgx.ConnectConfig(t.Context(), cfg)
			r.must(err)
			return conn
		},
	} {
		r.exec(`delete from oncesink.offsets`)
		owner := r.process()
		owner.SetPatience(300*time.Millisecond, 900*time.Millisecond)
		r.must(owner.advance(step(owner.claim(3)[1], 7)))
		conn := connect()
		tx, err := conn.Begin(t.Context())
		r.must(err)
		_, err = tx.Exec(t.Context(), `update oncesink.offsets set next_offset = 100 where partition = 1`)
		r.must(err)

		next := r.process()
		next.SetPatience(300*time.Millisecond, 900*time.Millisecond)
		answered := make(chan []offsets.Claimed)
		go func() {
			claimed, err := next.Claim(context.Background(), r.wants(partitions(3)...))
			if err != nil {
				t.Error(err)
			}
			answered <- claimed
		}()
		r.until(`select count(*) = 2 from oncesink.offsets where instance = $1`, next.Instance())
		select {
		case <-answered:
			t.Fatalf("%s: answered before the wait", name)
		default:
		}
		claimed := <-answered
		var held *offsets.HeldError
		if !errors.As(claimed[1].Err, &held) || !strings.Contains(held.Holder, conn.Config().RuntimeParams["application_name"]) ||
			!strings.Contains(held.Holder, "idle in transaction") && name == "psql" {
			t.Errorf("%s: got %v, want a HeldError that names the session", name, claimed[1].Err)
		}
		if claimed[1].Position.Next != 7 || !claimed[1].Fence.IsZero() {
			t.Errorf("%s: held at %+v", name, claimed[1].Claim)
		}
		if claimed[0].Err != nil || claimed[2].Err != nil {
			t.Errorf("%s: the others: %v, %v", name, claimed[0].Err, claimed[2].Err)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Errorf("%s: the holder was ended: %v", name, err)
		}
		r.must(conn.Close(t.Context()))
		claimed, err = next.Claim(t.Context(), r.wants(partitions(3)[1]))
		r.must(err)
		r.must(claimed[0].Err)
		if claimed[0].Position.Next != 100 {
			t.Errorf("%s: then claimed at %d, want 100", name, claimed[0].Position.Next)
		}
	}
}

// A healthy owner that is about to commit is waited for, and what the claim reads
// is final.
func TestClaimWaitsForTheOwnersCommit(t *testing.T) {
	r := newRig(t)
	old, next := r.process(), r.process()
	conn, tx := old.holding(step(old.claim(2)[0], 7))
	answered := make(chan []offsets.Claimed)
	go func() {
		claimed, err := next.Claim(context.Background(), r.wants(partitions(2)...))
		if err != nil {
			t.Error(err)
		}
		answered <- claimed
	}()
	r.untilWaiting(1)
	r.must(tx.Commit(t.Context()))
	claimed := <-answered
	r.must(claimed[0].Err)
	if claimed[0].Position.Next != 7 || claimed[0].WaitedFor != "" || !r.alive(conn.PgConn().PID()) {
		t.Errorf("claimed %+v after %q", claimed[0].Claim, claimed[0].WaitedFor)
	}
}

// Rule 6: who merely waits for the row as well is not ended; the stuck session
// behind it is.
func TestRule6FellowWaitersLive(t *testing.T) {
	r := newRig(t)
	zombie, fellow, next := r.process(), r.process(), r.process()
	old := zombie.claim(1)[0]
	pid := zombie.stopped("in COPY FROM STDIN", step(old, 1))
	fellow.SetPatience(time.Minute, time.Minute)
	first := make(chan offsets.Claimed, 1)
	go func() {
		claimed, err := fellow.Claim(context.Background(), r.wants(old.Partition))
		if err != nil {
			t.Error(err)
		}
		first <- claimed[0]
	}()
	r.untilWaiting(1)
	next.SetPatience(500*time.Millisecond, 20*time.Second)
	claimed, err := next.Claim(t.Context(), r.wants(old.Partition))
	r.must(err)
	r.must(claimed[0].Err)
	for ended := range strings.SplitSeq(claimed[0].WaitedFor, "; ") { // twice, if it takes its time to go
		if !strings.HasPrefix(ended, fmt.Sprintf("session %d ", pid)) {
			t.Errorf("ended %q, want session %d alone", claimed[0].WaitedFor, pid)
		}
	}
	other := <-first
	r.must(other.Err)
	r.stands(0, 0)
	if last := claimed[0].Claim; last.Fence == other.Fence {
		t.Error("both hold one fence")
	}
}

// Several stuck sessions, one of them foreign: each row that can be won is.
func TestClaimPastSeveralHolders(t *testing.T) {
	r := newRig(t)
	zombie := r.process()
	old := zombie.claim(60)
	for i := range 3 {
		var steps []offsets.Step
		for _, c := range old[i*10 : i*10+10] {
			steps = append(steps, step(c, 1))
		}
		zombie.stopped("between statements", steps...)
	}
	dba := r.connect("psql")
	tx, err := dba.Begin(t.Context())
	r.must(err)
	_, err = tx.Exec(t.Context(), `select from oncesink.offsets where partition = 35 for update`)
	r.must(err)

	next := r.process()
	next.SetPatience(500*time.Millisecond, 6*time.Second)
	claimed, err := next.Claim(t.Context(), r.wants(partitions(60)...))
	r.must(err)
	for i, c := range claimed {
		var held *offsets.HeldError
		if errors.As(c.Err, &held) != (i == 35) {
			t.Errorf("%s: %v", c.Partition, c.Err)
		}
	}
	r.must(tx.Commit(t.Context()))
}

// A first position that somebody is inserting is waited for as well.
func TestClaimWaitsForAnInsert(t *testing.T) {
	r := newRig(t)
	dba := r.connect("psql")
	tx, err := dba.Begin(t.Context())
	r.must(err)
	_, err = tx.Exec(t.Context(), `insert into oncesink.offsets (sink_group, topic, partition, next_offset, first_offset) values ($1, 'orders', 0, 9, 9)`, group)
	r.must(err)
	p := r.process()
	p.SetPatience(3*time.Second, 20*time.Second)
	answered := make(chan []offsets.Claimed)
	go func() {
		claimed, err := p.Claim(context.Background(), r.wants(partitions(2)...))
		if err != nil {
			t.Error(err)
		}
		answered <- claimed
	}()
	r.until(`select count(*) = 1 from oncesink.offsets where instance = $1`, p.Instance())
	r.must(tx.Commit(t.Context()))
	claimed := <-answered
	r.must(claimed[0].Err)
	r.must(claimed[1].Err)
	if claimed[0].Position.Next != 9 || claimed[1].Position.Next != 0 {
		t.Errorf("claimed %+v", claimed)
	}
}
