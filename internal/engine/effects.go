package engine

// effect is what writing did to a table.
type effect struct {
	rows    int // that statements and COPYs wrote
	removed removed
	// Of rows, those of the table itself that COPYs brought, and that statements inserted or changed.
	copied, upserts int
	// For the learner: events that went by statement, and rows that those changed; what looks said of events;
	// COPYs that worked.
	upserted, changed      int
	absent, winners, asked int
	copies                 int
}

// effects are those of an attempt, or of a transaction, by table.
type effects map[*table]*effect

// of is the effect on a table.
func (e effects) of(t *table) *effect {
	x := e[t]
	if x == nil {
		x = &effect{}
		e[t] = x
	}
	return x
}

// merge adds what an attempt did that stands.
func (e effects) merge(done effects) {
	for t, d := range done {
		x := e.of(t)
		x.rows, x.removed = x.rows+d.rows, x.removed.plus(d.removed)
		x.copied, x.upserts = x.copied+d.copied, x.upserts+d.upserts
		x.upserted, x.changed = x.upserted+d.upserted, x.changed+d.changed
		x.absent, x.winners, x.asked = x.absent+d.absent, x.winners+d.winners, x.asked+d.asked
		x.copies += d.copies
	}
}

// teach tells the tables' learners what was committed.
func (e effects) teach() {
	for t, x := range e {
		if x.asked > 0 {
			t.learn.saw(x.absent, x.winners, x.asked)
		}
		for range x.copies {
			t.learn.worked()
		}
		if x.upserted > 0 {
			t.learn.wrote(x.upserted, x.changed)
		}
	}
}
