package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// door is a configuration for New in a rig's world.
func (r *rig) door() Config {
	return Config{Brokers: r.brokers, Group: group, Topics: map[string]Start{r.topic: {}}, UntilEnd: true, Sink: r.sinkConfig()}
}

// New makes everything of the configuration: the ledger knows the cluster, the mapping and whether a replay is safe.
func TestNew(t *testing.T) {
	r := newRig(t, testkafka.Fake(t, kfake.ClusterID("cluster-a")).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.produce(1, 10, 10)
	cfg := r.door()
	cfg.Sink.HandlersReplaySafe = false
	c, err := New(t.Context(), r.pool, cfg)
	r.must(err)
	r.must(c.Run(t.Context()))
	r.verify(map[int32]int64{0: 10, 1: 10})
	if n := r.queryInt(`select count(*) from oncesink.offsets where cluster_id = 'cluster-a' and replay_refused like '%handler%'`); n != 2 {
		t.Errorf("%d rows have the cluster and the refusal", n)
	}
	if n := r.queryInt(`select count(*) from oncesink.mappings where sink_group = $1 and target = 'public.events'`, group); n != 2 {
		t.Errorf("%d mappings", n)
	}
	// Another mapping ends the run, until somebody accepts it.
	cfg.Sink.Tables[0].Guard = "none"
	var config *sink.ConfigError
	c, err = New(t.Context(), r.pool, cfg)
	r.must(err)
	if err := c.Run(t.Context()); !errors.As(err, &config) || !strings.Contains(err.Error(), "public.events") {
		t.Errorf("another mapping: %v", err)
	}
	r.must(AcceptMapping(t.Context(), r.pool, cfg))
	c, err = New(t.Context(), r.pool, cfg)
	r.must(err)
	r.must(c.Run(t.Context()))
	// Other brokers count other offsets.
	r.brokers = testkafka.Fake(t, kfake.ClusterID("cluster-b"), kfake.SeedTopics(2, "orders")).ListenAddrs()
	cfg.Brokers = r.brokers
	c, err = New(t.Context(), r.pool, cfg)
	r.must(err)
	var cluster *offsets.ClusterChangedError
	if err := c.Run(t.Context()); !errors.As(err, &cluster) || cluster.Is != "cluster-b" {
		t.Errorf("another cluster: %v", err)
	}
}

// What New can't work with it says at once, with what to do.
func TestNewRefuses(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	empty, err := pgxpool.New(t.Context(), testpg.URL(t))
	r.must(err)
	defer empty.Close()
	simple, err := pgxpool.New(t.Context(), r.url+"&default_query_exec_mode=simple_protocol")
	r.must(err)
	defer simple.Close()
	for name, c := range map[string]struct {
		pool   *pgxpool.Pool
		change func(*Config)
		want   []string
	}{
		"a table's topic that is not read": {r.pool, func(c *Config) { c.Topics = map[string]Start{"others": {}} },
			[]string{`table events is fed by topic "orders", which is not read: add it to Config.Topics`}},
		"a topic that feeds nothing": {r.pool, func(c *Config) { c.Sink.Handlers = nil; c.Topics["others"] = Start{} },
			[]string{`topic "others" feeds no table`}},
		"nothing to write": {r.pool, func(c *Config) { c.Sink = sink.Config{} }, []string{"writes nothing: give it tables, handlers or both"}},
		"no group":         {r.pool, func(c *Config) { c.Group = "" }, []string{"the group has no name"}},
		"no table":         {r.pool, func(c *Config) { c.Sink.Tables[0].Name = "nowhere" }, []string{"nowhere does not exist"}},
		"no broker": {r.pool, func(c *Config) { c.Brokers = []string{"localhost:1"} },
			[]string{"ask the brokers (localhost:1) which cluster they are: ", "see that Kafka runs"}},
		"simple protocol": {simple, func(*Config) {}, []string{"the pool sends parameters by the simple protocol: "}},
		"no ledger":       {empty, func(*Config) {}, []string{offsets.ErrNoLedger.Error()}},
	} {
		cfg := r.door()
		c.change(&cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := New(ctx, c.pool, cfg)
		cancel()
		if err == nil {
			t.Errorf("%s: it is accepted", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", name, err, want)
			}
		}
		var config *sink.ConfigError
		if environment := name == "no broker" || name == "no ledger"; errors.As(err, &config) == environment {
			t.Errorf("%s: %T %v", name, err, err)
		}
	}
}

// Options that make no client are the program's, which reads of them where it has them; who has a configuration file reads of that.
func TestClientThatCantBe(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	const options, file = "correct Config.Brokers or Config.ClientOptions", "correct the kafka section of the configuration"
	fix := func(err error) string {
		t.Helper()
		var config *sink.ConfigError
		if !errors.As(err, &config) || !strings.Contains(config.Problem, "set up the Kafka client") {
			t.Fatalf("got %v, want a client that can't be set up", err)
		}
		return config.Fix
	}
	none, member := r.door(), r.door()
	none.ClientOptions = append(none.ClientOptions, kgo.RequiredAcks(kgo.NoAck()))
	if _, err := New(t.Context(), r.pool, none); fix(err) != options {
		t.Errorf("New: got %v", err)
	}
	// A client for the question whose brokers these are can be made of these, and none that is a member of a group.
	member.ClientOptions = append(member.ClientOptions, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {0: kgo.NewOffset()}}))
	c, err := New(t.Context(), r.pool, member)
	r.must(err)
	if err := c.Run(t.Context()); fix(err) != options {
		t.Errorf("Run: got %v", err)
	}
	c, err = NewWith(member, wiring.Parts{Ledger: c.ledger.(*offsets.Ledger), Engine: c.sink.(*engine.Sink)})
	r.must(err)
	if err := c.Run(t.Context()); fix(err) != file {
		t.Errorf("Run of the command: got %v", err)
	}
}

