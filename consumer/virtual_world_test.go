//go:build synctests

package consumer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

const (
	virtualTopic    = "orders"
	virtualSlots    = 4 // machines at a time
	virtualParts    = 4 // partitions at first
	virtualSession  = 10 * time.Second
	virtualStorm    = 20 * time.Minute // in which things happen
	virtualPatience = 10 * time.Minute // after which all has to be read, and each partition to have one owner
)

// happening is one thing that happens in a schedule.
type happening struct {
	at   time.Duration
	what string
	to   int           // a slot, or a partition
	last time.Duration // how long it lasts; 0 for what does not
}

// kinds of happenings, and how long they last at most.
var kinds = map[string]time.Duration{
	"start": 0, "stop": 0, "kill": 0, // the machine of a slot
	"freeze": 40 * time.Second, "slow": 60 * time.Second, "away": 30 * time.Second, "flaky": 60 * time.Second,
	"pause": 30 * time.Second, "rewind": 0, "steal": 0, // a partition: by an operator, and by a process that nobody knows
	"grow": 0, "lead": 0, "coordinate": 0, // one more partition; another leader; another coordinator
}

func ofPartition(what string) bool {
	return slices.Contains([]string{"pause", "rewind", "steal", "lead"}, what)
}

func (h happening) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%v %s %d %v", h.at, h.what, h.to, h.last), " 0s")
}

// schedule is what happens in a group of some protocol.
type schedule struct {
	protocol Protocol
	seed     uint64 // of how long what takes
	all      []happening
}

func (s schedule) String() string {
	words := []string{fmt.Sprintf("%s %d", s.protocol, s.seed)}
	for _, h := range s.all {
		words = append(words, h.String())
	}
	return strings.Join(words, "; ")
}

// parseSchedule reads what String has written.
func parseSchedule(text string) (s schedule, err error) {
	for i, part := range strings.Split(text, ";") {
		fields := strings.Fields(part)
		if i == 0 && len(fields) == 2 {
			s.protocol = Protocol(fields[0])
			_, err = fmt.Sscan(fields[1], &s.seed)
		} else if len(fields) == 3 || len(fields) == 4 {
			h := happening{what: fields[1]}
			if h.at, err = time.ParseDuration(fields[0]); err == nil {
				_, err = fmt.Sscan(fields[2], &h.to)
			}
			if err == nil && len(fields) == 4 {
				h.last, err = time.ParseDuration(fields[3])
			}
			if _, known := kinds[h.what]; !known && err == nil {
				err = fmt.Errorf("nothing is called %q", h.what)
			}
			s.all = append(s.all, h)
		} else {
			err = fmt.Errorf("it has %d words", len(fields))
		}
		if err != nil {
			return s, fmt.Errorf("%q: %w", part, err)
		}
	}
	return s, nil
}

// draw makes a schedule of a seed.
func draw(protocol Protocol, seed uint64) schedule {
	random := rand.New(rand.NewPCG(seed, 1))
	s := schedule{protocol: protocol, seed: seed}
	often := []string{"start", "start", "start", "stop", "kill", "freeze", "freeze", "freeze", "slow", "away", "flaky", "pause", "rewind", "steal", "grow", "lead", "coordinate"}
	for at := time.Duration(0); at < virtualStorm; at += time.Duration(random.Int64N(int64(30 * time.Second))).Round(time.Millisecond) {
		h := happening{at: at, what: often[random.IntN(len(often))], to: random.IntN(virtualSlots)}
		if most := kinds[h.what]; most > 0 {
			h.last = time.Duration(random.Int64N(int64(most))).Round(time.Millisecond)
		}
		s.all = append(s.all, h)
	}
	return s
}

// world is Kafka, a database and machines, on a clock that runs when all of them wait.
type world struct {
	schedule
	network  kfake.VirtualNetwork
	cluster  *kfake.Cluster
	brokers  []string
	producer *kgo.Client
	db       *memory
	machines [virtualSlots]*machine // nil: none runs
	old      []*machine
	serial   int
}

