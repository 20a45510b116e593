package consumer

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// logMove is something that happens to a topic of which ten events were applied.
type logMove struct {
	event   string // its line in docs/log-moves.md
	when    string // a part of the test's name: what is special
	config  map[string]*string
	change  func(*rig)
	rows    int64 // in the target at the end, after the remedy if it halts
	stopped bool  // alone: a running process can't meet it
	// reading alone: a running process meets it while it reads, and one that starts is refused.
	reading bool
	after   func(*rig) // once it goes on, or has halted, and before the rows are counted
	twice   bool       // offsets are counted from zero once more
}

const (
	unreadGone    = "retention removes records before they were read"
	unreadDeleted = "`DeleteRecords` removes records before they were read"
	readGone      = "records are removed that were read"
	recreatedLog  = "the topic is deleted and created again"
	deletedTopic  = "the topic is deleted"
	addedLog      = "partitions are added"
	editedGroup   = "the group's offsets in Kafka are edited, reset or deleted"
	abortedTx     = "a transaction is aborted"
	hangingTx     = "a transaction hangs, open for ever"
	compacted     = "the topic is compacted"
	truncatedLog  = "the log is truncated below the position: an unclean leader election, a restored broker"
	regrownLog    = "the log is truncated, and has grown past the position since"
)

// documentedMoves are the lines of docs/log-moves.md: an event, and what oncesink does.
func documentedMoves(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/log-moves.md")
	if err != nil {
		t.Fatal(err)
	}
	does := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | "); len(cells) == 3 && strings.TrimSpace(cells[0]) != "event" {
			does[strings.TrimSpace(cells[0])] = strings.TrimSpace(cells[1])
		}
	}
	return does
}

// saysAsDocumented reports whether a halt is one that the document has, in whose texts A and B stand for offsets.
func saysAsDocumented(does, why string) bool {
	if !strings.HasPrefix(does, "halts: ") {
		return why == ""
	}
	for i, quoted := range strings.Split(does, "`") {
		if i%2 == 0 {
			continue
		}
		start, end, _ := strings.Cut(quoted, " A to B ")
		if strings.Contains(why, start) && strings.Contains(why, end) {
			return true
		}
	}
	return false
}

// value is a topic's setting.
func value(s string) *string { return &s }

func (r *rig) alter(name, value string) {
	r.t.Helper()
	resp, err := r.admin.AlterTopicConfigs(r.t.Context(), []kadm.AlterConfig{{Name: name, Value: &value}}, r.topic)
	r.must(errors.Join(err, resp[0].Err))
}

// begins waits until the partition's log begins at an offset.
func (r *rig) begins(offset int64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("the log begins at %d", offset), func() bool {
		starts, err := r.admin.ListStartOffsets(r.t.Context(), r.topic)
		r.must(errors.Join(err, starts.Error()))
		at, _ := starts.Lookup(r.topic, 0)
		return at.Offset == offset
	})
}

// expire has the retention remove all that is there: offsets below end.
func (r *rig) expire(end int64) {
	r.t.Helper()
	r.alter("retention.ms", "1")
	r.begins(end)
	r.alter("retention.ms", "-1")
}

// left is how many records the log of the partition has, and where it ends.
func (r *rig) left() (n, end int64) {
	r.t.Helper()
	ends, err := r.admin.ListEndOffsets(r.t.Context(), r.topic)
	r.must(errors.Join(err, ends.Error()))
	last, _ := ends.Lookup(r.topic, 0)
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: {0: kgo.NewOffset().AtStart()}}))
	r.must(err)
	defer client.Close()
	for {
		fetches := client.PollFetches(r.t.Context())
		r.must(fetches.Err())
		for _, rec := range fetches.Records() {
			if n++; rec.Offset == last.Offset-1 {
				return n, last.Offset
			}
		}
	}
}

func (r *rig) recreateTopic(partitions int32) {
	r.t.Helper()
	resp, err := r.admin.DeleteTopic(r.t.Context(), r.topic)
	r.must(errors.Join(err, resp.Err))
	eventually(r.t, "the topic is created again", func() bool {
		resp, err := r.admin.CreateTopic(r.t.Context(), partitions, 1, nil, r.topic)
		return err == nil && resp.Err == nil
	})
	r.client.PurgeTopicsFromClient(r.topic)
}

