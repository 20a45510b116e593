//go:build debezium

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// debeziumTimeout bounds each wait: Kafka Connect takes half a minute to start where others have the processors.
const debeziumTimeout = 4 * time.Minute

// mirror is a database that one oncesink makes like the source, and how.
type mirror struct {
	*testpg.Database
	name      string
	prefix    string // of the topics
	config    string
	columns   []column
	compacted bool // rebuild has to be told that a compacted topic is all right: the table has a version
	strays    string
	proc      *process
}

// replica is the whole of it: a source, Debezium, Kafka, and what is made of it.
type replica struct {
	t       *testing.T
	kafka   *testkafka.RealCluster
	server  *testpg.Server
	source  *testpg.Database
	connect *connect
	dml     *dml
	mirrors []*mirror
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := &replica{t: t, kafka: testkafka.Real(t), server: testpg.Start(t, "wal_level=logical", "max_replication_slots=16", "max_wal_senders=16")}
	r.source = testpg.Open(t, r.server.URL(), tables(columns, true)...)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r.source.Do(fmt.Sprintf("select setseed(%f)", rnd.Float64()))
	r.dml = &dml{db: r.source, rnd: rnd, keys: 40}
	r.connect = newConnect(t, r.kafka, r.server.URL())
	return r
}

// topics makes a connector and its topics, of several partitions, with one of Debezium's settings or more.
func (r *replica) topics(base string, settings map[string]string) (prefix string) {
	r.t.Helper()
	prefix = r.kafka.Name(base)
	for _, table := range []string{"items", "pairs"} {
		r.kafka.CreateTopicAgain(r.t, prefix+".public."+table, 3)
	}
	r.connect.add(prefix, settings)
	return prefix
}

// mirror makes a database of its own and the configuration of an oncesink that fills it. entry is what it says of each topic, extra of each table.
func (r *replica) mirror(name, prefix, entry, extra, strays string, columns []column, more ...string) *mirror {
	r.t.Helper()
	r.source.Do("create database " + name)
	url := strings.Replace(r.server.URL(), "/postgres?", "/"+name+"?", 1)
	m := &mirror{Database: testpg.Open(r.t, url, append(tables(columns, false), more...)...), name: name, prefix: prefix, columns: columns, strays: strays}
	m.config = filepath.Join(r.t.TempDir(), name+".yaml")
	text := strings.NewReplacer("BROKERS", strings.Join(r.kafka.Brokers, `", "`), "PREFIX", prefix, "NAME", name, "URL", url, "TOPIC", entry, "TABLE\n", extra).Replace(`
kafka: {brokers: ["BROKERS"], group: PREFIX-NAME, session_timeout: 6s}
postgres: {url: "URL"}
topics:
  PREFIX.public.items: TOPIC
  PREFIX.public.pairs: TOPIC
tables:
  - name: items
    topic: PREFIX.public.items
    key: [id]
TABLE
  - name: pairs
    topic: PREFIX.public.pairs
    key: [a, b]
`)
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	m.run("init")
	r.mirrors = append(r.mirrors, m)
	return m
}

func (m *mirror) command(args ...string) *exec.Cmd {
	return exec.Command(binary(m.T.(*testing.T)), append(args, "--config", m.config)...)
}

func (m *mirror) run(args ...string) string {
	m.T.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		config, _ := os.ReadFile(m.config)
		m.T.Fatalf("%s: oncesink %s: %v\n%s\n%s", m.name, strings.Join(args, " "), err, out, config)
	}
	return string(out)
}

func (m *mirror) start() { m.proc = start(m.T.(*testing.T), m.command("run")) }

func (m *mirror) stop(how syscall.Signal) {
	m.T.Helper()
	if err := m.proc.Process.Signal(how); err != nil {
		m.T.Fatal(err)
	}
	<-m.proc.done
}

// rows are those of a table, each with short digests of its columns.
func rows(db *testpg.Database, columns []column) string {
	db.T.Helper()
	digests := []string{"id"}
	for _, c := range columns {
		expression := c.compare
		if expression == "" {
			expression = c.name
		}
		digests = append(digests, "left(md5(("+expression+")::text), 6)")
	}
	return db.Lines("select "+strings.Join(digests, ", ")+" from items order by 1") + "\n" + db.Lines("select a, b, n, md5(note) from pairs order by 1, 2")
}

