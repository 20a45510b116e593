package consumer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Consumer reads topics as a member of a group and hands the records to a sink.
type Consumer struct {
	cfg    Config
	ledger ledger
	sink   target
	log    *slog.Logger
	// until, noMirror, archive and schemas are those of wiring.Parts.
	until    map[offsets.Partition]int64
	noMirror bool
	archive  kafka.Archive
	// clientFix is what to correct where no Kafka client can be made of the configuration.
	clientFix string
	schemas   event.SchemaSource
	// lookInterval is the constant of the name, but in tests.
	lookInterval time.Duration

	mu     sync.Mutex
	held   map[offsets.Partition]bool // claimed at least once by this process (rule 7)
	member *member                    // the life at hand, for Status
	counts sink.Stats                 // what becomes of partitions

	signs signs // of life
}

// errRestart ends one life of the client and begins another.
var errRestart = errors.New("the client must start anew")

// Run reads and writes until ctx ends or, with UntilEnd, the end is reached.
// It then finishes the transactions in flight and leaves the group, within
// StopTimeout, and returns at its end even if a server answers nothing: what still
// runs then ends by itself within seconds. It returns nil after that; a *sink.ConfigError when a person has
// to act; with UntilEnd, the joined errors of the partitions that halted.
// Everything else is retried for as long as it takes.
func (c *Consumer) Run(ctx context.Context) error {
	defer c.sink.TellRest()
	c.signs.draining.Store(false)
	defer context.AfterFunc(ctx, func() { c.signs.draining.Store(true) })()
	var ends map[offsets.Partition]int64
	for {
		m := newMember(c)
		if err := m.open(); err != nil {
			return err
		}
		c.setMember(m)
		err := m.run(ctx, &ends)
		c.setMember(nil)
		if !errors.Is(err, errRestart) {
			return err
		}
		c.log.Info("reconnecting to Kafka: a topic was recreated")
	}
}

func (c *Consumer) wasHeld(p offsets.Partition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[p]
}

func (c *Consumer) setHeld(p offsets.Partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[p] = true
}

// clientOptions are those of the Kafka client that the protocol relies on.
func (m *member) clientOptions() []kgo.Opt {
	cfg := m.cfg
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(clientID),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Markers move the position over the end of a transaction: without them
		// the lag of a transactional topic never reaches zero.
		kgo.KeepControlRecords(),
		// The ledger says where to start. Should it ever not, starting at the
		// beginning is harmless and starting at the end is not.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		// An offset outside the log is an error here, never a silent reset.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// A partition that was claimed or rewound is fetched once the fetch in
		// progress is answered. On a quiet topic that is after this wait.
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchMaxBytes(2 << 20),
		kgo.FetchMaxPartitionBytes(512 << 10),
		kgo.MaxDecompressBatchBytes(cfg.MaxDecompressedBytes),
		kgo.WithDecompressor(m.decompressor),
		kgo.WithHooks(contact{&m.signs}),
	}
	if len(cfg.Assign) == 0 {
		opts = append(opts,
			kgo.ConsumerGroup(cfg.Group),
			kgo.ConsumeTopics(sortedTopics(cfg.Topics)...),
			kgo.DisableAutoCommit(),
			kgo.BlockRebalanceOnPoll(),
			kgo.SessionTimeout(cfg.SessionTimeout),
			kgo.AdjustFetchOffsetsFn(m.adjust),
			// It does nothing, and has to be there: only if there is such a callback does an assignment, as a
			// revocation does, wait until the poll loop allows a rebalance. So the hook above opens and claims
			// lanes after a turn of the loop, and what the turn has in its hands, records and claims, meets the lanes
			// it is meant for.
			kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {}),
			kgo.OnPartitionsRevoked(m.revoked),
			kgo.OnPartitionsLost(m.lost),
		)
		if cfg.SessionTimeout < 9*time.Second { // the client's interval is 3 s
			opts = append(opts, kgo.HeartbeatInterval(cfg.SessionTimeout/3))
		}
		switch cfg.Protocol {
		case Cooperative:
			opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
		case Eager:
			opts = append(opts, kgo.Balancers(kgo.StickyBalancer(), kgo.RangeBalancer()))
		case KIP848:
			opts = append(opts, kgo.ServerSideBalancer())
		}
		if cfg.InstanceID != "" {
			opts = append(opts, kgo.InstanceID(cfg.InstanceID))
		}
	}
	return append(opts, cfg.ClientOptions...)
}

func sortedTopics(topics map[string]Start) []string {
	names := make([]string, 0, len(topics))
	for t := range topics {
		names = append(names, t)
	}
	slices.Sort(names)
	return names
}
