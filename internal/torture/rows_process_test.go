package torture

import (
	"context"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/torture/checker"
	"github.com/oncesink/oncesink/internal/torture/wire"
)

// kills: at random, before the compare-and-set, before and after COMMIT, and while the group rebalances.
func kills(r *rig) {
	r.begin(setup{})
	r.load(400)
	p := r.start("")
	r.moved(100)
	for range 3 {
		r.pause(r.between(20*time.Millisecond, 400*time.Millisecond))
		since := time.Now()
		p.kill()
		r.fired("killed at random", 1)
		p = r.start("")
		r.recovered(since)
	}
	for _, at := range []struct {
		what, text   string
		whole, after bool
	}{{"killed before the compare-and-set", "oncesink.advance", false, false}, {"killed after the compare-and-set", "oncesink.advance", false, true},
		{"killed before COMMIT", "commit", true, false}, {"killed after COMMIT, before its answer", "commit", true, true}} {
		sprung := make(chan struct{})
		victim := p
		if !at.whole { // a statement is parsed once: by a process that is new
			victim.kill()
			r.pg.Set(&wire.Trap{Text: at.text, Do: func() { close(sprung) }})
			victim = r.start("")
			r.pg.Set(nil)
			sprung = make(chan struct{})
		}
		r.pg.Set(&wire.Trap{Text: at.text, Whole: at.whole, After: at.after, Do: func() {
			_ = victim.proc.Signal(syscall.SIGKILL)
			<-victim.proc.Done()
			close(sprung)
		}})
		r.wait(sprung, at.what)
		since := time.Now()
		r.fired(at.what, 1)
		p = r.start("")
		r.recovered(since)
	}
	second := r.start("")
	r.pause(r.between(100*time.Millisecond, 900*time.Millisecond))
	since := time.Now()
	p.kill()
	r.recovered(since)
	if r.metric("rebalances_total", "") == 0 {
		r.Fatal("no rebalance")
	}
	r.fired("killed in a rebalance", 1)
	_ = second
}

// wait waits for a trap.
func (r *rig) wait(sprung <-chan struct{}, what string) {
	r.Helper()
	select {
	case <-sprung:
	case <-time.After(patience):
		r.Fatalf("it did not fire: %s", what)
	}
}

// zombies: frozen with nothing on its way, and inside a transaction whose COMMIT arrives after another process has taken over.
func zombies(r *rig) {
	r.begin(setup{})
	r.load(300)
	first := r.start("")
	r.moved(50)
	// Inside: the wire holds the COMMIT, and the process is stopped.
	sprung, late := make(chan struct{}), make(chan struct{})
	r.pg.Set(&wire.Trap{Text: "commit", Whole: true, Hold: late, Do: func() { _ = first.proc.Signal(syscall.SIGSTOP); close(sprung) }})
	r.wait(sprung, "COMMIT is held")
	since := time.Now()
	second := r.start("")
	r.recovered(since) // by the second, all partitions
	close(late)        // the COMMIT of before arrives
	first.wake()
	r.fired("frozen inside a transaction, whose COMMIT came late", 1)
	r.produce(200)
	r.drain()
	r.eventually("the zombie is told", func() bool {
		return first.logged(`"lost the fence"`)+first.logged(`"group session lost`) > 0
	})
	// Between: as it is, for longer than the session.
	since = time.Now()
	second.freeze()
	r.recovered(since)
	second.wake()
	r.fired("frozen past its session", 1)
	r.eventually("the second zombie is told", func() bool {
		return second.logged(`"lost the fence"`)+second.logged(`"group session lost`) > 0
	})
	r.produce(200)
}

// unknownCommits: the answer to COMMIT is lost, before the server had it and after.
func unknownCommits(r *rig) {
	r.begin(setup{})
	r.load(400)
	p := r.start("")
	r.moved(50)
	for i := range 6 {
		sprung := make(chan struct{})
		before := r.metric("unknown_commits_total", "")
		r.pg.Set(trapCommit(i%2 == 0, sprung))
		r.wait(sprung, "COMMIT is cut off")
		since := time.Now()
		if i%2 == 0 {
			r.fired("cut after the server had COMMIT", 1)
		} else {
			r.fired("cut before the server had COMMIT", 1)
		}
		r.recovered(since)
		r.eventually("an unknown commit is resolved", func() bool { return r.metric("unknown_commits_total", "") > before })
	}
	if r.metric("unknown_commits_total", `result="committed"`) == 0 || r.metric("unknown_commits_total", `result="rolled_back"`) == 0 {
		r.Errorf("both outcomes have to be seen: %v", p.metrics)
	}
}

// trapCommit cuts a COMMIT off, before the server has it or after.
func trapCommit(after bool, sprung chan struct{}) *wire.Trap {
	return &wire.Trap{Text: "commit", Whole: true, After: after, Do: func() { close(sprung) }}
}

// transactions: aborted ones, committed ones, and one that hangs, between events of nobody's.
func transactions(r *rig) {
	r.begin(setup{})
	p := r.start("")
	r.produce(50)
	client := r.kafka.Client(r.T, kgo.TransactionalID(r.name), kgo.ProducerLinger(0), kgo.TransactionTimeout(time.Minute))
	ctx := context.Background()
	for i := range 8 {
		r.must(client.BeginTransaction())
		commit := i%2 == 0
		kind := checker.Aborted
		if commit {
			kind = checker.Upsert
		}
		for range 20 {
			r.send(client, event{kind: kind, key: 1 + r.rnd.Int64N(r.keys), partition: -1}, nil)
		}
		r.must(client.Flush(ctx))
		r.must(client.EndTransaction(ctx, kgo.TransactionEndTry(commit)))
		if !commit {
			r.fired("aborted transactions", 1)
		}
		r.produce(10)
	}
	r.drain()
	// One that hangs: what lies behind it waits, and the lag says so.
	r.must(client.BeginTransaction())
	for key := range int64(3) {
		r.send(client, event{kind: checker.Aborted, key: 3 + key, partition: -1}, nil)
	}
	r.must(client.Flush(ctx))
	before := r.positions()
	since := time.Now()
	r.produce(60)
	r.pause(1500 * time.Millisecond)
	if r.caughtUp() {
		r.Errorf("records behind an open transaction were read: %v, %v", before, r.positions())
	}
	r.must(client.EndTransaction(ctx, kgo.TryAbort))
	r.fired("a transaction that hangs", 1)
	r.recovered(since)
	_ = p
}
