package offsets_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// Rule 7: the first claim makes the row; later ones find it.
func TestRule7FirstPosition(t *testing.T) {
	r := newRig(t)
	p := r.process()
	want := r.wants(partitions(1)...)
	want[0].Start = &offsets.Position{Next: 42, Epoch: 3}
	first, err := p.Claim(t.Context(), want)
	r.must(err)
	r.must(first[0].Err)
	if got := first[0].Position; got.Next != 42 || got.Epoch != 3 {
		t.Errorf("starts at %+v", got)
	}
	want[0].Start.Next = 99
	second, err := p.Claim(t.Context(), want)
	r.must(err)
	r.must(second[0].Err)
	if got := second[0].Position.Next; got != 42 {
		t.Errorf("claimed again at %d, want 42", got)
	}
}

// Rule 7: who held a claim never inserts the row again, and can't move what is
// not there.
func TestRule7MissingRow(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(2)
	r.exec(`delete from oncesink.offsets where partition = 0`)

	wants := r.wants(partitions(2)...)
	wants[0].Start, wants[1].Start = nil, nil
	claimed, err := p.Claim(t.Context(), wants)
	r.must(err)
	if !errors.Is(claimed[0].Err, offsets.ErrNoPosition) || claimed[1].Err != nil {
		t.Errorf("got %v and %v, want ErrNoPosition and nil", claimed[0].Err, claimed[1].Err)
	}
	r.fenced(p.advance(step(c[0], 1)), c[0].Partition)
	res, err := p.Resolve(t.Context(), []offsets.Step{step(c[0], 1)}, 0)
	r.must(err)
	if res.Committed || res.Partitions[0].Ours || res.Partitions[0].AsExpected {
		t.Errorf("a missing row resolves to %+v", res)
	}
	if n := value[int](r, `select count(*) from oncesink.offsets`); n != 1 {
		t.Errorf("%d rows, want 1: the missing one was made again", n)
	}
}

// Rule 7: Begin makes rows without claiming them, and leaves those that exist.
func TestRule7Begin(t *testing.T) {
	r := newRig(t)
	p := r.process()
	ps := partitions(2)
	r.must(p.Begin(t.Context(), []offsets.First{{Partition: ps[0], TopicID: r.topicID, Offset: 5}}))
	r.must(p.Begin(t.Context(), []offsets.First{{Partition: ps[1], TopicID: r.topicID, Offset: 7}, {Partition: ps[0], TopicID: r.topicID, Offset: 9}}))
	rows, err := p.Rows(t.Context())
	r.must(err)
	if len(rows) != 2 || rows[0].Position.Next != 5 || rows[1].Position.Next != 7 || !rows[0].ClaimID.IsZero() || rows[0].Owner != "" {
		t.Errorf("rows %+v", rows)
	}
	c := p.claim(2)
	if c[0].Position.Next != 5 || c[1].Position.Next != 7 || c[0].Source == c[1].Source {
		t.Errorf("claimed %+v", c)
	}
}

// Rule 3: the row names the last claim and its owner; an operator who moves it
// leaves the claim's id, another process doesn't.
func TestRule3RowNamesTheClaim(t *testing.T) {
	r := newRig(t)
	a, b := r.process(), r.process()
	c := a.claim(1)[0]
	row := func() offsets.Row {
		rows, err := a.Rows(t.Context(), c.Partition)
		r.must(err)
		return rows[0]
	}
	if got := row(); got.ClaimID != c.ID || got.Fence != c.Fence || got.Instance != a.Instance() {
		t.Errorf("row %+v of claim %+v", got, c)
	}
	r.exec(`select oncesink.rewind($1, 'orders', 0, 0)`, group)
	if got := row(); got.ClaimID != c.ID || got.Fence == c.Fence {
		t.Error("a rewind draws a new fence and leaves the claim")
	}
	again := a.claim(1)[0]
	if again.ID == c.ID || again.Fence == c.Fence {
		t.Error("a claim draws both anew")
	}
	b.claim(1)
	if got := row(); got.ClaimID == again.ID || got.Instance != b.Instance() {
		t.Errorf("row %+v after another process's claim", got)
	}
	for instance, want := range map[string]bool{a.Instance(): true, b.Instance(): true, "ffffffff": false} {
		if alive, err := a.Alive(t.Context(), instance); err != nil || alive != want {
			t.Errorf("alive(%s) = %v, %v; want %v", instance, alive, err, want)
		}
	}
}

