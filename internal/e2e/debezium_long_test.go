package e2e

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/internal/testconnect"
	"github.com/oncesink/oncesink/internal/testpg"
)

const byLSN = "    version: version\n    columns: {version: $envelope.source.lsn}\n"

// others are what the long form has besides: versions, events without schemas, flattened ones, Avro with a registry.
func (r *replica) others(full string) {
	r.t.Helper()
	r.mirror("by_lsn", full, how{topic: "{envelope: debezium}", version: "bigint", items: byLSN, truncate: "ignore", columns: columns})

	flat := r.topics("flat", map[string]string{
		"interval.handling.mode": "string", "transforms": "unwrap", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
		"transforms.unwrap.delete.tombstone.handling.mode": "rewrite", "transforms.unwrap.add.fields": "op,lsn,source.ts_ms",
		"transforms.unwrap.replace.null.with.default": "false",
	})
	// Its truncates don't arrive.
	r.mirror("flattened", flat, how{topic: "{envelope: flattened}", version: "bigint", items: "    version: version\n    columns: {version: __lsn}\n", columns: columns})

	converter := map[string]string{"decimal.handling.mode": "string"}
	for _, which := range []string{"key.converter", "value.converter"} {
		converter[which], converter[which+".schemas.enable"] = "org.apache.kafka.connect.json.JsonConverter", "false"
		converter[which+".replace.null.with.default"] = "false"
	}
	plain := slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return !c.plain })
	r.mirror("schemaless", r.topics("without", converter), how{topic: "{envelope: debezium}", version: "bigint", truncates: refused, columns: plain, items: `    version: version
    columns:
      version: $envelope.source.ts_ms
      ts: {unit: us}
      ts3: {unit: ms}
      d: {unit: days}
      tm: {unit: us}
      iv: {unit: us}
      b: {encoding: base64}
      bigb: {encoding: base64}
      j: {encoding: json}
      bigj: {encoding: json}
`})

	registry, err := testconnect.StartRegistry(r.t.Context(), r.t.TempDir())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := registry.Kill(); err != nil {
			r.t.Error(err)
		}
	})
	// Apicurio's converter writes a column's default for null, and can't be told otherwise.
	defaulted := slices.Clone(columns)
	for i := range defaulted {
		if defaulted[i].name == "dflt" {
			defaulted[i].compare = "coalesce(dflt, 7)"
		}
	}
	settings := registry.Avro()
	maps.Copy(settings, map[string]string{"interval.handling.mode": "string", "schema.name.adjustment.mode": "avro"})
	r.mirror("avro", r.topics("avro", settings), how{topic: "{format: avro, key_format: avro, envelope: debezium}", version: "bigint", items: byLSN,
		registry: "registry: {urls: [" + registry.URL + "]}", truncates: refused, columns: defaulted})
}

// atLength is what the long form does besides.
func (r *replica) atLength() {
	r.t.Helper()
	r.snapshotAnew()
	var topics []string
	for _, m := range r.mirrors {
		if topic := m.prefix + ".public.items"; !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	r.compact(topics)
	for _, m := range r.mirrors {
		m.rebuilt()
		m.Want("0", "select count(*) from items where big is null")
	}
	r.same("after a rebuild from a compacted log")
}

// compact changes each row in a way that leaves its large values alone, and waits until the logs have these events alone.
func (r *replica) compact(topics []string) {
	r.t.Helper()
	r.source.Do("update items set big = coalesce(big, repeat('x', 5000))")
	r.same("before compaction")
	var changes []kadm.AlterConfig
	for name, value := range map[string]string{"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "100", "delete.retention.ms": "100"} {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	responses, err := kadm.NewClient(r.kafka.Client(r.t)).AlterTopicConfigs(r.t.Context(), changes, topics...)
	for _, response := range responses {
		if err == nil {
			err = response.Err
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
	within(r.t, "the logs have none of the large values", func() bool {
		r.source.Do("update items set i2 = coalesce(i2 % 1000, 0) + 1")
		r.same("while the log is compacted")
		for _, topic := range topics {
			for _, rec := range r.log(topic) {
				// Of flattened deletions, which no tombstone follows, compaction keeps the last one of a key.
				if value := string(rec.Value); rec.Value != nil && !strings.Contains(value, placeholder) && !strings.Contains(value, `"__deleted":"true"`) {
					return false
				}
			}
		}
		return true
	})
}

// snapshotAnew: a connector that has lost where it was takes a new snapshot. Nobody tells of the rows that were deleted meanwhile. Of a
// transaction that is open at that moment the changes come later and have lower sequence numbers: as versions these lose them.
func (r *replica) snapshotAnew() {
	r.t.Helper()
	r.source.Do("insert into items (id, i2) values (910, 0), (911, 0)")
	r.same("with two rows more")
	open := testpg.Open(r.t, r.server.URL())
	open.Do("begin")
	open.Do("update items set i2 = 1 where id = 910")
	r.kill()
	r.source.Do("delete from items where id = 911")
	r.source.Do("insert into items (id, i2) values (912, 0)")
	if err := os.Remove(r.offsets); err != nil {
		r.t.Fatal(err)
	}
	r.start(500)
	for _, m := range r.mirrors {
		within(r.t, m.name+" has a row of the new snapshot", func() bool { return m.Lines("select i2 from items where id = 912") == "0" })
	}
	open.Do("commit")
	r.source.Do("update items set i2 = 1 where id = 912")
	for _, m := range r.mirrors {
		within(r.t, m.name+" has what came after it", func() bool { return m.Lines("select i2 from items where id = 912") == "1" })
		got := m.Lines("select id, i2 from items where id in (910, 911) order by id")
		want := "910|1\n911|0"
		if m.byLSN() {
			want = "910|0\n911|0"
		}
		if got != want {
			r.t.Errorf("%s: after a new snapshot the table has %q, want %q", m.name, got, want)
		}
	}
	// What mends it.
	r.source.Do("update items set i2 = 2 where id = 910")
	r.source.Do("insert into items (id) values (911)")
	r.source.Do("delete from items where id = 911")
	r.same("after the rows were written again")
}

// byLSN reports whether a position in the source's log is the version.
func (m *mirror) byLSN() bool { return m.version != "" && m.name != "schemaless" }