// Init makes what a consumer needs, or nothing at all; again it changes nothing, and what InitSQL prints does the same.
func TestInit(t *testing.T) {
	url := testpg.URL(t)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	one := func(sql string) (s string) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), sql).Scan(&s); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return s
	}
	table := sink.TableConfig{Name: "events", Topics: []string{"o"}, Key: []string{"id"}, Create: "create table events (id bigint primary key, v text)"}
	wrong := table
	wrong.Key = []string{"v"}
	var config *sink.ConfigError
	if err := Init(t.Context(), pool, sink.Config{Tables: []sink.TableConfig{wrong}}); !errors.As(err, &config) {
		t.Errorf("a key without a unique index: %v", err)
	}
	if got := one(`select coalesce(to_regnamespace('oncesink')::text, 'nothing')`); got != "nothing" {
		t.Errorf("it made %s nevertheless", got)
	}
	for range 2 { // handlers alone, then a table
		if err := Init(t.Context(), pool, sink.Config{}); err != nil {
			t.Fatal(err)
		}
		if got := one(`select count(*)::text from oncesink.dead_letters, oncesink.offsets`); got != "0" {
			t.Error(got)
		}
	}
	cfg := sink.Config{Tables: []sink.TableConfig{table}}
	state := func() string {
		return one(`select string_agg(format('%s.%s %s', c.relnamespace::regnamespace, c.relname, a.attname), ' ' order by c.relname, a.attnum)
			from pg_class c join pg_attribute a on a.attrelid = c.oid
			where c.relnamespace in ('oncesink'::regnamespace, 'public'::regnamespace) and not a.attisdropped and a.attnum > 0`)
	}
	for range 2 {
		if err := Init(t.Context(), pool, cfg); err != nil {
			t.Fatal(err)
		}
	}
	made := state()
	if !strings.Contains(made, "public.events _oncesink_offset") {
		t.Errorf("made %s", made)
	}
	if _, err := pool.Exec(t.Context(), "drop table events; drop schema oncesink cascade"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), InitSQL(cfg, "")); err != nil {
		t.Fatal(err)
	}
	if got := state(); got != made {
		t.Errorf("InitSQL makes\n%s\nInit\n%s", got, made)
	}
}