// difference says where the mirror is not as the source is; empty: nowhere.
func (r *replica) difference(m *mirror) string {
	r.t.Helper()
	source, target := strings.Split(rows(r.source, m.columns), "\n"), strings.Split(rows(m.Database, m.columns), "\n")
	for i := range max(len(source), len(target)) {
		switch {
		case i >= len(source):
			return "the target has more: " + target[i]
		case i >= len(target):
			return "the target lacks " + source[i]
		case source[i] != target[i]:
			a, b := strings.Split(source[i], "|"), strings.Split(target[i], "|")
			if len(a) == len(m.columns)+1 && len(b) == len(a) && a[0] == b[0] {
				for n, c := range m.columns {
					if a[n+1] != b[n+1] {
						query := "select left((" + c.name + ")::text, 60) from items where id = " + a[0]
						return fmt.Sprintf("row %s: %s is %s, at the source %s", a[0], c.name, m.Lines(query), r.source.Lines(query))
					}
				}
			}
			return fmt.Sprintf("%s, at the source %s", target[i], source[i])
		}
	}
	return ""
}

// same waits until all mirrors are as the source is.
func (r *replica) same(when string) {
	r.t.Helper()
	for _, m := range r.mirrors {
		var last string
		defer func() {
			if last != "" {
				r.t.Logf("%s, %s: %s; dead letters: %s", m.name, when, last, m.Lines(`select topic, partition, "offset", code, column_name from oncesink.dead_letters limit 5`))
			}
		}()
		within(r.t, debeziumTimeout, m.name+" is as the source, "+when, func() bool {
			last = r.difference(m)
			return last == ""
		})
	}
}

// log reads all records of a topic that are there now.
func (r *replica) log(topic string) (records []*kgo.Record) {
	r.t.Helper()
	client := r.kafka.Client(r.t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), debeziumTimeout)
	defer cancel()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	behind := map[int32]bool{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			behind[o.Partition] = true
		}
	})
	for len(behind) > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			r.t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			records = append(records, rec)
			if end, _ := ends.Lookup(topic, rec.Partition); rec.Offset >= end.Offset-1 {
				delete(behind, rec.Partition)
			}
		})
	}
	return records
}

// repeated counts events that were sent more than once, and withheld those that lack a value.
func repeated(t *testing.T, records []*kgo.Record) (again, withheld int) {
	t.Helper()
	seen := map[string]bool{}
	for _, rec := range records {
		if rec.Value == nil {
			continue
		}
		var e struct {
			Payload struct {
				Op     string
				Source struct{ LSN json.Number }
			}
		}
		if err := json.Unmarshal(rec.Value, &e); err != nil {
			t.Fatal(err)
		}
		event := e.Payload.Op + string(e.Payload.Source.LSN) + string(rec.Key)
		if seen[event] {
			again++
		}
		seen[event] = true
		if strings.Contains(string(rec.Value), placeholder) {
			withheld++
		}
	}
	return again, withheld
}

const placeholder = "__debezium_unavailable_value"

// Not a part of `make test`: go test -tags debezium ./internal/e2e -run TestDebezium. It was not seen to pass yet.
//
// TestDebezium: what a real Debezium tells of a real PostgreSQL makes a table like the source's, while both are killed and started again; reading it
// all again changes nothing, and what compaction has taken from the log stays in the table.
func TestDebezium(t *testing.T) {
	r := newReplica(t)
	full := r.topics("full", nil)
	r.mirror("plainest", full, "{envelope: debezium}", "", "ONS30", columns)
	if testenv.Times(0, 1) == 1 {
		r.mirror("by_lsn", full, "{envelope: debezium}", "    version: lsn\n    columns: {lsn: $envelope.source.lsn}\n", "", columns, "alter table items add column lsn bigint").compacted = true
		flat := r.topics("flat", map[string]string{"transforms": "unwrap", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
			"transforms.unwrap.delete.tombstone.handling.mode": "rewrite", "transforms.unwrap.add.fields": "op,lsn,source.ts_ms",
			"transforms.unwrap.replace.null.with.default": "false"})
		r.mirror("flattened", flat, "{envelope: flattened}", "    version: lsn\n    columns: {lsn: __lsn}\n", "", columns, "alter table items add column lsn bigint").compacted = true
		converter := map[string]string{"decimal.handling.mode": "string"}
		for _, which := range []string{"key.converter", "value.converter"} {
			converter[which], converter[which+".schemas.enable"] = "org.apache.kafka.connect.json.JsonConverter", "false"
			converter[which+".replace.null.with.default"] = "false"
		}
		without := r.topics("without", converter)
		plain := slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return !c.plain })
		r.mirror("schemaless", without, "{envelope: debezium}", `    version: at
    columns:
      at: $envelope.source.ts_ms
      ts: {unit: us}
      ts3: {unit: ms}
      infts: {unit: us}
      d: {unit: days}
      tm: {unit: us}
      iv: {unit: us}
      b: {encoding: base64}
      bigb: {encoding: base64}
      j: {encoding: json}
      bigj: {encoding: json}
`, "ONS30", plain, "alter table items add column at bigint").compacted = true
	}
	n := testenv.Times(40, 300)
	r.dml.transactions(20) // a snapshot has them

	r.connect.start(600_000)
	for _, m := range r.mirrors {
		m.start()
	}
	r.same("after the snapshot")
	r.dml.transactions(n)
	first := r.mirrors[0]
	within(t, debeziumTimeout, "some changes have come", func() bool { return r.difference(first) == "" })
	r.connect.kill() // which has noted nothing: all of this is sent again
	r.dml.transactions(n)
	for range testenv.Times(0, 3) {
		r.connect.start(500)
		r.dml.transactions(n)
		within(t, debeziumTimeout, "changes come again", func() bool { return r.difference(first) == "" })
		r.dml.transactions(n)
		r.connect.kill()
	}
	r.connect.start(500)
	for _, m := range r.mirrors {
		m.stop(syscall.SIGKILL)
		r.dml.transactions(n / 4)
		m.start()
	}
	r.same("after everything was killed")

	if again, withheld := repeated(t, r.log(full+".public.items")); again == 0 || withheld == 0 {
		t.Fatalf("%d events came again, %d lack a value: this proves nothing", again, withheld)
	} else {
		t.Logf("%d events came again, %d lack a value", again, withheld)
	}
	for _, m := range r.mirrors {
		m.unchanged()
	}
	r.same("after everything was read again")
	r.compact(full + ".public.items")
	for _, m := range r.mirrors {
		if m.prefix == full {
			m.rebuilt()
		}
	}
	r.same("after a rebuild from a compacted log")
}