// Rule 3: after a restore the counter repeats, and the fence doesn't.
func TestRule3FencesAreRandom(t *testing.T) {
	r := newRig(t)
	p := r.process()
	p.claim(1)
	r.exec(`create table backup as select * from oncesink.offsets`)
	seen := map[offsets.Token]bool{}
	counts := map[int64]int{}
	for range 5 {
		c := p.claim(1)[0]
		if seen[c.Fence] || seen[c.ID] {
			t.Fatal("a fence or a claim id came twice")
		}
		seen[c.Fence], seen[c.ID] = true, true
		rows, err := p.Rows(t.Context())
		r.must(err)
		counts[rows[0].FenceCount]++
		r.exec(`delete from oncesink.offsets`)
		r.exec(`insert into oncesink.offsets select * from backup`)
	}
	if len(counts) != 1 {
		t.Errorf("the restore did not repeat the counter (%v): the test shows nothing", counts)
	}
}

// A row of another topic or cluster is refused and stays as it was; the error says
// what to run.
func TestClaimRefusesAnotherTopic(t *testing.T) {
	r := newRig(t)
	p := r.process()
	p.claim(2)
	before := value[string](r, `select string_agg(o::text, ';' order by partition) from oncesink.offsets o`)

	wants := r.wants(partitions(3)...)
	wants[0].TopicID = offsets.NewToken()
	wants[1].Start = nil
	stranger := r.process(offsets.Options{ClusterID: "cluster-2"})
	claimed, err := stranger.Claim(t.Context(), wants)
	r.must(err)
	for _, c := range claimed[:2] {
		var changed *offsets.ClusterChangedError
		if !errors.As(c.Err, &changed) || changed.Was != "cluster-1" || changed.Is != "cluster-2" {
			t.Errorf("got %v, want a ClusterChangedError", c.Err)
		}
	}
	if claimed[2].Err != nil {
		t.Errorf("a new partition: %v", claimed[2].Err)
	}
	r.exec(`delete from oncesink.offsets where partition = 2`)

	claimed, err = p.Claim(t.Context(), wants[:1])
	r.must(err)
	var changed *offsets.TopicChangedError
	if !errors.As(claimed[0].Err, &changed) || changed.Was != r.topicID || changed.Is != wants[0].TopicID {
		t.Fatalf("got %v, want a TopicChangedError", claimed[0].Err)
	}
	if after := value[string](r, `select string_agg(o::text, ';' order by partition) from oncesink.offsets o`); after != before {
		t.Errorf("a refused claim changed\n%s\nto\n%s", before, after)
	}
	want := "select oncesink.adopt('orders-sink', 'orders', '" + wants[0].TopicID.String() + "')"
	if got := claimed[0].Err.Error(); !strings.Contains(got, "from its beginning: "+want+", or `oncesink adopt orders --id ") {
		t.Fatalf("%q does not name %q", got, want)
	}
	r.exec(want)
	claimed, err = p.Claim(t.Context(), wants[:1])
	r.must(err)
	r.must(claimed[0].Err)
}

