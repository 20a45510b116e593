package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// counter notes the queries of a pool.
type counter struct {
	mu      sync.Mutex
	queries []string
}

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queries = append(c.queries, strings.Join(strings.Fields(q.SQL), " "))
	return ctx
}

func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// since returns what was asked since the last call.
func (c *counter) since() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.queries
	c.queries = nil
	return asked
}

// counted returns a consumer and the counter of its queries.
func (r *rig) counted(change func(*Config)) (*Consumer, *counter) {
	r.t.Helper()
	named, _, err := offsets.NewPool(r.t.Context(), r.url, 8)
	r.must(err)
	named.Close()
	asked, pc := &counter{}, named.Config()
	pc.ConnConfig.Tracer = asked
	pool, err := pgxpool.NewWithConfig(r.t.Context(), pc)
	r.must(err)
	r.t.Cleanup(pool.Close)
	cfg := Config{Brokers: r.brokers, Group: group, Topics: map[string]Start{r.topic: {}}}
	change(&cfg)
	ledger := offsets.New(pool, group, offsets.Options{ClusterID: "test"})
	s, err := engine.Open(r.t.Context(), pool, ledger, r.sinkConfig())
	r.must(err)
	c, err := NewWith(cfg, wiring.Parts{Ledger: ledger, Engine: s})
	r.must(err)
	return c, asked
}

// assigned is a member that polls, with partitions assigned by hand, and looks at the ledger only when told.
func (r *rig) assigned(partitions int32, claimers func(*member), change func(*Config)) (m *member, asked *counter) {
	r.t.Helper()
	c, asked := r.counted(func(cfg *Config) {
		for p := range partitions {
			cfg.Assign = map[string][]int32{r.topic: append(cfg.Assign[r.topic], p)}
		}
		change(cfg)
	})
	m = newMember(c)
	r.must(m.open())
	claimers(m)
	ctx, stop := context.WithCancel(r.t.Context())
	asked.since()
	m.assignByHand()
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		m.poll(ctx)
	}()
	r.t.Cleanup(func() {
		stop()
		<-polled
		m.shutdown()
	})
	return m, asked
}

// reach waits until the lanes of these partitions, or all, are in a state.
func (m *member) reach(t *testing.T, want state, partitions ...int32) {
	t.Helper()
	eventually(t, fmt.Sprintf("partitions %v reach state %d", partitions, want), func() bool {
		for _, l := range m.all() {
			if (len(partitions) == 0 || slices.Contains(partitions, l.Partition.Partition)) && l.view().state != want {
				return false
			}
		}
		return true
	})
}

// However many partitions begin, are paused and are resumed, the ledger is asked as often.
func TestClaimsCostAsMuchForManyPartitions(t *testing.T) {
	run := func(t *testing.T, partitions int32) map[string][]string {
		r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", partitions)
		m, asked := r.assigned(partitions, (*member).startClaimers, func(*Config) {})
		got := map[string][]string{}
		m.reach(t, running)
		got["begin"] = asked.since()
		r.exec(`select oncesink.pause($1, $2)`, group, r.topic)
		r.must(m.watchOnce(t.Context()))
		m.reach(t, paused)
		got["pause"] = asked.since()
		r.exec(`select oncesink.resume($1, $2)`, group, r.topic)
		r.must(m.watchOnce(t.Context()))
		m.reach(t, running)
		got["resume"] = asked.since()
		return got
	}
	few, many := run(t, 3), run(t, 400)
	t.Logf("queries to begin %d, to pause %d, to resume %d", len(few["begin"]), len(few["pause"]), len(few["resume"]))
	for _, step := range []string{"begin", "pause", "resume"} {
		if len(many[step]) != len(few[step]) || len(many[step]) > 5 {
			t.Errorf("%s: %d queries for 400 partitions, %d for 3:\n%s", step, len(many[step]), len(few[step]), strings.Join(few[step], "\n"))
		}
	}
}

