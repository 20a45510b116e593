package offsets_test

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/offsets"
)

// stand are the positions of orders/0 to orders/2.
func (p *process) stand() (at [3]int64) {
	p.rig.Helper()
	for i, row := range p.rows(3) {
		at[i] = row.Position.Next
	}
	return at
}

// Rule 8: a rewind sends back what stands above its aim, in one transaction, and
// leaves the rest alone, fence included; the owner of what moved is fenced.
func TestRule8Rewind(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(3)
	r.must(p.advance(step(c[0], 10), step(c[1], 20), step(c[2], 30)))
	done, err := p.Rewind(t.Context(), func(row offsets.Row) int64 { return 15 }, partitions(3)...)
	r.must(err)
	if len(done) != 3 || done[0].Moved() || !done[1].Moved() || done[1].Position.Next != 20 || done[1].To != 15 || done[0].To != 10 {
		t.Errorf("the rewind says %+v", done)
	}
	if got := p.stand(); got != [3]int64{10, 15, 15} {
		t.Errorf("positions %v", got)
	}
	r.must(p.advance(step(at(c[0], 10), 1)))
	r.fenced(p.advance(step(at(c[1], 20), 1)), partitions(2)[1])
	r.fenced(p.advance(step(at(c[2], 15), 1)), partitions(3)[2])
	if rows := p.rows(3); rows[2].First != 0 || rows[2].ClaimID != c[2].ID {
		t.Errorf("after the rewind: %+v", rows[2])
	}
	if done, err := p.Rewind(t.Context(), func(offsets.Row) int64 { return 0 }); done != nil || err != nil {
		t.Errorf("a rewind of nothing: %v, %v", done, err)
	}
	if got := p.stand(); got != [3]int64{11, 15, 15} {
		t.Errorf("a rewind of nothing moved to %v", got)
	}
}

// Rule 8: one partition that can't go back keeps all of them where they stand.
func TestRule8RewindIsAllOrNothing(t *testing.T) {
	for name, s := range map[string]struct {
		spoil string
		to    int64
		want  string
	}{
		"no row":           {`delete from oncesink.offsets where partition = 2`, 0, offsets.ErrNoPosition.Error()},
		"refused":          {`update oncesink.offsets set replay_refused = 'table audit has no guard' where partition = 2`, 0, "table audit has no guard"},
		"below the ledger": {`select 1`, -1, "0 or more"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			c := p.claim(3)
			r.must(p.advance(step(c[0], 10), step(c[1], 20), step(c[2], 30)))
			r.exec(s.spoil)
			before := value[string](r, ledgerText)
			_, err := p.Rewind(t.Context(), func(row offsets.Row) int64 { return s.to }, partitions(3)...)
			if err == nil || !strings.Contains(err.Error(), s.want) {
				t.Errorf("got %v, want %q", err, s.want)
			}
			if after := value[string](r, ledgerText); after != before {
				t.Errorf("the ledger changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// Rules 1 and 4: a rewind waits a moment for a transaction that is under way, sees where that
// one came to, and gives up on one that does not end.
func TestRule1RewindIsBounded(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(1)
	r.must(p.advance(step(c[0], 10)))
	_, tx := p.holding(step(at(c[0], 10), 5))
	type answer struct {
		done []offsets.Rewound
		err  error
	}
	answers := make(chan answer, 1)
	rewind := func() {
		done, err := p.Rewind(t.Context(), func(offsets.Row) int64 { return 3 }, partitions(1)...)
		answers <- answer{done, err}
	}
	go rewind()
	r.untilWaiting(1)
	r.must(tx.Commit(t.Context()))
	if a := <-answers; a.err != nil || a.done[0].Position.Next != 15 || a.done[0].To != 3 {
		t.Errorf("the rewind says %+v", a)
	}
	claims := p.claim(1)
	_, tx = p.holding(step(claims[0], 1))
	go rewind()
	if a := <-answers; a.err == nil || !strings.Contains(a.err.Error(), "locked by another session: try again") {
		t.Errorf("got %+v, want an error that says to try again", a)
	}
	r.must(tx.Rollback(t.Context()))
	r.stands(3, 2)
}
