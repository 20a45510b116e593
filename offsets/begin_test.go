package offsets_test

import (
	"context"
	"testing"

	"github.com/oncesink/oncesink/offsets"
)

// Rule 7: a row that exists stays as it is, claim and fence, whatever first
// position comes later, and whoever holds it goes on.
func TestRule7BeginLeavesClaimedRows(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(2)
	r.must(p.advance(step(c[0], 10)))
	before := value[string](r, ledgerText)
	firsts := make([]offsets.First, 2)
	for i, part := range partitions(2) {
		firsts[i] = offsets.First{Partition: part, TopicID: offsets.NewToken(), Offset: 99}
	}
	r.must(r.process().Begin(t.Context(), firsts))
	r.must(p.Begin(t.Context(), nil))
	if after := value[string](r, ledgerText); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}
	r.must(p.advance(step(at(c[0], 10), 1)))
}

// Rule 7: of two processes that resolve a start at the same time the first one
// decides, also if it has not committed yet.
func TestRule7BeginWaitsForTheFirst(t *testing.T) {
	r := newRig(t)
	p := r.process()
	first := r.connect("psql")
	tx, err := first.Begin(t.Context())
	r.must(err)
	_, err = tx.Exec(t.Context(), `select oncesink.first_positions($1, 'cluster-1', '{orders}', '{0}', $2, '{5}', '{-1}')`,
		group, []string{r.topicID.String()})
	r.must(err)
	answered := make(chan error, 1)
	go func() {
		answered <- p.Begin(context.Background(), []offsets.First{{Partition: partitions(1)[0], TopicID: r.topicID, Offset: 9}})
	}()
	r.untilWaiting(1)
	r.must(tx.Commit(t.Context()))
	r.must(<-answered)
	if c := p.claim(1)[0]; c.Position.Next != 5 {
		t.Errorf("starts at %d, want 5", c.Position.Next)
	}
}

// Rules 7 and 12: a partition that is added to an adopted topic is of the
// topic's generation.
func TestRule7BeginInAnAdoptedTopic(t *testing.T) {
	r := newRig(t)
	p := r.process()
	p.claim(1)
	r.topicID = offsets.NewToken()
	r.exec(`select oncesink.adopt($1, 'orders', $2)`, group, r.topicID.String())
	r.must(p.Begin(t.Context(), []offsets.First{{Partition: partitions(2)[1], TopicID: r.topicID, Offset: 3}}))
	if c := p.claim(2)[1]; c.Generation != 1 || c.Position.Next != 3 {
		t.Errorf("claimed %+v, want generation 1 at 3", c)
	}
}