// transact produces n events in a transaction of its own; the caller ends it.
func (r *rig) transact(id string, first, n int) *kgo.Client {
	r.t.Helper()
	producer, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	r.must(err)
	r.t.Cleanup(producer.Close)
	r.must(producer.BeginTransaction())
	for i := range n {
		r.must(producer.ProduceSync(r.t.Context(), &kgo.Record{Topic: r.topic, Value: fmt.Appendf(nil, `{"id":%d,"v":"x"}`, first+i)}).FirstErr())
	}
	return producer
}

// group is the rig's own group, whose name needs quoting.
func (r *rig) ownGroup() string { return `it's "our" ` + r.topic }

// inOwnGroup makes a consumer a member of that.
func (r *rig) inOwnGroup(c *Config, _ *sink.Config) { c.Group = r.ownGroup() }

// regroup edits the positions that Kafka has for the group, which has no members.
func (r *rig) regroup(at int64) {
	r.t.Helper()
	eventually(r.t, "the group takes other offsets", func() bool { // once its last member has left
		var edited kadm.Offsets
		edited.Add(kadm.Offset{Topic: r.topic, At: at, LeaderEpoch: -1})
		return r.admin.CommitAllOffsets(r.t.Context(), r.ownGroup(), edited) == nil
	})
}

