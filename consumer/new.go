package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// askTimeout bounds how long New waits for a broker.
const askTimeout = 30 * time.Second

// New returns a consumer that writes to the pool's database what cfg.Sink says. It asks the brokers for the id of
// their cluster, reads the tables from the catalog and checks the configuration against them; it joins no
// group and changes nothing.
//
// What is wrong with the configuration comes back as joined *[sink.ConfigError]s; [offsets.ErrNoLedger], if the database
// has not seen [Init]. Any other error is one of a server that can't be reached: of the brokers after 30 s, or when ctx
// ends, of PostgreSQL by the pool's own time-outs. Nothing is kept of a call that failed: try again.
//
// # The pool
//
// [offsets.NewPool] makes one that needs no further thought. A program's own pool does as well: each transaction sets what
// gives a value its meaning (time zone, search path, encoding, time-outs), whatever the pool's connections have,
// and leaves none of it behind. The pool has to lead to a server that accepts writes, also through PgBouncer in transaction mode, and to have connections for
// Config.Writers and two more; those that handlers take beside their transaction come on top. Two things are only had with
// NewPool's settings, or with the same ones: a machine that vanishes without a word is noticed within half a minute, where
// TCP's defaults take hours, in which its partitions wait; and a process is seen as alive between its transactions,
// by `oncesink status` and by who shares a partition with it in Config.Assign, if the pool's application_name is
// "oncesink NAME", with another NAME for each process. Where the pool has a BeforeConnect, what the server lets it in by is taken to
// change: that a password is refused later on, after New, is tried again and does not end Run. The consumer doesn't close the pool: do so after Run has returned.
func New(ctx context.Context, pool *pgxpool.Pool, cfg Config) (c *Consumer, err error) {
	defer func() { err = explain(pool, err) }()
	cfg = cfg.withDefaults()
	problems := append(cfg.problems(), cfg.feeding()...)
	if pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		problems = append(problems, &sink.ConfigError{Problem: "the pool sends parameters by the simple protocol", Fix: "use default_query_exec_mode=cache_describe or exec, which PgBouncer takes as well"})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if err := withConn(ctx, pool, func(conn *pgx.Conn) error { return offsets.Check(ctx, conn) }); err != nil {
		return nil, err
	}
	cluster, err := clusterID(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	s, err := engine.Open(ctx, pool, nil, cfg.Sink)
	if err != nil {
		return nil, err
	}
	ledger := offsets.New(pool, cfg.Group, offsets.Options{
		ClusterID: cluster, Mappings: s.Mappings(), ReplayRefused: s.ReplayRefused(), Logger: cfg.Logger,
	})
	c, err = NewWith(cfg, wiring.Parts{Ledger: ledger, Engine: s.Rotating(pool.Config().BeforeConnect != nil).WithLedger(ledger)})
	if err == nil {
		c.clientFix = optionsFix
	}
	return c, err
}

// NewWith is New for oncesink's own commands, which make the parts themselves: no other module can name them.
// Config.Sink is not looked at. It does not connect.
func NewWith(cfg Config, parts wiring.Parts) (*Consumer, error) {
	cfg = cfg.withDefaults()
	problems := cfg.problems()
	if l := parts.Ledger; l != nil && l.Group() != cfg.Group {
		problems = append(problems, &sink.ConfigError{Problem: fmt.Sprintf("the ledger is that of group %q, the consumer's group is %q", l.Group(), cfg.Group)})
	}
	for p := range parts.Until {
		if !slices.Contains(cfg.Assign[p.Topic], p.Partition) {
			problems = append(problems, &sink.ConfigError{Problem: p.String() + " is bounded, but it is not assigned by hand"})
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if parts.Schemas == nil && cfg.Registry != nil {
		g, err := cfg.NewRegistry(parts.Engine.Pool())
		if err != nil {
			return nil, err
		}
		if beside, ok := parts.Archive.(event.SchemaSource); ok {
			g.Beside(beside)
		}
		parts.Schemas = g
	}
	c := &Consumer{
		cfg: cfg, clientFix: wiring.KafkaSection, ledger: parts.Ledger, sink: parts.Engine, log: cfg.Logger, until: parts.Until, noMirror: parts.NoMirror, archive: parts.Archive, schemas: parts.Schemas,
		held: map[offsets.Partition]bool{}, lookInterval: lookInterval, signs: signs{began: time.Now()},
	}
	if parts.Look != nil {
		*parts.Look = c.look
	}
	return c, nil
}

// problems are what is wrong with the configuration by itself.
func (c *Config) problems() (problems []error) {
	problem := func(format string, args ...any) {
		problems = append(problems, &sink.ConfigError{Problem: fmt.Sprintf(format, args...)})
	}
	if len(c.Brokers) == 0 {
		problem("no Kafka brokers are named")
	}
	if c.Group == "" {
		problem("the group has no name")
	}
	if len(c.Topics) == 0 {
		problem("no topics are named")
	}
	for topic := range c.Assign {
		if _, ok := c.Topics[topic]; !ok {
			problem("partitions of topic %q are assigned, but the topic is not read", topic)
		}
	}
	if !slices.Contains([]Protocol{Cooperative, Eager, KIP848}, c.Protocol) {
		problem("unknown group protocol %q: use %s, %s or %s", c.Protocol, Cooperative, Eager, KIP848)
	}
	if c.Writers < 1 || c.MaxBatchRecords < 1 || c.MaxBatchBytes < 1 {
		problem("writers and batch limits must be at least 1")
	}
	if c.MaxDecompressedBytes < 1 || c.MaxDecompressedBytes > math.MaxInt32 {
		problem("MaxDecompressedBytes must lie between 1 and 2 GiB - 1")
	}
	return problems
}

// feeding finds topics that are read and go nowhere, and tables that wait for topics nobody reads.
func (c *Config) feeding() (problems []error) {
	problem := func(fix, format string, args ...any) {
		problems = append(problems, &sink.ConfigError{Problem: fmt.Sprintf(format, args...), Fix: fix})
	}
	fed := map[string]bool{}
	for _, t := range c.Sink.Tables {
		for _, topic := range t.Topics {
			fed[topic] = true
			if _, ok := c.Topics[topic]; !ok {
				problem("add it to Config.Topics", "table %s is fed by topic %q, which is not read", t.Name, topic)
			}
		}
	}
	switch {
	case len(c.Sink.Handlers) > 0: // any of them may want it
	case len(fed) == 0:
		problem("give it tables, handlers or both", "Config.Sink writes nothing")
	default:
		for _, topic := range slices.Sorted(maps.Keys(c.Topics)) {
			if !fed[topic] {
				problem("remove it from Config.Topics, or name it in a table's Topics", "topic %q feeds no table", topic)
			}
		}
	}
	return problems
}

// clusterID asks the brokers whose offsets they count: a ledger of another cluster's is refused by the first claim.
func clusterID(ctx context.Context, cfg *Config) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	left := max(time.Until(deadline), time.Millisecond)
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID(clientID), kgo.RetryTimeout(left),
		// A handshake goes by these, not by the request's context.
		kgo.DialTimeout(left), kgo.RequestTimeoutOverhead(left),
	}, cfg.ClientOptions...)...)
	if err != nil {
		return "", clientError(err, optionsFix)
	}
	defer client.Close()
	meta, err := kadm.NewClient(client).BrokerMetadata(ctx)
	if err != nil {
		return "", fmt.Errorf("ask the brokers (%s) which cluster they are: %w: see that Kafka runs and that Config.Brokers and Config.ClientOptions lead to it",
			strings.Join(cfg.Brokers, ", "), err)
	}
	return meta.Cluster, nil
}

// clientID is how the brokers know this program's connections.
const clientID = "oncesink"

// optionsFix is what a program corrects where its options make no client; who has a configuration file has no options.
const optionsFix = "correct Config.Brokers or Config.ClientOptions"

// clientError is the error of options that make no client.
func clientError(err error, fix string) error {
	return &sink.ConfigError{Problem: fmt.Sprintf("set up the Kafka client: %v", err), Fix: fix}
}