// A pool of a program's own may have any settings: what a value means, how often it is written and what a claim does is
// the same.
func TestNewWithAPoolOfItsOwn(t *testing.T) {
	for name, settings := range map[string]string{
		"settings": "application_name=shop&timezone=Asia/Kolkata&datestyle=German&intervalstyle=sql_standard&search_path=nowhere&" +
			"extra_float_digits=-15&synchronous_commit=off&lock_timeout=1ms",
		"isolation":        "default_transaction_isolation=serializable",
		"one connection":   "pool_max_conns=1",
		"unnamed":          "default_query_exec_mode=exec",
		"cached statement": "default_query_exec_mode=cache_statement",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
			r.exec(`create table kinds (id bigint primary key, at timestamptz, day date, every interval, x float8)`)
			for i := range 200 {
				r.must(r.client.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Partition: int32(i % 2), Value: fmt.Appendf(nil,
					`{"id": %d, "v": "a", "at": "2026-01-02 03:04:05", "day": "03/02/2026", "every": "1-2", "x": 0.1}`, i)}).FirstErr())
			}
			cfg := r.door()
			cfg.MaxBatchRecords = 30
			cfg.Sink.Tables = append(cfg.Sink.Tables, sink.TableConfig{Name: "kinds", Topics: []string{r.topic}, Key: []string{"id"}})
			pool, err := pgxpool.New(t.Context(), r.url+"&"+settings)
			r.must(err)
			defer pool.Close()
			r.must(Init(t.Context(), pool, cfg.Sink))
			c, err := New(t.Context(), pool, cfg)
			r.must(err)
			r.must(c.Run(t.Context()))
			r.verify(map[int32]int64{0: 100, 1: 100})
			if n := r.queryInt(`select count(*) from kinds where (at, day, every, x) = ('2026-01-02 03:04:05+00', '2026-03-02', '14 months', 0.1)`); n != 200 {
				t.Errorf("%d of 200 rows mean what they say", n)
			}
			// A claim of its own, over a position that is there.
			c, err = New(t.Context(), pool, cfg)
			r.must(err)
			r.must(c.Run(t.Context()))
			if n := r.queryInt(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'oncesink%'`); n != 0 {
				t.Errorf("%d sessions keep the name of a transaction", n)
			}
		})
	}
}

// A pool with a BeforeConnect is one whose credentials change: that they are refused, or can't be had, passes. Without one it ends the run.
func TestRefusedCredentialsPass(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]error{
		"refused": &pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "28P01", Message: "password authentication failed"},
		"not had": errors.New("the store of secrets is away"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
			var refuse atomic.Bool
			var asked atomic.Int32
			pool, _, err := offsets.NewPool(t.Context(), r.url, 8, func(cfg *pgxpool.Config) {
				cfg.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
					if refuse.Load() {
						asked.Add(1)
						return why
					}
					return nil
				}
			})
			r.must(err)
			defer pool.Close()
			cfg := r.door()
			cfg.UntilEnd = false
			c, err := New(t.Context(), pool, cfg)
			r.must(err)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			r.produce(0, 0, 10)
			eventually(t, "the first are written", func() bool { return r.queryInt(`select count(*) from events`) == 10 })
			refuse.Store(true)
			pool.Reset()
			r.produce(0, 10, 10)
			eventually(t, "it tries again", func() bool { return asked.Load() > 5 || len(ended) > 0 })
			refuse.Store(false)
			eventually(t, "all are written", func() bool { return r.queryInt(`select count(*) from events`) == 20 || len(ended) > 0 })
			stop()
			r.must(<-ended)
			r.verify(map[int32]int64{0: 20})
		})
	}
}