func logMoves() []logMove {
	deleteTopic := func(r *rig) {
		resp, err := r.admin.DeleteTopic(r.t.Context(), r.topic)
		r.must(errors.Join(err, resp.Err))
	}
	addPartitions := func(r *rig) {
		resp, err := r.admin.UpdatePartitions(r.t.Context(), 3, r.topic)
		r.must(errors.Join(err, resp.Error()))
		for p := int32(1); p < 3; p++ {
			eventually(r.t, "the new partition takes records", func() bool {
				r.client.ForceMetadataRefresh()
				return r.client.ProduceSync(r.t.Context(), &kgo.Record{Topic: r.topic, Partition: p, Value: fmt.Appendf(nil, `{"id":%d,"v":"x"}`, 100+p)}).FirstErr() == nil
			})
		}
	}
	compact := func(r *rig) {
		for round := range 3 { // the same keys again and again
			for id := range 10 {
				r.must(r.client.ProduceSync(r.t.Context(), &kgo.Record{Topic: r.topic, Key: fmt.Append(nil, id), Value: fmt.Appendf(nil, `{"id":%d,"v":"round %d"}`, id, round)}).FirstErr())
			}
		}
		eventually(r.t, "the log has holes", func() bool { // a segment is closed by a record that comes when it is old enough
			r.must(r.client.ProduceSync(r.t.Context(), &kgo.Record{Topic: r.topic, Key: []byte("last"), Value: []byte(`{"id":50,"v":"x"}`)}).FirstErr())
			left, end := r.left()
			return end-left > 20
		})
	}
	return []logMove{
		{event: unreadGone, rows: 15, change: func(r *rig) {
			r.produce(0, 10, 30)
			r.expire(40)
			r.produce(0, 40, 5)
		}},
		{event: unreadGone, when: "all that there was", rows: 11, change: func(r *rig) {
			r.produce(0, 10, 5)
			r.expire(15)
		}, after: func(r *rig) { r.produce(0, 15, 1) }},
		{event: unreadDeleted, rows: 25, change: func(r *rig) {
			r.produce(0, 10, 30)
			r.deleteRecords(0, 25)
		}},
		{event: readGone, when: "by retention", rows: 15, change: func(r *rig) {
			r.expire(10)
			r.produce(0, 10, 5)
		}},
		{event: readGone, when: "by DeleteRecords", rows: 15, change: func(r *rig) {
			r.deleteRecords(0, 7)
			r.produce(0, 10, 5)
		}},
		{event: recreatedLog, when: "and is longer", rows: 40, twice: true, change: func(r *rig) {
			r.recreateTopic(1)
			r.produce(0, 1000, 30)
		}},
		{event: recreatedLog, when: "and is shorter", rows: 13, twice: true, change: func(r *rig) {
			r.recreateTopic(1)
			r.produce(0, 1000, 3)
		}},
		{event: deletedTopic, rows: 15, twice: true, reading: true, change: deleteTopic},
		{event: recreatedLog, when: "while it is read", rows: 40, twice: true, reading: true, change: func(r *rig) {
			r.recreateTopic(1)
			r.produce(0, 1000, 30)
		}},
		{event: addedLog, rows: 12, change: addPartitions},
		{event: editedGroup, when: "back", stopped: true, rows: 15, change: func(r *rig) {
			r.regroup(3)
			r.produce(0, 10, 5)
		}},
		{event: editedGroup, when: "forward", stopped: true, rows: 15, change: func(r *rig) {
			r.produce(0, 10, 5)
			r.regroup(14)
		}},
		{event: editedGroup, when: "past the end", stopped: true, rows: 15, change: func(r *rig) {
			r.regroup(1000)
			r.produce(0, 10, 5)
		}},
		{event: editedGroup, when: "deleted", rows: 15, change: func(r *rig) {
			var topics kadm.TopicsSet
			topics.Add(r.topic, 0)
			_, err := r.admin.DeleteOffsets(r.t.Context(), r.ownGroup(), topics) // refused while it is subscribed
			r.must(err)
			r.produce(0, 10, 5)
		}},
		{event: editedGroup, when: "the whole group", stopped: true, rows: 15, change: func(r *rig) {
			eventually(r.t, "the group is deleted", func() bool {
				resp, err := r.admin.DeleteGroup(r.t.Context(), r.ownGroup())
				return errors.Join(err, resp.Err) == nil
			})
			r.produce(0, 10, 5)
		}},
		{event: abortedTx, rows: 15, change: func(r *rig) {
			r.must(r.transact(r.topic, 500, 5).EndTransaction(r.t.Context(), kgo.TryAbort))
			r.produce(0, 10, 5)
		}},
		{event: hangingTx, rows: 15, change: func(r *rig) {
			r.transact(r.topic, 500, 5)
			r.produce(0, 10, 5)
		}, after: func(r *rig) {
			if got := r.queryInt(`select count(*) from events`); got != 10 {
				r.t.Errorf("%d rows while the transaction is open", got)
			}
			// Its producer is started again.
			again := r.transact(r.topic, 600, 0)
			r.must(again.ProduceSync(r.t.Context(), &kgo.Record{Topic: r.topic, Value: []byte(`{"id":600,"v":"x"}`)}).FirstErr())
			r.must(again.EndTransaction(r.t.Context(), kgo.TryAbort))
		}},
		{event: compacted, when: "behind the position", rows: 11, change: compact, config: map[string]*string{
			"cleanup.policy": value("compact"), "segment.ms": value("100"), "min.cleanable.dirty.ratio": value("0.01"), "max.compaction.lag.ms": value("100"),
		}, after: func(r *rig) {
			r.t.Helper()
			if got := r.queryInt(`select count(*) from events where v = 'round 2'`); got != 10 {
				r.t.Errorf("%d rows of the last round, want 10", got)
			}
			if got := r.queryInt(`select max("offset") + 1 - count(*) from applied`); got < 10 {
				r.t.Errorf("%d offsets were missing: nothing was compacted away", got)
			}
		}},
	}
}

// TestTheLogMoves: what may happen to a topic halts, or does not, as docs/log-moves.md has it, on a real Kafka, while the group runs
// (and is behind, where the log has to move first) and while it is stopped; and what a halt prints goes on when it is run.
func TestTheLogMoves(t *testing.T) {
	does, tried := documentedMoves(t), map[string]bool{truncatedLog: true, regrownLog: true} // by TestTheLogIsTruncated
	kafka := testkafka.Real(t)
	for _, move := range logMoves() {
		tried[move.event] = true
		if does[move.event] == "" {
			t.Errorf("docs/log-moves.md has no line %q", move.event)
		}
		for _, running := range []bool{false, true} {
			if running && move.stopped || !running && move.reading {
				continue
			}
			t.Run(fmt.Sprintf("%s %s, running %t", move.event, move.when, running), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, kafka.Brokers, kafka.Name("moving"), 0)
				resp, err := r.admin.CreateTopic(t.Context(), 1, 1, move.config, r.topic)
				r.must(errors.Join(err, resp.Err))
				r.move(move, does[move.event], running)
			})
		}
	}
	for event := range does {
		if !tried[event] {
			t.Errorf("docs/log-moves.md has the line %q, which no test tries", event)
		}
	}
}

