package consumer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/oncesink/oncesink/offsets"
)

// Everything that makes a lane ours goes one way: what waits for a claim is queued, and one goroutine
// takes whatever waits and claims it with a few queries, however many lanes it is. New assignments,
// partitions assigned by hand and lanes whose fence was lost wait in member.claims. What came to nothing
// there, or needs a word of the group first, is tried again in member.retries by a goroutine of its
// own, in the same way: neither a row that somebody holds nor a coordinator that does not answer keeps
// an assignment waiting.

// claimQueue holds the lanes that wait for a claim.
type claimQueue struct {
	mu      sync.Mutex
	waiting map[*lane]*request
	signal  chan struct{} // one token: look at what waits
}

// request is a lane's wish to be claimed.
type request struct {
	lane       *lane
	turns      int         // of the lane: once it has left its state it is another's business
	assignment *assignment // that waits for the first answer; nil: the poll loop lets the lane run
	failures   int         // attempts that came to nothing
	due        time.Time   // of the next attempt
}

func newRequest(l *lane, a *assignment) *request {
	return &request{lane: l, turns: l.view().turns, assignment: a}
}

// over reports whether the lane no longer waits for this claim. Whoever waits for its answer is told.
func (r *request) over() bool {
	v := r.lane.view()
	if v.state == claiming && v.turns == r.turns {
		return false
	}
	r.noAnswer()
	return true
}

// answer tells the assignment what became of the first attempt, and where the partition stands. It reports whether the
// assignment takes care of the lane.
func (r *request) answer(c offsets.Claim, won bool) bool {
	a := r.assignment
	r.assignment = nil
	return a != nil && a.answer(r.lane, c, won)
}

// noAnswer tells the assignment that the first attempt came to nothing.
func (r *request) noAnswer() { r.answer(offsets.Claim{Position: offsets.Position{Epoch: -1}}, false) }

func newClaimQueue() *claimQueue {
	return &claimQueue{waiting: map[*lane]*request{}, signal: make(chan struct{}, 1)}
}

func (q *claimQueue) add(requests ...*request) {
	if len(requests) == 0 {
		return
	}
	q.mu.Lock()
	for _, r := range requests {
		q.waiting[r.lane] = r
	}
	q.mu.Unlock()
	q.wake()
}

// wake has the queue looked at: something was added, or a transaction in flight has ended.
func (q *claimQueue) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// take returns all requests that can be acted on now, and when the next one is due; zero if none will be
// by itself. A lane waits for as long as a transaction of its own is in flight, which holds the row.
func (q *claimQueue) take(now time.Time) (taken []*request, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for l, r := range q.waiting {
		switch {
		case r.over():
			delete(q.waiting, l)
		case l.view().inFlight:
		case r.due.After(now):
			if next.IsZero() || r.due.Before(next) {
				next = r.due
			}
		default:
			delete(q.waiting, l)
			taken = append(taken, r)
		}
	}
	return taken, next
}

func (m *member) startClaimers() {
	m.spawn(func() { m.claimer(m.claims, false) })
	m.spawn(func() { m.claimer(m.retries, true) })
}

// claimer claims what waits in a queue until the work ends. A patient one asks the group where that is
// needed; the other one leaves such lanes, and what failed, to it.
func (m *member) claimer(q *claimQueue, patient bool) {
	for m.work.Err() == nil {
		requests, next := q.take(time.Now())
		if len(requests) > 0 {
			m.claim(requests, patient)
			continue
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(time.Until(next))
		}
		select {
		case <-m.work.Done():
		case <-q.signal:
		case <-timer:
		}
	}
}

// lose makes lanes drop everything and be claimed again, in the background, if that is allowed.
func (m *member) lose(lanes ...*lane) { m.loseUntil(time.Time{}, lanes...) }

// loseUntil is lose for lanes that are not to be claimed before due.
func (m *member) loseUntil(due time.Time, lanes ...*lane) {
	var lost []*lane
	var requests []*request
	for _, l := range lanes {
		if from := l.leave(claiming, nil); from != closed && from != claiming {
			r := newRequest(l, nil)
			r.due = due
			lost, requests = append(lost, l), append(requests, r)
		}
	}
	m.suspend(lost...)
	m.claims.add(requests...)
}

// listed names lanes, the first few of many.
func listed(lanes []*lane) string {
	const most = 5
	names := make([]string, 0, most)
	for _, l := range lanes[:min(len(lanes), most)] {
		names = append(names, l.Partition.String())
	}
	if more := len(lanes) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}
	return strings.Join(names, ", ")
}

// pause waits before the nth attempt, longer each time, with jitter; it returns
// false when the work has ended. The first attempt does not wait.
func (m *member) pause(attempt int) bool { return pause(m.work, attempt) }

func pause(ctx context.Context, attempt int) bool {
	if attempt > 0 {
		rest(ctx, delay(attempt))
	}
	return ctx.Err() == nil
}

// rest waits, and reports false if ctx ends before.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// delay is how long the nth attempt waits: 100 ms before the second one, give or take half of it.
func delay(attempt int) (d time.Duration) {
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0))
	for range min(attempt, 16) {
		d = b.NextBackOff()
	}
	return d
}
