package consumer

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// lines are those of a process's log that have a message, without time and level.
func (p *process) lines(level, msg string) (lines []string) {
	quoted := msg
	if strings.ContainsAny(msg, " :") {
		quoted = `"` + msg + `"`
	}
	for _, line := range strings.Split(p.log.String(), "\n") {
		if _, rest, ok := strings.Cut(line, "level="+level+" msg="+quoted+" "); ok {
			lines = append(lines, rest)
		}
	}
	return lines
}

func (p *process) wantLines(t *testing.T, level, msg string, want ...string) {
	t.Helper()
	eventually(t, "the log has "+strings.Join(want, ", "), func() bool { return len(p.lines(level, msg)) >= len(want) })
	if got := p.lines(level, msg); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The start says from which offset each partition is read, and why.
func TestBeginningsAreTold(t *testing.T) {
	const committedNothing = "start: committed: the group has committed nothing for these partitions: they begin at their beginning. See that the group's name is right"
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.produce(1, 100, 5)
	starts := func(at Start) func(*Config, *sink.Config) {
		return func(c *Config, _ *sink.Config) { c.Topics, c.UntilEnd = map[string]Start{r.topic: at}, true }
	}
	forget := func() {
		r.exec(`delete from oncesink.offsets`)
		_, err := r.admin.DeleteGroup(t.Context(), group)
		r.must(err)
	}
	for _, tt := range []struct {
		start Start
		want  string
	}{
		{Start{}, `topic=orders partitions="0 from 0, 1 from 0" because="start: earliest"`},
		{Start{At: Latest}, `topic=orders partitions="0 from 10, 1 from 5" because="start: latest"`},
		{Start{At: Timestamp, Time: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)}, `topic=orders partitions="0 from 0, 1 from 0" because="start: 2026-01-31T00:00:00Z"`},
	} {
		p := r.start(starts(tt.start))
		r.must(p.wait(t))
		p.wantLines(t, "INFO", "reading", tt.want)
		p = r.start(starts(tt.start))
		r.must(p.wait(t))
		p.wantLines(t, "INFO", "reading", `topic=orders partitions="0 from 10, 1 from 5" because="the ledger's position"`)
		forget()
	}
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: r.topic, Partition: 0, At: 4, LeaderEpoch: -1})
	r.must(r.admin.CommitAllOffsets(t.Context(), group, o))
	p := r.start(starts(Start{At: Committed}))
	r.must(p.wait(t))
	p.wantLines(t, "INFO", "reading", `topic=orders partitions="0 from 4" because="start: committed"`,
		`topic=orders partitions="1 from 0" because="start: committed, which the group has not: its beginning"`)
	p.wantLines(t, "WARN", committedNothing, "group=orders-sink topic=orders partitions=1")
}

// Of many partitions there is one line, and a partition that is paused is told as such.
func TestBeginningsOfManyPartitions(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 12)
	for i := range int32(12) {
		r.produce(i, int(100*i), int(i))
	}
	until := func(c *Config, _ *sink.Config) { c.UntilEnd = true }
	p := r.start(until)
	r.must(p.wait(t))
	p.wantLines(t, "INFO", "reading", `topic=orders partitions=12 from=0 because="start: earliest"`)
	r.exec(`select oncesink.pause('orders-sink', 'orders', 3)`)
	p = r.start()
	p.wantLines(t, "INFO", "reading", `topic=orders partitions=12 from="0 to 11" because="the ledger's position" paused=1`)
	p.wantLines(t, "DEBUG", "reading", `topic=orders partitions="0 from 0, 1 from 1, 2 from 2, 3 from 3, 4 from 4, 5 from 5, 6 from 6, 7 from 7, 8 from 8, 9 from 9, 10 from 10, 11 from 11"`)
}

// What an operator did is told by name, on a quiet partition and on a busy one, which learns of it by its fence.
func TestOperatorsAreTold(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprintf("busy %v", busy), func(t *testing.T) {
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
			r.produce(0, 0, 10)
			p := r.start()
			r.waitApplied(10)
			id := 10
			for _, tt := range []struct{ command, want string }{
				{`select oncesink.pause('orders-sink', 'orders')`, `what=paused partitions=orders/0`},
				{`select oncesink.resume('orders-sink', 'orders')`, `what=resumed partitions=orders/0`},
				{`select oncesink.rewind('orders-sink', 'orders', 0, 3)`, `what=rewound partitions="orders/0 from N to 3"`},
				{`select oncesink.accept_gap('orders-sink', 'orders', 0, 100000)`, `what="moved forward: what lies between is not read" partitions="orders/0 from N to 100000"`},
			} {
				before := len(p.lines("INFO", "the ledger was changed"))
				r.exec(tt.command)
				eventually(t, "it is told: "+tt.command, func() bool {
					if busy {
						r.produce(0, id, 1)
						id++
					}
					return len(p.lines("INFO", "the ledger was changed")) > before
				})
				got := p.lines("INFO", "the ledger was changed")
				if said := regexp.MustCompile(`from \d+`).ReplaceAllString(got[before], "from N"); len(got) != before+1 || said != tt.want {
					t.Errorf("%s: the log says %q, want %q", tt.command, got[before:], tt.want)
				}
				if strings.Contains(tt.command, "rewind") || strings.Contains(tt.command, "resume") {
					eventually(t, "all is applied again", func() bool { return r.position(0) >= int64(id) })
				}
			}
		})
	}
}