// unchanged: whatever is sent twice, no row is written again when all is read again.
func (m *mirror) unchanged() {
	m.T.Helper()
	const versions = `select xmin, ctid, id::text from items union all select xmin, ctid, concat(a, b) from pairs order by 3`
	before := m.Lines(versions)
	m.run("replay", "--wait")
	m.stop(syscall.SIGTERM)
	if after := m.Lines(versions); before != after {
		m.T.Errorf("%s: the replay wrote rows", m.name)
	}
	if m.strays == "" || !strings.Contains(m.strays, "ONS30") {
		m.Want("", `select topic, partition, "offset", code, message from oncesink.dead_letters`)
	} else {
		// Sent again after a kill, an update without its large values may find that the row is gone by the deletion that is sent again behind it.
		m.Want("", `select topic, partition, "offset", code, message from oncesink.dead_letters where code <> $1`, m.strays)
	}
	for _, table := range []string{"items", "pairs"} {
		args := []string{"verify", table}
		m.run(append(args, m.accepts()...)...)
	}
	m.start()
}

func (m *mirror) accepts() []string {
	if m.compacted {
		return []string{"--accept", "compacted"}
	}
	return nil
}

// compact changes each row in a way that leaves its large values alone, and waits until the log has these events alone.
func (r *replica) compact(topic string) {
	r.t.Helper()
	r.source.Do("update items set big = coalesce(big, repeat('x', 5000))")
	r.same("before compaction")
	client := r.kafka.Client(r.t)
	var changes []kadm.AlterConfig
	for name, value := range map[string]string{"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "100", "delete.retention.ms": "100"} {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	responses, err := kadm.NewClient(client).AlterTopicConfigs(r.t.Context(), changes, topic)
	if err == nil {
		err = responses[0].Err
	}
	if err != nil {
		r.t.Fatal(err)
	}
	within(r.t, debeziumTimeout, "the log has none of the large values", func() bool {
		r.source.Do("update items set i2 = coalesce(i2 % 1000, 0) + 1")
		r.same("while the log is compacted")
		for _, rec := range r.log(topic) {
			if rec.Value != nil && !strings.Contains(string(rec.Value), placeholder) {
				return false
			}
		}
		return true
	})
}

// rebuilt: a row that somebody has changed is put right, and what the log no longer has stays.
func (m *mirror) rebuilt() {
	m.T.Helper()
	m.Do("update items set i2 = -1 where id = (select min(id) from items)")
	out := m.run(append([]string{"rebuild", "items"}, m.accepts()...)...)
	m.Want("0", "select count(*) from items where i2 = -1 or big is null")
	m.T.Logf("%s: %s", m.name, out)
	m.run(append([]string{"verify", "items"}, m.accepts()...)...)
}

// within waits for a condition.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
