package engine

import (
	"sync"
	"sync/atomic"

	"github.com/oncesink/oncesink/internal/tables"
)

// route is the way events become rows. Every route leaves the same table: they
// differ in what they cost (rule 19).
type route uint8

const (
	// byStatement upserts every event: right for anything, and best where keys exist.
	byStatement route = iota
	// byLook asks first which keys exist and which events win. It copies the new
	// ones, upserts the winners, and sends nothing for the rest: best for a mixture, and
	// for a replay.
	byLook
	// byCopy copies without asking: twice as fast, but one key that exists undoes it.
	byCopy
)

// leastRows is from how many events on a round looks or copies: below it, a
// statement costs less than the question.
const leastRows = 128

// The learner's patience, in batches.
const (
	maxTrust = 1024 // of new keys alone, before COPY is tried again
	maxRest  = 64   // of upserts, between two looks
)

// learner chooses a table's route from what its last batches met. Failed COPYs leave
// dead rows behind: so each makes it twice as careful. Safe for concurrent use.
type learner struct {
	mu     sync.Mutex
	forced *route // by a test

	copying bool
	streak  int // looks in a row that met new keys alone
	trust   int // how many of them it takes
	copied  int // COPYs in a row that worked

	rest  int // batches to be upserted before the next look
	pause int // how many the next rest has

	sieves []*sieve // why rows were refused lately
	ill    int      // for how many batches to come the records are written one by one, since one was refused

	// inText is for how many COPYs to come the rows go in text, since one had a value that Go does not read.
	inText atomic.Int32
	// ordered: writers of the table deadlocked, because each set of present
	// fields has statements of its own. From then on a round is one statement.
	ordered atomic.Bool
}

// next is the route for a round of n events.
func (l *learner) next(n int) route {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.forced != nil:
		return *l.forced
	case n < leastRows:
		return byStatement
	case l.copying:
		return byCopy
	case l.rest > 0:
		l.rest--
		return byStatement
	}
	return byLook
}

// again forgets how many batches were to be upserted without a look: a claim is new, and
// what it brings may have been applied before.
func (l *learner) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest, l.pause = 0, 0
}

// saw learns from a look at n events.
func (l *learner) saw(absent, winners, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if absent == n {
		l.streak++
		l.pause = 0
		l.copying = l.streak >= max(1, l.trust)
		return
	}
	l.streak = 0
	if winners < n-n/16 {
		l.pause = 0
		return
	}
	l.pause = min(max(1, 2*l.pause), maxRest)
	l.rest = l.pause
}

// worked learns that a COPY went through.
func (l *learner) worked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.copied++; l.copied%64 == 0 {
		l.trust /= 2
	}
}

// failed learns that a COPY was undone.
func (l *learner) failed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.copying, l.streak, l.copied = false, 0, 0
	l.trust = min(max(2, 2*l.trust), maxTrust)
}

// wrote learns how many of n upserted events changed a row.
func (l *learner) wrote(n, changed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n >= leastRows && changed < n/2 {
		l.rest, l.pause = 0, 0
	}
}

// sick learns whether a batch of a table that is written one record at a time had any that were refused.
func (l *learner) sick(refused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ill--; refused {
		l.ill = patientFor
	}
	l.ill = max(0, l.ill)
}

// isSick reports whether there was one lately.
func (l *learner) isSick() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ill > 0
}

// table is a target table that is written.
type table struct {
	*tables.Table
	learn *learner
	// children are written with it.
	children []*table
}
