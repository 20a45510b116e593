package consumer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// look is the outlook of a process that begins now.
func (r *rig) look(change ...func(*Config, *offsets.Options)) *wiring.Outlook {
	r.t.Helper()
	cfg := Config{Brokers: r.brokers, Group: group, Topics: map[string]Start{r.topic: {}}}
	opts := offsets.Options{ClusterID: "test"}
	for _, f := range change {
		f(&cfg, &opts)
	}
	pool, _, err := offsets.NewPool(r.t.Context(), r.url, 2)
	r.must(err)
	r.t.Cleanup(pool.Close)
	c, err := NewWith(cfg, wiring.Parts{Ledger: offsets.New(pool, cfg.Group, opts), Archive: r.parts.Archive})
	r.must(err)
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...))
	r.must(err)
	r.t.Cleanup(client.Close)
	o, err := c.look(r.t.Context(), client)
	r.must(err)
	return o
}

// TestOutlook: what halts a partition within a run's first seconds is foretold, in the run's own words.
func TestOutlook(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(*rig) // of ten events that were applied
		want  error
	}{
		{"nothing", func(*rig) {}, nil},
		{"deleted unread", func(r *rig) {
			r.produce(0, 10, 10)
			r.deleteRecords(0, 15)
		}, &GapError{}},
		{"all deleted unread", func(r *rig) {
			r.produce(0, 10, 10)
			r.deleteRecords(0, 20)
		}, &GapError{}},
		{"past the end", func(r *rig) { r.exec(`update oncesink.offsets set next_offset = 1000, leader_epoch = -1`) }, &TruncatedError{}},
		{"recreated", func(r *rig) {
			_, err := r.admin.DeleteTopic(r.t.Context(), r.topic)
			r.must(err)
			r.create(1)
		}, &offsets.TopicChangedError{}},
		{"another cluster", func(r *rig) { r.exec(`update oncesink.offsets set cluster_id = 'other'`) }, &offsets.ClusterChangedError{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
			r.produce(0, 0, 10)
			r.must(r.start().endAfter(r, 10))
			tt.after(r)
			claim := r.claimOf(0)
			o := r.look()
			if len(o.Refused)+len(o.Warnings)+len(o.First) > 0 || r.claimOf(0) != claim {
				t.Errorf("got %+v", o)
			}
			if tt.want == nil {
				if len(o.Halted) > 0 {
					t.Errorf("got %v", o.Halted)
				}
				return
			}
			if len(o.Halted) != 1 || fmt.Sprintf("%T", o.Halted[0]) != fmt.Sprintf("%T", tt.want) {
				t.Fatalf("got %v, want one %T", o.Halted, tt.want)
			}
			r.start()
			if why := r.halted(0); why != o.Halted[0].Error() {
				t.Errorf("foretold: %v\nhalted: %s", o.Halted[0], why)
			}
		})
	}
}