// seen is what became of a schedule.
type seen struct {
	broken  []string
	virtual time.Duration
	commits int
	fences  int64
	logs    string
}

func (w *world) nameOf(i int) string { return fmt.Sprintf("process %d.%d", i, w.serial) }

// play has a schedule happen. All that it waits for, it waits for on virtual time.
func (s schedule) play(t *testing.T) (out seen) {
	synctest.Test(t, func(*testing.T) {
		began := time.Now()
		w := &world{schedule: s, db: newMemory()}
		if err := w.open(); err != nil {
			out.broken = append(out.broken, err.Error())
			return
		}
		producing, stop := context.WithCancel(context.Background())
		produced := make(chan struct{})
		go func() { defer close(produced); w.produce(producing) }()
		w.start(0)
		w.start(1)
		w.storm()
		stop()
		<-produced
		w.calm()
		w.close()
		out.virtual = time.Since(began).Round(time.Second)
		out.broken, out.commits = append(out.broken, w.db.broken...), w.db.commits
		for _, r := range w.db.rows {
			out.fences += r.FenceCount
		}
		var logs strings.Builder
		for _, m := range w.old {
			fmt.Fprintf(&logs, "%s:\n%s\n", m.name, m.log)
		}
		out.logs = logs.String()
	})
	return out
}

func (w *world) open() (err error) {
	w.cluster, err = kfake.NewCluster(kfake.NumBrokers(2), kfake.Ports(9092, 9093), kfake.ListenFn(w.network.Listen), kfake.ClusterID("test"),
		kfake.GroupMinSessionTimeout(time.Second), kfake.BrokerConfigs(map[string]string{
			"group.consumer.heartbeat.interval.ms": "3000", "group.consumer.session.timeout.ms": fmt.Sprint(virtualSession.Milliseconds()),
		}))
	if err != nil {
		return err
	}
	w.brokers = w.cluster.ListenAddrs()
	if err := w.cluster.CreateTopic(virtualTopic, virtualParts, nil); err != nil {
		return err
	}
	w.producer, err = kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.Dialer(w.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MetadataMinAge(100*time.Millisecond), kgo.DisableClientMetrics())
	return err
}

// produce appends some records now and then.
func (w *world) produce(ctx context.Context) {
	random := rand.New(rand.NewPCG(w.seed, 2))
	for rest(ctx, time.Duration(random.Int64N(int64(2*time.Second)))) {
		partition := random.Int32N(int32(len(w.cluster.PartitionInfos(virtualTopic))))
		for range 1 + random.IntN(20) {
			w.producer.Produce(ctx, &kgo.Record{Topic: virtualTopic, Partition: partition, Value: []byte("{}")}, nil)
		}
	}
	_ = w.producer.Flush(context.Background())
}

// storm has everything happen, each at its time.
func (w *world) storm() {
	began := time.Now()
	for _, h := range w.all {
		rest(context.Background(), time.Until(began.Add(h.at)))
		w.happen(h)
	}
	rest(context.Background(), time.Until(began.Add(virtualStorm)))
}

func (w *world) happen(h happening) {
	p := offsets.Partition{Topic: virtualTopic, Partition: int32(h.to)}
	m := w.machines[h.to]
	switch {
	case h.what == "start" && m == nil:
		w.start(h.to)
	case h.what == "pause":
		w.db.order(p, func(r *memoryRow) { r.Paused = true })
		time.AfterFunc(h.last, func() { w.db.order(p, func(r *memoryRow) { r.Paused = false }) })
	case h.what == "rewind":
		w.db.order(p, func(r *memoryRow) {
			r.Position = offsets.Position{Next: max(0, r.Position.Next-50), Epoch: -1}
			w.db.applied[p] = r.Position.Next
		})
	case h.what == "steal":
		w.db.mu.Lock()
		r := w.db.rows[p]
		w.db.mu.Unlock()
		if r != nil {
			w.db.claim(context.Background(), "a stranger", offsets.Want{Partition: p, TopicID: r.TopicID})
		}
	case h.what == "grow":
		_, _ = kadm.NewClient(w.producer).CreatePartitions(context.Background(), 1, virtualTopic)
		w.producer.ForceMetadataRefresh()
	case h.what == "lead":
		_ = w.cluster.MoveTopicPartition(virtualTopic, p.Partition, 1-w.cluster.LeaderFor(virtualTopic, p.Partition))
	case h.what == "coordinate":
		w.cluster.RehashCoordinators()
	case ofPartition(h.what) || m == nil:
	case h.what == "stop":
		w.retire(h.to)
	case h.what == "kill":
		m.gate.kill()
		w.retire(h.to)
	case h.what == "freeze":
		m.gate.freeze()
		time.AfterFunc(h.last, m.gate.thaw)
	default:
		m.weather(h.what, true)
		time.AfterFunc(h.last, func() { m.weather(h.what, false) })
	}
}

