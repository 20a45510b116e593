package torture

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/torture/checker"
)

// admin is a client of the brokers, past the wire.
func (r *rig) admin() *kadm.Client {
	if r.adm == nil {
		client, err := kgo.NewClient(kgo.DisableClientMetrics(), kgo.SeedBrokers(r.kafka.Brokers...), kgo.MetadataMinAge(100*time.Millisecond))
		r.must(err)
		r.Cleanup(client.Close)
		r.adm = kadm.NewClient(client)
	}
	return r.adm
}

// brokers: of three, the one that coordinates the group is killed, which leads partitions, too; then all are restarted one after the other.
func brokers(r *rig) {
	kafka := startCluster(r.T, 3)
	r.begin(setup{kafka: kafka})
	r.load(200)
	r.start("")
	r.moved(50)
	ctx := context.Background()
	id := int32(-1)
	r.eventually("the group has a coordinator", func() bool {
		found := r.admin().FindGroupCoordinators(ctx, r.name)
		id = found[r.name].NodeID
		return found.Error() == nil && id > 0
	})
	topics, err := r.admin().ListTopics(ctx, r.name)
	r.must(errors.Join(err, topics.Error()))
	leads := 0
	for _, p := range topics[r.name].Partitions {
		if p.Leader == id {
			leads++
		}
	}
	since := time.Now()
	kafka.KillBroker(r.T, int(id-1))
	r.recovered(since)
	r.fired("kill -9 of the group's coordinator", 1)
	r.fired("partitions that lost their leader by that", leads)
	kafka.RestartBroker(r.T, int(id-1))
	r.inSync()
	for i := range 3 {
		since := time.Now()
		kafka.StopBroker(r.T, i)
		r.recovered(since)
		kafka.RestartBroker(r.T, i)
		r.inSync()
		r.fired("brokers restarted one after the other", 1)
	}
}

// inSync waits until all replicas of all topics follow, so that the next broker may go.
func (r *rig) inSync() {
	r.Helper()
	r.eventually("replicas are in sync", func() bool {
		topics, err := r.admin().ListTopicsWithInternal(context.Background())
		if err != nil || topics.Error() != nil {
			return false
		}
		all := true
		for _, topic := range topics {
			for _, p := range topic.Partitions {
				all = all && p.Leader > 0 && len(p.ISR) == len(p.Replicas)
			}
		}
		return all
	})
}

// editedGroup: what Kafka remembers of the group is set back, set forward, deleted, and edited while the sink runs.
func editedGroup(r *rig) {
	r.begin(setup{})
	r.nothingTwice = true
	p := r.start("")
	edit := func(what string, at func(next int64) int64, meanwhile bool) {
		r.produce(60)
		r.drain()
		if !meanwhile {
			p.term()
		}
		want := kadm.Offsets{}
		for partition, next := range r.positions() {
			want.Add(kadm.Offset{Topic: r.name, Partition: partition, At: at(next), LeaderEpoch: -1})
		}
		r.eventually("the group takes other offsets", func() bool { // once its last member has left
			return r.admin().CommitAllOffsets(context.Background(), r.name, want) == nil
		})
		got, err := r.admin().FetchOffsets(context.Background(), r.name)
		r.must(err)
		for partition := range r.partitions {
			is, _ := got.Lookup(r.name, partition)
			asked, _ := want.Lookup(r.name, partition)
			if is.At == asked.At {
				r.fired("positions in Kafka that were set "+what, 1)
			}
		}
		since := time.Now()
		if !meanwhile {
			p = r.start("")
		}
		r.recovered(since)
	}
	edit("to 0", func(int64) int64 { return 0 }, false)
	edit("back", func(next int64) int64 { return next / 2 }, false)
	edit("past the end", func(next int64) int64 { return next + 1000 }, false)
	r.produce(60)
	r.drain()
	p.term()
	r.eventually("the group is deleted", func() bool {
		resp, err := r.admin().DeleteGroup(context.Background(), r.name)
		return errors.Join(err, resp.Err) == nil
	})
	r.fired("groups that were deleted", 1)
	since := time.Now()
	p = r.start(r.config("assign: {"+r.name+": [0, 1, 2]}", "")) // no member: Kafka takes whatever is committed for the group
	r.recovered(since)
	edit("to 0 while it ran", func(int64) int64 { return 0 }, true)
	edit("past the end while it ran", func(next int64) int64 { return next + 1000 }, true)
}

// soak: a random mix of what other rows do, for as long as is asked for.
func soak(r *rig) {
	lasts := options.soak
	if lasts == 0 {
		lasts = 10 * time.Second
	}
	r.readEvery = max(40*time.Millisecond, lasts/2000)
	r.begin(setup{keys: 200})
	r.load(200)
	sinks := []*process{r.start(""), r.start("")}
	r.moved(50)
	client := r.kafka.Client(r.T, kgo.TransactionalID(r.name), kgo.ProducerLinger(0))
	mix := []struct {
		what string
		play func() // returns when it is over
	}{
		{"kill -9 of the sink", func() {
			i := r.rnd.IntN(len(sinks))
			sinks[i].kill()
			sinks[i] = r.start("")
		}},
		{"SIGTERM", func() {
			i := r.rnd.IntN(len(sinks))
			sinks[i].term()
			sinks[i] = r.start("")
		}},
		{"frozen sinks", func() {
			p := sinks[r.rnd.IntN(len(sinks))]
			p.freeze()
			r.pause(r.between(200*time.Millisecond, 5*time.Second))
			p.wake()
		}},
		{"connections reset, Kafka", func() { r.kafka.wires[0].Reset() }},
		{"connections reset, PostgreSQL", func() { r.pg.Reset() }},
		{"black holes, Kafka", func() {
			r.kafka.wires[0].Hole()
			r.pause(r.between(500*time.Millisecond, 5*time.Second))
			r.kafka.wires[0].Heal()
		}},
		{"black holes, PostgreSQL", func() {
			r.pg.Hole()
			r.pause(r.between(500*time.Millisecond, 5*time.Second))
			r.pg.Heal()
		}},
		{"COMMIT cut off", func() {
			sprung := make(chan struct{})
			r.pg.Set(trapCommit(r.rnd.IntN(2) == 0, sprung))
			r.wait(sprung, "COMMIT is cut off")
		}},
		{"aborted transactions", func() {
			r.must(client.BeginTransaction())
			for range 10 {
				r.send(client, event{kind: checker.Aborted, key: 1 + r.rnd.Int64N(r.keys), partition: -1}, nil)
			}
			r.must(client.Flush(context.Background()))
			r.must(client.EndTransaction(context.Background(), kgo.TryAbort))
		}},
		{"backends ended", func() {
			r.eventually("a backend is ended", func() bool {
				return r.number(`select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name like 'oncesink%'`) > 0
			})
		}},
	}
	for ends := time.Now().Add(lasts); time.Now().Before(ends); {
		x := mix[r.rnd.IntN(len(mix))]
		x.play()
		r.fired(x.what, 1)
		r.recovered(time.Now())
		r.pause(r.between(0, 500*time.Millisecond))
	}
}
