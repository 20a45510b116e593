package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/torture/checker"
	"github.com/oncesink/oncesink/internal/torture/wire"
)

// patience bounds every wait: that of a group for a session that ended, and that of a loaded machine.
const patience = 120 * time.Second

// sessionTimeout of the group's members. The cluster sets that of the new protocol, which is 6 s.
const sessionTimeout = 3 * time.Second

// setup is what differs between rows.
type setup struct {
	kafka      *cluster // default: the shared one
	url        string   // of a database that is there; default: a new one of the shared server
	partitions int32    // default 3
	topic      []string // settings
	tables     string   // default: latest and events
	ddl        string   // beside the checker's tables
	protocol   string
	kafkaYAML  string // more keys of kafka:
	pgYAML     string // more keys of postgres:
	yaml       string // more sections
	batch      int    // records of a transaction; default 100
	keys       int64  // default 50
	noReads    bool   // readers may see a row vanish: the database itself goes back
}

// rig is one row that is being played.
type rig struct {
	*testing.T
	setup
	w    *world
	row  row
	rnd  *rand.Rand
	dir  string
	name string // of topic and group
	pg   *wire.Proxy
	db   *pgxpool.Pool // past the wire
	res  *result

	nothingTwice bool          // no row may be written twice, or rolled back
	readEvery    time.Duration // default 40 ms
	adm          *kadm.Client

	rules   checker.Rules
	history *checker.History
	began   time.Time
	client  *kgo.Client

	mu             sync.Mutex // below
	version        int64
	last           map[int32]int64 // offset that was acknowledged last, by partition
	failed         error
	sent, answered int // events that were produced, and of which it is known what became of them

	stops []func() // of what runs in the background
	sinks []*process
}

func newRig(t *testing.T, w *world, x row, seed uint64) *rig {
	return &rig{T: t, w: w, row: x, rnd: rand.New(rand.NewPCG(seed, uint64(x.n))), last: map[int32]int64{}, began: time.Now(),
		res: &result{Row: x.n, Name: x.name, Fired: map[string]int{}}}
}

// begin makes topic, database and configuration.
func (r *rig) begin(s setup) {
	r.Helper()
	r.setup = s
	r.dir = filepath.Join(r.w.dir, fmt.Sprintf("row%02d", r.row.n))
	r.must(os.RemoveAll(r.dir))
	r.must(os.MkdirAll(r.dir, 0o755))
	if r.kafka == nil {
		r.kafka = r.w.shared(r.T)
	}
	if r.partitions == 0 {
		r.partitions = 3
	}
	if r.batch == 0 {
		r.batch = 100
	}
	if r.keys == 0 {
		r.keys = 50
	}
	r.name = r.kafka.CreateTopic(r.T, "torture", r.partitions, r.topic...)
	if r.url == "" {
		r.url = testpg.URL(r.T)
	}
	u, err := url.Parse(r.url)
	r.must(err)
	r.pg, err = wire.Listen(u.Host)
	r.must(err)
	r.Cleanup(func() { _ = r.pg.Close() })
	r.db, err = pgxpool.New(context.Background(), r.url)
	r.must(err)
	r.Cleanup(r.db.Close)
	r.must(r.db.QueryRow(context.Background(), "select split_part(current_setting('server_version'), ' ', 1)").Scan(&r.w.postgresql))
	r.exec(checker.Tables + r.ddl)
	r.history, err = checker.Create(r.historyPath())
	r.must(err)
	r.producer()
	r.Cleanup(r.stopAll)
	r.run("init", "-c", r.config("", ""))
	r.began = time.Now()
	if !r.noReads {
		r.background(r.reader)
	}
}

func (r *rig) historyPath() string { return filepath.Join(r.dir, "history.jsonl") }

const bothTables = `
  - {name: latest, topic: TOPIC, key: [id], version: version, record_key: {id: $key}, columns: {p: $partition, o: $offset}}
  - {name: events, topic: TOPIC, strategy: append, guard: none, tombstones: ignore, columns: {topic: $topic, p: $partition, o: $offset}}`

const guardedTable = `
  - {name: latest, topic: TOPIC, key: [id], version: version, record_key: {id: $key}, columns: {p: $partition, o: $offset}}`

// sinkURL is the database's by the wire, or another.
func (r *rig) sinkURL() string {
	u, err := url.Parse(r.url)
	r.must(err)
	u.Host = r.pg.Addr()
	return u.String()
}

// config writes a configuration: kafkaYAML and pgYAML are added to what the setup has.
func (r *rig) config(kafkaYAML, pgYAML string) (path string) {
	return r.configAt(r.sinkURL(), kafkaYAML, pgYAML)
}

func (r *rig) configAt(url, kafkaYAML, pgYAML string) (path string) {
	r.Helper()
	f, err := os.CreateTemp(r.dir, "*.yaml")
	r.must(err)
	brokers := "["
	for _, b := range r.kafka.Fronts {
		brokers += fmt.Sprintf("%q,", b)
	}
	tables := r.tables
	if tables == "" {
		tables = bothTables
	}
	protocol := ""
	if r.protocol != "" {
		protocol = "\n  protocol: " + r.protocol
	}
	if r.protocol != "consumer" {
		protocol += "\n  session_timeout: " + sessionTimeout.String()
	}
	_, err = fmt.Fprintf(f, `kafka:
  brokers: %s]
  group: %s%s%s%s
postgres:
  url: %q%s%s
  idle_timeout: 4s
admin: {listen: "127.0.0.1:0"}
limits: {batch_records: %d}
%s
tables:%s
`, brokers, r.name, protocol, indent(r.kafkaYAML), indent(kafkaYAML), url, indent(r.pgYAML), indent(pgYAML), r.batch, r.yaml, replace(tables, r.name))
	r.must(errors.Join(err, f.Close()))
	return f.Name()
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) exec(sql string) {
	r.Helper()
	_, err := r.db.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	r.must(err)
}

// number is what a query says, past the wire.
func (r *rig) number(sql string, args ...any) (n int64) {
	r.Helper()
	r.must(r.db.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// eventually waits for a condition.
func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	testenv.Eventually(r.T, patience, what, ok)
}

// fired counts a fault that has shown itself.
func (r *rig) fired(what string, n int) {
	if n > 0 {
		r.res.Fired[what] += n
	}
}

// background runs f until the row ends or its stop is called.
func (r *rig) background(f func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	r.stops = append(r.stops, stop)
	return stop
}

// rest ends what runs in the background.
func (r *rig) rest() {
	for _, stop := range r.stops {
		stop()
	}
	r.stops = nil
}

// stopAll ends everything.
func (r *rig) stopAll() {
	r.rest()
	for _, p := range r.sinks {
		p.kill()
	}
	r.client.Close()
	_ = r.history.Close()
}

// pause waits for a time of the row's own: how long a fault lasts.
func (r *rig) pause(d time.Duration) { <-time.After(d) }

// between is a random time.
func (r *rig) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rnd.Int64N(int64(most-least)))
}