// Rule 5: a partition that somebody holds, or whose owner has to be asked after, waits apart: it keeps no other one waiting.
func TestFirstAttemptsWaitForNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 4)
	m, _ := r.assigned(4, func(m *member) { m.spawn(func() { m.claimer(m.claims, false) }) }, func(*Config) {})
	m.reach(t, running)
	r.exec(`update oncesink.offsets set fence = gen_random_uuid(), claim = case partition when 0 then gen_random_uuid() else claim end where partition < 2`)
	stranger, err := r.pool.Begin(t.Context())
	r.must(err)
	defer func() { _ = stranger.Rollback(context.Background()) }() // the pool's end waits for it
	_, err = stranger.Exec(t.Context(), `select from oncesink.offsets where partition = 1 for update`)
	r.must(err)
	r.must(m.watchOnce(t.Context()))
	apart := func() int {
		m.retries.mu.Lock()
		defer m.retries.mu.Unlock()
		return len(m.retries.waiting)
	}
	eventually(t, "two partitions wait apart", func() bool { return apart() == 2 })
	for _, step := range []struct {
		command string
		want    state
	}{{"pause", paused}, {"resume", running}} {
		r.exec(`select oncesink.`+step.command+`($1, $2, p) from unnest(array[2, 3]) p`, group, r.topic)
		r.must(m.watchOnce(t.Context()))
		m.reach(t, step.want, 2, 3)
	}
	if got := apart(); got != 2 {
		t.Errorf("%d partitions wait apart, want 2", got)
	}
	r.must(stranger.Rollback(t.Context()))
	m.spawn(func() { m.claimer(m.retries, true) })
	m.reach(t, running)
}

// Rule 3: a claim of this process whose answer was lost is not taken for another process's.
func TestLostAnswerOfAClaim(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	r.start(func(c *Config, _ *sink.Config) { c.Assign = map[string][]int32{r.topic: {0}} })
	r.waitApplied(10)
	r.exec(`update oncesink.offsets set claim = gen_random_uuid(), fence = gen_random_uuid()`)
	r.produce(0, 10, 10)
	r.waitApplied(20)
	r.verify(map[int32]int64{0: 20})
}

// A topic that can't be claimed leaves those alone that are claimed with it.
func TestOneTopicLeavesTheOthersAlone(t *testing.T) {
	for _, test := range []struct {
		name   string
		set    func(*rig, *kfake.Cluster)
		reason string
	}{
		{"that does not exist", func(*rig, *kfake.Cluster) {}, `"another" does not exist`},
		{"whose start is refused", func(r *rig, _ *kfake.Cluster) {
			resp, err := r.admin.CreateTopic(r.t.Context(), 1, 1, nil, "another")
			r.must(errors.Join(err, resp.Err))
			var o kadm.Offsets
			o.Add(kadm.Offset{Topic: "another", At: 0, LeaderEpoch: -1, Metadata: mirrorMark})
			r.must(r.admin.CommitAllOffsets(r.t.Context(), group, o))
		}, "as a copy of a ledger"},
		{"that has no leader", func(r *rig, cluster *kfake.Cluster) {
			resp, err := r.admin.CreateTopic(r.t.Context(), 1, 1, nil, "another")
			r.must(errors.Join(err, resp.Err))
			cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				return withoutLeader(req.(*kmsg.ListOffsetsRequest), "another")
			})
		}, "list start offsets of another"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster := testkafka.Fake(t)
			r := newRig(t, cluster.ListenAddrs(), "orders", 2)
			test.set(r, cluster)
			log := &logBuffer{}
			m, _ := r.assigned(2, (*member).startClaimers, func(c *Config) {
				c.Topics["another"] = Start{At: Committed}
				c.Assign["another"] = []int32{0}
				c.Logger = slog.New(slog.NewTextHandler(log, nil))
			})
			for p := range int32(2) {
				if got := m.lane(offsets.Partition{Topic: r.topic, Partition: p}).view().state; got != running {
					t.Errorf("partition %d of the other topic is in state %d after the first attempt, want it running", p, got)
				}
			}
			if got := m.lane(offsets.Partition{Topic: "another"}).view().state; got != claiming {
				t.Errorf("the topic's own partition is in state %d", got)
			}
			if !strings.Contains(strings.ReplaceAll(log.String(), `\`, ""), test.reason) {
				t.Errorf("the log does not say why:\n%s", log)
			}
		})
	}
}

// withoutLeader answers a request about one topic as a broker does that has lost it.
func withoutLeader(req *kmsg.ListOffsetsRequest, topic string) (kmsg.Response, error, bool) {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	for _, t := range req.Topics {
		if t.Topic != topic {
			return nil, nil, false // asked for by itself
		}
		answer := kmsg.NewListOffsetsResponseTopic()
		answer.Topic = t.Topic
		for _, p := range t.Partitions {
			part := kmsg.NewListOffsetsResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, kerr.LeaderNotAvailable.Code
			answer.Partitions = append(answer.Partitions, part)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp, nil, true
}