// Claims, and whatever else decides who may write, commit synchronously whatever
// the session is set to (rule 6); an advance leaves it alone.
func TestRule6ClaimsAreSynchronous(t *testing.T) {
	r := newRig(t)
	r.process().claim(1)
	id := r.topicID.String()
	for _, call := range []struct{ sql, setting, want string }{
		{`oncesink.claim('g', '', '', '', '', '{t}', '{0}', '{` + id + `}', '{0}', '{-1}', '{}', '{}', '{}', 0)`, "off", "on"},
		{`oncesink.claim('g', '', '', '', '', '{t}', '{0}', '{` + id + `}', '{0}', '{-1}', '{}', '{}', '{}', 0)`, "remote_apply", "remote_apply"},
		{`oncesink.first_positions('g', '', '{t}', '{0}', '{` + id + `}', '{0}', '{-1}')`, "off", "on"},
		{`oncesink.resolve('orders-sink', '{orders}', '{0}', '{` + id + `}', 1000)`, "off", "on"},
		{`oncesink.rewind('orders-sink', 'orders', 0, 0)`, "off", "on"},
		{`oncesink.pause('orders-sink', 'orders')`, "local", "on"},
		{`oncesink.resume('orders-sink', 'orders')`, "off", "on"},
		{`oncesink.accept_gap('orders-sink', 'orders', 0, 5)`, "off", "on"},
		{`oncesink.adopt('orders-sink', 'orders', gen_random_uuid())`, "off", "on"},
		{`oncesink.accept_mappings('orders-sink', '{}', '{}', '{}')`, "off", "on"},
		{`oncesink.advance('orders-sink', '{}', '{}', '{}', '{}', '{}', '{}', '{}')`, "off", "off"},
	} {
		r.exec(`begin; set local synchronous_commit = ` + call.setting)
		r.exec(`select * from ` + call.sql)
		if got := value[string](r, `show synchronous_commit`); got != call.want {
			t.Errorf("%s: synchronous_commit is %s after %s, want %s", call.sql, got, call.setting, call.want)
		}
		r.exec(`rollback`)
	}
}

// Claiming 1,000 partitions takes seconds at most, the first time and again.
func TestClaimThousandPartitions(t *testing.T) {
	r := newRig(t)
	p := r.process(offsets.Options{ClusterID: "cluster-1", Mappings: []offsets.Mapping{
		{Topic: "orders", Target: "public.orders", Fingerprint: "1"}, {Topic: "orders", Target: "public.items", Fingerprint: "1"}}})
	for _, when := range []string{"first", "again"} {
		start := time.Now()
		claims := p.claim(1000)
		took := time.Since(start)
		t.Logf("%s: %v", when, took)
		if took > 5*time.Second {
			t.Errorf("%s: claimed in %v", when, took)
		}
		sources := map[int32]bool{}
		for _, c := range claims {
			sources[c.Source] = true
		}
		if len(sources) != 1000 {
			t.Errorf("%d sources", len(sources))
		}
	}
	steps := make([]offsets.Step, 1000)
	for i, c := range p.claim(1000) {
		steps[i] = step(c, 1)
	}
	start := time.Now()
	r.must(p.advance(steps...))
	t.Logf("advanced: %v", time.Since(start))
}

// Halt is for people: it tells why, as long as the claim is the last, and a
// claim clears it.
func TestHalt(t *testing.T) {
	r := newRig(t)
	p := r.process()
	old := p.claim(1)[0]
	halted := func() string {
		rows, err := p.Rows(t.Context())
		r.must(err)
		return rows[0].Halted
	}
	r.must(p.Halt(t.Context(), old, "a gap"))
	if got := halted(); got != "a gap" {
		t.Errorf("halted %q", got)
	}
	r.must(p.Halt(t.Context(), old, "gap: from 2 to 3"))
	if rows, err := p.Rows(t.Context()); err != nil || rows[0].HaltReason != "gap" || rows[0].Halted != "from 2 to 3" {
		t.Errorf("halted %+v, %v", rows, err)
	}
	now := p.claim(1)[0]
	if got := halted(); got != "" {
		t.Errorf("halted %q after a claim", got)
	}
	r.must(p.Halt(t.Context(), old, "too late"))
	if got := halted(); got != "" {
		t.Errorf("halted %q by an old claim", got)
	}
	r.must(p.Halt(t.Context(), now, "again"))
	r.must(p.Halt(t.Context(), now, ""))
	if got := halted(); got != "" {
		t.Errorf("halted %q after it was cleared", got)
	}
}

// The same answer goes to a partition that is asked for twice.
func TestClaimAnswersEveryWant(t *testing.T) {
	r := newRig(t)
	p := r.process()
	ps := partitions(2)
	claimed, err := p.Claim(t.Context(), r.wants(ps[1], ps[0], ps[1]))
	r.must(err)
	if claimed[0] != claimed[2] || claimed[0].Partition != ps[1] || claimed[1].Partition != ps[0] {
		t.Errorf("answers %+v", claimed)
	}
	if claimed, err = p.Claim(t.Context(), nil); err != nil || len(claimed) != 0 {
		t.Errorf("nothing wanted: %v, %v", claimed, err)
	}
}
