package consumer

import (
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/sink"
)

// Config says what a Consumer reads and within which bounds.
type Config struct {
	// Brokers are the addresses the client starts from.
	Brokers []string
	// Group names the Kafka consumer group and, in the ledger, the sink group.
	Group string
	// InstanceID makes the member static (KIP-345). Empty: dynamic.
	InstanceID string
	// Protocol of the group: Cooperative (the default), Eager or KIP848.
	Protocol Protocol
	// Topics to read, each with where a partition without a position starts.
	Topics map[string]Start
	// Sink says what becomes of their records: tables, handlers or both. Its logger
	// defaults to Logger.
	Sink sink.Config
	// Registry has the schemas of records that only refer to them: those of Avro and Protobuf. Nil: there is none.
	Registry *Registry
	// Assign names partitions by hand: no group membership, no rebalances; Group
	// still names the ledger. Empty: the group assigns.
	Assign map[string][]int32
	// ClientOptions are added to the client's own: TLS, SASL, a dialer.
	ClientOptions []kgo.Opt
	// SessionTimeout after which the group takes a silent member's partitions.
	// Defaults to 45 s. KIP-848 groups have it on the broker.
	SessionTimeout time.Duration
	// RebalanceGrace is how long a revocation waits for a running transaction
	// before it cancels it. Defaults to 5 s.
	RebalanceGrace time.Duration
	// Writers is how many transactions run at a time, each for other partitions.
	// Defaults to 2.
	Writers int
	// MaxBatchRecords and MaxBatchBytes bound one transaction. Default to 10,000
	// records and 8 MiB.
	MaxBatchRecords int
	MaxBatchBytes   int
	// BufferBytes bounds the records held in memory beyond the client's own
	// fetch buffers. Defaults to 16 MiB.
	BufferBytes int64
	// MaxDecompressedBytes bounds what one batch of the log becomes when it is decompressed, and what all those of one broker
	// become that are fetched between two polls: a batch that comes too late for it is fetched again. A partition with a larger
	// one halts. Defaults to 64 MiB; at most 2 GiB - 1.
	MaxDecompressedBytes int
	// UntilEnd stops at the end that the topics had at the start.
	UntilEnd bool
	// StopTimeout bounds a graceful stop. Defaults to 20 s.
	StopTimeout time.Duration
	// OnHalt, if not nil, is called once for each partition that halts, when it halts, with what Status says of it:
	// for a page or a metric. The partition's position stays, the others go on. It runs in a goroutine of its
	// own, without any lock, so that it holds up nothing; several may run at the same time. Run waits for them when it ends,
	// within StopTimeout. An error that ends the run is no halt: Run returns it.
	OnHalt func(PartitionStatus)
	// Observer is told what becomes of partitions; nil: nobody is.
	Observer *Observer
	// Logger; nil discards.
	Logger *slog.Logger
}

// Protocol is how the group agrees who reads what.
type Protocol string

// The protocols.
const (
	Cooperative Protocol = "cooperative" // classic group, incremental rebalances
	Eager       Protocol = "eager"       // classic group, stop-the-world rebalances
	KIP848      Protocol = "consumer"    // assigned by the broker (KIP-848)
)

// Start says where a partition that has no position begins. It is resolved
// once, for all partitions of the topic, and stored before the first fetch. A
// partition that is added to a known topic later begins at its beginning.
type Start struct {
	At   StartAt
	Time time.Time // for Timestamp
}

// StartAt is a kind of Start.
type StartAt uint8

// Where to start.
const (
	Earliest  StartAt = iota // the oldest record that is still there
	Latest                   // only what comes from now on
	Timestamp                // the first record at or after Start.Time
	Committed                // where the Kafka group of the same name stands
)

func (c Config) withDefaults() Config {
	def(&c.Protocol, Cooperative)
	def(&c.SessionTimeout, 45*time.Second)
	def(&c.RebalanceGrace, 5*time.Second)
	def(&c.Writers, 2)
	def(&c.MaxBatchRecords, 10_000)
	def(&c.MaxBatchBytes, 8<<20)
	def(&c.BufferBytes, wiring.BufferBytes)
	def(&c.MaxDecompressedBytes, 64<<20)
	def(&c.StopTimeout, 20*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Sink.Logger == nil {
		c.Sink.Logger = c.Logger
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