// Two changes that come before the owner has claimed the row again are told of one by one.
func TestChangesBeforeTheClaim(t *testing.T) {
	l := newLane(offsets.Partition{Topic: "orders"})
	c := offsets.Claim{Partition: l.Partition, ID: offsets.NewToken(), Fence: offsets.NewToken(), TopicID: offsets.NewToken(), Position: offsets.Position{Next: 10}}
	l.hold(c)
	l.start(c)
	row := offsets.Row{Partition: l.Partition, ClaimID: c.ID, Fence: offsets.NewToken(), TopicID: c.TopicID, Position: c.Position}
	m := &member{Consumer: &Consumer{}}
	told := func() string {
		t.Helper()
		said := changes{}
		said.add(m, l, l.view().known(), &row)
		return fmt.Sprint(said)
	}
	for _, step := range []struct {
		change func()
		want   string
	}{
		{func() { row.Paused, row.Fence = true, offsets.NewToken() }, "map[paused:[orders/0]]"},
		{func() {}, "map[]"},
		{func() { row.Paused, row.Fence = false, offsets.NewToken() }, "map[resumed:[orders/0]]"},
		{func() { row.Position.Next, row.Fence = 4, offsets.NewToken() }, "map[rewound:[orders/0 from 10 to 4]]"},
		{func() { row.Fence = offsets.NewToken() }, "map[" + anew + ":[orders/0]]"},
		{func() {
			row.TopicID, row.Generation, row.Position.Next, row.Fence = offsets.NewToken(), 1, 0, offsets.NewToken()
		}, "map[" + adopted + ":[orders/0 from generation 0 to 1, from 4 to 0]]"},
		{func() { row.ClaimID, row.Fence, row.Owner = offsets.NewToken(), offsets.NewToken(), "somebody" }, "map[" + claimed + ":[orders/0 by somebody]]"},
		{func() {
			l.hold(c)
			row.Paused, row.ClaimID, row.TopicID, row.Generation, row.Position, row.Fence = true, c.ID, c.TopicID, 0, c.Position, offsets.NewToken()
		}, "map[paused:[orders/0]]"},
	} {
		step.change()
		if got := told(); got != step.want {
			t.Errorf("told %s, want %s", got, step.want)
		}
	}
	// Pauses, a rewind, a change by hand, an adoption, and another claim; what was paused is not lost once more when it is resumed.
	if got := m.counts.Fenced; got[sink.FencedByOperator] != 5 || got[sink.FencedByClaim] != 1 {
		t.Errorf("fenced %v", got)
	}
}

// Of many partitions the first few are named.
func TestChangesOfManyPartitions(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 8)
	p := r.start()
	p.wantLines(t, "INFO", "reading", `topic=orders partitions=8 from=0 because="start: earliest"`)
	eventually(t, "all run", func() bool {
		n := 0
		for _, s := range p.Status() {
			if s.State == Running {
				n++
			}
		}
		return n == 8
	})
	r.exec(`select oncesink.pause('orders-sink', 'orders')`)
	p.wantLines(t, "INFO", "the ledger was changed", `what=paused partitions="orders/0; orders/1; orders/2; orders/3; orders/4; and 3 more"`)
}

// A process that the group keeps waiting says so, and for how long at most.
func TestWaitingIsTold(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, brokers []string, topic string) {
		r := newRig(t, brokers, topic, 1)
		r.produce(0, 0, 3)
		// A member that does not come back when the group rebalances, as one that was killed, for as long as its session lasts.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		gone, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(kgo.CooperativeStickyBalancer()),
			kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit(), kgo.SessionTimeout(10*time.Second), kgo.RebalanceTimeout(10*time.Second))
		r.must(err)
		defer gone.CloseAllowingRebalance()
		if got := gone.PollFetches(ctx); got.NumRecords() == 0 {
			t.Fatal("the other member reads nothing")
		}
		p := r.start()
		p.wantLines(t, "INFO", "waiting for the group: a member that was killed counts as alive until its session ends", "group=orders-sink session_timeout=6s")
		if len(p.lines("INFO", "reading")) > 0 {
			t.Error("it said that it waits after it was given its partitions")
		}
	})
}

// A process that is given its partitions says nothing of waiting; one that gets none says that it is a member.
func TestMemberWithoutPartitions(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	first := r.start()
	first.wantLines(t, "INFO", "reading", `topic=orders partitions="0 from 0" because="start: earliest"`)
	second := r.start()
	second.wantLines(t, "INFO", "a member of the group, without partitions so far: the others have them all, or one that was killed counts as alive until its session ends",
		"group=orders-sink session_timeout=6s")
	if strings.Contains(first.log.String(), "without partitions so far") || strings.Contains(first.log.String(), "waiting for the group") {
		t.Error("the first one waited")
	}
}

// What was refused and not told of yet is told when the run ends.
func TestRefusalsAreToldAtTheEnd(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	for i := range 5 {
		r.must(r.client.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Value: fmt.Appendf(nil, `{"id":"no number %d","v":"x"}`, i)}).FirstErr())
	}
	p := r.start(func(c *Config, _ *sink.Config) { c.UntilEnd = true })
	r.must(p.wait(t))
	p.wantLines(t, "WARN", "a record is refused: it is kept as a dead letter",
		`topic=orders partition=0 offset=0 code=22P02 table=public.events column=id reason="no text of the type, or no valid JSON" steps=`+docs.Runbook("oncesinkdeadletters"))
	var more int
	for _, line := range p.lines("WARN", "more records are refused") {
		var n int
		if _, err := fmt.Sscanf(line, "dead_letters=%d ", &n); err != nil {
			t.Error(err)
		}
		more += n
	}
	if more != 4 || p.Stats().DeadLetters != 5 {
		t.Errorf("%d more are told of %d", more, p.Stats().DeadLetters)
	}
	if strings.Contains(p.log.String(), "no number") {
		t.Error("a value is told")
	}
}