// TestOutlookOfTruncation: an epoch that ended below the position is a truncation, too.
func TestOutlookOfTruncation(t *testing.T) {
	cluster := testkafka.Fake(t)
	r := newRig(t, cluster.ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	r.must(r.start().endAfter(r, 10))
	r.produce(0, 10, 10)
	cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, rt := range req.(*kmsg.OffsetForLeaderEpochRequest).Topics {
			st := kmsg.NewOffsetForLeaderEpochResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				sp.Partition, sp.LeaderEpoch, sp.EndOffset = rp.Partition, rp.LeaderEpoch, 4
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	o := r.look()
	if len(o.Halted) != 1 {
		t.Fatalf("got %+v", o)
	}
	r.start()
	if why := r.halted(0); why != o.Halted[0].Error() {
		t.Errorf("foretold: %v\nhalted: %s", o.Halted[0], why)
	}
}

// TestOutlookOfMapping: another mapping ends a run, and is told once for all partitions.
func TestOutlookOfMapping(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 3)
	r.produce(0, 0, 10)
	r.must(r.start().endAfter(r, 10))
	r.exec(`insert into oncesink.mappings select sink_group, topic, partition, 'public.events', 'old', 0 from oncesink.offsets`)
	o := r.look(func(_ *Config, opts *offsets.Options) {
		opts.Mappings = []offsets.Mapping{{Topic: r.topic, Target: "public.events", Fingerprint: "new"}}
	})
	var config *sink.ConfigError
	if len(o.Refused) != 1 || !errors.As(o.Refused[0], &config) || !strings.Contains(config.Error(), "mapping accept") {
		t.Errorf("got %+v", o)
	}
	if o = r.look(); len(o.Refused) != 1 || !strings.Contains(o.Refused[0].Error(), "this configuration does not write it") {
		t.Errorf("got %+v", o)
	}
}

// TestOutlookOfStarts: where partitions without a position begin is foretold, for each start, and what
// keeps a run from finding it out.
func TestOutlookOfStarts(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.produce(1, 100, 5)
	at := func(s Start) func(*Config, *offsets.Options) {
		return func(c *Config, _ *offsets.Options) { c.Topics[r.topic] = s }
	}
	firsts := func(o *wiring.Outlook) string {
		t.Helper()
		if len(o.Refused)+len(o.Halted) > 0 {
			t.Errorf("refused %v, halted %v", o.Refused, o.Halted)
		}
		var s []string
		for _, f := range o.First {
			s = append(s, fmt.Sprintf("%s at %d", f.Partition, f.Offset))
		}
		return strings.Join(append(append(s, o.Warnings...), o.Missing...), ", ")
	}
	commit := func(partition int32, offset int64, metadata string) {
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: r.topic, Partition: partition, At: offset, LeaderEpoch: -1, Metadata: metadata})
		r.must(r.admin.CommitAllOffsets(t.Context(), group, o))
	}
	for s, want := range map[Start]string{
		{}:           "orders/0 at 0, orders/1 at 0",
		{At: Latest}: "orders/0 at 10, orders/1 at 5",
		{At: Timestamp, Time: time.Now().Add(time.Hour)}: "orders/0 at 10, orders/1 at 5",
		{At: Committed}: "orders/0 at 0, orders/1 at 0, start: committed: group orders-sink has committed nothing for 2 partition(s) of orders: they begin at their beginning. See that the group's name is right",
	} {
		if got := firsts(r.look(at(s))); got != want {
			t.Errorf("start %+v: %s\nwant %s", s, got, want)
		}
	}
	commit(0, 3, "")
	if got := firsts(r.look(at(Start{At: Committed}))); !strings.HasPrefix(got, "orders/0 at 3, orders/1 at 0, start: committed: group orders-sink has committed nothing for 1 partition(s)") {
		t.Error(got)
	}
	commit(1, 99, "")
	var truncated *TruncatedError
	if o := r.look(at(Start{At: Committed})); len(o.Halted) != 1 || !errors.As(o.Halted[0], &truncated) || truncated.Position != 99 {
		t.Errorf("a committed offset past the end: %+v", o)
	}
	commit(1, 2, mirrorMark)
	if o := r.look(at(Start{At: Committed})); len(o.Refused) != 1 || !strings.Contains(o.Refused[0].Error(), "as a copy of a ledger that has no rows") {
		t.Errorf("a mirrored offset: %+v", o)
	}
	if o := r.look(func(c *Config, _ *offsets.Options) { c.Assign = map[string][]int32{r.topic: {1, 7}} }); len(o.Refused) != 1 || !strings.Contains(o.Refused[0].Error(), "topic orders has no partition 7") {
		t.Errorf("a partition that does not exist: %+v", o)
	}
	if n := r.queryInt("select count(*) from oncesink.offsets"); n != 0 {
		t.Errorf("%d positions were stored", n)
	}
}

// TestOutlookOfOperators: what an operator or an earlier run left is told, and keeps nobody from starting.
func TestOutlookOfOperators(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.must(r.start().endAfter(r, 10))
	r.exec(`update oncesink.offsets set halted = 'SQLSTATE XX000' where partition = 0`)
	r.exec(`select oncesink.pause($1, 'orders', 1)`, group)
	o := r.look()
	if len(o.Refused)+len(o.Halted) > 0 || len(o.Warnings) != 2 ||
		!strings.Contains(o.Warnings[0], "orders/0 is halted, and the next start tries again: SQLSTATE XX000") ||
		!strings.Contains(o.Warnings[1], "select oncesink.resume('orders-sink', 'orders', 1)") {
		t.Errorf("got %+v", o)
	}
}