func (m *machine) weather(what string, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch what {
	case "slow":
		m.network = 0
		if on {
			m.network = 3 * time.Second
		}
	case "away":
		m.away = on
	case "flaky":
		m.flaky = on
	}
}

// retire stops the machine of a slot, which becomes free.
func (w *world) retire(i int) {
	m := w.machines[i]
	m.stop()
	w.old, w.machines[i] = append(w.old, m), nil
}

// calm waits until all is well again, as it has to be soon after the last thing happened: each partition runs in one process, whose the
// row is, and all of its records are written. Then nobody draws a fence any more.
func (w *world) calm() {
	for _, m := range w.machines {
		if m != nil {
			m.gate.thaw()
		}
	}
	if !slices.ContainsFunc(w.machines[:], func(m *machine) bool { return m != nil }) {
		w.start(0)
	}
	wrong := "nobody has looked"
	for until := time.Now().Add(virtualPatience); wrong != "" && time.Now().Before(until); rest(context.Background(), time.Second) {
		wrong = w.wrong()
	}
	before := w.fences()
	rest(context.Background(), time.Minute)
	w.db.mu.Lock()
	defer w.db.mu.Unlock()
	if wrong != "" {
		w.db.breaks("%v after the storm: %s", virtualPatience, wrong)
		return
	}
	now := int64(0)
	for _, r := range w.db.rows {
		now += r.FenceCount
	}
	if now != before {
		w.db.breaks("%d claims in a calm minute", now-before)
	}
}

func (w *world) fences() (n int64) {
	w.db.mu.Lock()
	defer w.db.mu.Unlock()
	for _, r := range w.db.rows {
		n += r.FenceCount
	}
	return n
}

// wrong says what is not well, "" if all is.
func (w *world) wrong() string {
	owners := map[offsets.Partition][]string{}
	for _, m := range w.machines {
		if m != nil {
			for _, s := range m.consumer.Status() {
				if s.State == Running {
					p := offsets.Partition{Topic: s.Topic, Partition: s.Partition}
					owners[p] = append(owners[p], m.name)
				}
			}
		}
	}
	w.db.mu.Lock()
	defer w.db.mu.Unlock()
	for _, info := range w.cluster.PartitionInfos(virtualTopic) {
		p := offsets.Partition{Topic: virtualTopic, Partition: info.Partition}
		switch r := w.db.rows[p]; {
		case r == nil:
			return fmt.Sprintf("%v has no row", p)
		case len(owners[p]) != 1 || owners[p][0] != r.Instance:
			return fmt.Sprintf("%v runs in %q, and its row names %s", p, owners[p], r.Instance)
		case r.Position.Next != info.HighWatermark || w.db.applied[p] != info.HighWatermark:
			return fmt.Sprintf("%v stands at %d, and its log ends at %d", p, r.Position.Next, info.HighWatermark)
		}
	}
	return ""
}

// close ends everything.
func (w *world) close() {
	for i, m := range w.machines {
		if m != nil {
			w.retire(i)
		}
	}
	for _, m := range w.old {
		<-m.done
	}
	w.producer.Close()
	w.cluster.Close()
}