// move lets a log move, and follows what is printed if that halts the partition.
func (r *rig) move(move logMove, does string, running bool) {
	t := r.t
	t.Helper()
	grouped := func(c *Config, _ *sink.Config) {
		c.Group = r.ownGroup()
		c.ClientOptions = append(c.ClientOptions, kgo.MetadataMaxAge(500*time.Millisecond))
	}
	r.produce(0, 0, 10)
	p := r.start(grouped)
	r.waitApplied(10)
	switch {
	case move.reading:
		move.change(r)
	case running:
		// Nothing is read until the log has moved.
		r.exec(`select oncesink.pause($1, $2)`, r.ownGroup(), r.topic)
		eventually(t, "the partition is paused", func() bool { return strings.HasSuffix(p.states(), " paused") })
		move.change(r)
		r.exec(`select oncesink.resume($1, $2)`, r.ownGroup(), r.topic)
	default:
		r.must(p.end(t))
		move.change(r)
		p = r.start(grouped)
	}
	halts := strings.HasPrefix(does, "halts: ")
	if halts {
		why := r.whyHalted()
		if !saysAsDocumented(does, why) {
			t.Errorf("halted: %s\nthe document has: %s", why, does)
		}
		if got := r.queryInt(`select count(*) from events`); got != 10 {
			t.Errorf("%d rows before anybody acted, want 10", got)
		}
		if move.event == deletedTopic {
			r.create(1)
			r.client.PurgeTopicsFromClient(r.topic)
			r.produce(0, 1000, 5)
		}
		if strings.Contains(why, "`oncesink check`") {
			why = r.look(func(c *Config, _ *offsets.Options) { c.Group = r.ownGroup() }).Halted[0].Error()
		}
		r.follow(why)
	}
	if move.event == hangingTx {
		eventually(t, "the sink stands in front of the transaction", func() bool { return strings.HasSuffix(p.states(), " running") })
	}
	early := move.event == hangingTx || halts
	if move.after != nil && early {
		move.after(r)
	}
	eventually(t, "the rows are there", func() bool {
		return r.queryInt(`select count(*) from events`) == move.rows && r.queryInt(`select count(*) from oncesink.status where halted is not null`) == 0
	})
	if move.after != nil && !early {
		move.after(r)
	}
	if got := r.queryInt(`select count(*) from applied where n > 1`); got != 0 && !move.twice {
		t.Errorf("%d events were applied more than once", got)
	}
	if got := r.queryInt(`select count(*) from events where id between 500 and 699`); got != 0 {
		t.Errorf("%d rows of events that were never committed", got)
	}
	if got := r.queryInt(`select count(*) from oncesink.dead_letters`); got != 0 {
		t.Errorf("%d dead letters", got)
	}
	if !halts && p.halts() > 0 {
		t.Errorf("it halted:\n%s", p.log)
	}
	if move.event == editedGroup {
		eventually(t, "the copy in Kafka is right again", func() bool {
			at, err := r.admin.FetchOffsets(t.Context(), r.ownGroup())
			r.must(err)
			o, ok := at.Lookup(r.topic, 0)
			return ok && o.At == 15
		})
	}
}

// whyHalted waits until the status shows why the rig's one partition halted.
func (r *rig) whyHalted() (why string) {
	r.t.Helper()
	eventually(r.t, "the status shows the halt", func() bool {
		r.must(r.pool.QueryRow(r.t.Context(), `select coalesce((select halted from oncesink.status where halted is not null limit 1), '')`).Scan(&why))
		return why != ""
	})
	return why
}

// leaderEpoch is the epoch in which the partition is led; -1 if it is not.
func (r *rig) leaderEpoch() int32 {
	r.t.Helper()
	topics, err := r.admin.ListTopics(r.t.Context(), r.topic)
	if err != nil || topics[r.topic].Err != nil || topics[r.topic].Partitions[0].Err != nil {
		return -1
	}
	return topics[r.topic].Partitions[0].LeaderEpoch
}

// truncation is a partition whose log a broker lacks the end of when it comes back.
type truncation struct {
	event   string // its line in docs/log-moves.md
	running bool   // a consumer runs meanwhile, and is paused
	rig     *rig
	process *process
	led     int32 // the epoch before
}

// TestTheLogIsTruncated: a broker whose log is shorter when it comes back halts the partition below whose position it ends, also when the
// log has grown past it since; what is printed goes on at the end, where new records come. One broker dies once, and all logs of it are cut.
func TestTheLogIsTruncated(t *testing.T) {
	does := documentedMoves(t)
	kafka := testkafka.StartReal(t, 1)
	var truncations []*truncation
	for _, running := range []bool{false, true} {
		for _, event := range []string{truncatedLog, regrownLog} {
			r := newRig(t, kafka.Brokers, kafka.Name("truncated"), 1)
			r.produce(0, 0, 10)
			r.produce(0, 10, 10)
			x := &truncation{event: event, running: running, rig: r, process: r.start(r.inOwnGroup)}
			r.waitApplied(20)
			if running {
				r.exec(`select oncesink.pause($1, $2)`, r.ownGroup(), r.topic)
				eventually(t, "the partition is paused", func() bool { return x.process.states() == r.topic+"/0 paused" })
			} else {
				r.must(x.process.end(t))
			}
			x.led = r.leaderEpoch()
			truncations = append(truncations, x)
		}
	}
	kafka.KillBroker(t, 0)
	for _, x := range truncations {
		kafka.Truncate(t, 0, x.rig.topic, 0, 1)
	}
	kafka.RestartBroker(t, 0)
	for _, x := range truncations {
		t.Run(fmt.Sprintf("%s, running %t", x.event, x.running), func(t *testing.T) {
			t.Parallel()
			x.rig.t = t
			x.halts(does[x.event])
		})
	}
}

// halts wants that the partition halts as the document has it, and goes on by what is printed.
func (x *truncation) halts(does string) {
	r, t := x.rig, x.rig.t
	t.Helper()
	// As after any election: by the epoch a client tells what it has read from what is there now.
	eventually(t, "the partition is led in a new epoch", func() bool { return r.leaderEpoch() > x.led })
	defer func() {
		if t.Failed() {
			t.Logf("epoch %d, was %d, %s", r.leaderEpoch(), x.led, x.process.states())
		}
	}()
	want := int64(20)
	if x.event == regrownLog {
		r.produce(0, 100, 30)
		want += 30
	}
	if x.running {
		r.exec(`select oncesink.resume($1, $2)`, r.ownGroup(), r.topic)
	} else {
		x.process = r.start(r.inOwnGroup)
	}
	why := r.whyHalted()
	if !saysAsDocumented(does, why) || !strings.Contains(why, "end 10") {
		t.Errorf("halted: %s\nthe document has: %s", why, does)
	}
	if got := r.queryInt(`select count(*) from events`); got != 20 {
		t.Errorf("%d rows before anybody acted, want 20", got)
	}
	r.follow(why)
	r.produce(0, 200, 5)
	want += 5
	eventually(t, "the rows are there", func() bool {
		return r.queryInt(`select count(*) from events`) == want && r.queryInt(`select count(*) from oncesink.status where halted is not null`) == 0
	})
	r.must(x.process.end(t))
}

// How a document's texts are looked for.
func TestSaysAsDocumented(t *testing.T) {
	const does = "halts: `offsets A to B are missing`, or `it is gone` later"
	for why, want := range map[string]bool{"p: offsets 1 to 2 are missing: so": true, "it is gone": true, "else": false, "": false} {
		if got := saysAsDocumented(does, why); got != want {
			t.Errorf("%q: %t", why, got)
		}
	}
	if !saysAsDocumented("goes on", "") || saysAsDocumented("goes on", "halted") {
		t.Error("what goes on does not halt")
	}
}
