package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

var newSeed = flag.Uint64("new.seed", 0, "of TestNewFits (default random)")

// What `oncesink new` writes by a topic's records is taken by psql, init, check and run, and as many of those
// records become dead letters as it says: as a rule, none.
func TestNewFits(t *testing.T) {
	seed := *newSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-new.seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	brokers := strings.Join(testkafka.Fake(t).ListenAddrs(), ",")
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tables := 0
	for round := range testenv.Times(3, 30) {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			args := []string{"--brokers", brokers}
			unlike := map[string]string{}
			for k := range 6 {
				topic := fmt.Sprintf("%s-%d-%d", pick(rnd, "orders", "shop.public.users", "Order_Items", "user", "9lives"), round, k)
				if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
					t.Fatal(err)
				}
				m := newMaker(rnd)
				unlike[topic] = fmt.Sprintf("%+v", m)
				for i := range 1 + rnd.IntN(40) {
					key, value := m.record(i)
					r := &kgo.Record{Topic: topic, Partition: int32(i % 2), Key: key, Value: value}
					if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				args = append(args, "--topic", topic)
			}
			said, got := newRun(t, args)
			tables += strings.Count(said.sql, "\ncreate table")
			for topic, want := range said.letters {
				if got[topic] != want {
					t.Errorf("%s: %d dead letters, and %d were foretold (%s)", topic, got[topic], want, unlike[topic])
				}
			}
			if t.Failed() {
				t.Logf("%s\n%s", said.yaml, said.sql)
			}
		})
	}
	if tables < 8 {
		t.Errorf("%d tables: nothing is shown", tables)
	}
}

// said is what `oncesink new` wrote.
type said struct {
	yaml, sql string
	letters   map[string]int
}

// newRun has `oncesink new` look at topics, does what it says is next, and returns the dead letters by topic.
func newRun(t *testing.T, args []string) (s said, got map[string]int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "new.yaml")
	t.Setenv("DATABASE_URL", testpg.URL(t))
	step := func(codes string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), args, &out, &out); !strings.Contains(codes, strconv.Itoa(code)) {
			y, _ := os.ReadFile(file)
			q, _ := os.ReadFile(strings.TrimSuffix(file, "yaml") + "sql")
			t.Fatalf("oncesink %s: exit code %d\n%s\n%s\n%s", strings.Join(args, " "), code, &out, y, q)
		}
	}
	for len(args) > 2 {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"new", "-c", file}, args...), &out, &out)
		if code == exitOK {
			break
		}
		// A topic of which no record can be read: it is named, and left out.
		m := regexp.MustCompile(`the records of topic (\S+) can't be read`).FindStringSubmatch(out.String())
		if code != exitConfig || m == nil {
			t.Fatalf("exit code %d\n%s", code, &out)
		}
		for i := range args {
			if args[i] == m[1] {
				args = append(args[:i-1:i-1], args[i+1:]...)
				break
			}
		}
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{file, &s.yaml}, {strings.TrimSuffix(file, "yaml") + "sql", &s.sql}} {
		b, err := os.ReadFile(f.name)
		if err != nil {
			t.Fatal(err)
		}
		*f.to = string(b)
	}
	if strings.Contains(s.yaml+s.sql, canary) {
		t.Errorf("a value of a record was written\n%s\n%s", s.yaml, s.sql)
	}
	step("2", append([]string{"new", "-c", file}, args...)...) // it exists
	conn := connect(t, os.Getenv("DATABASE_URL"))
	if _, err := conn.PgConn().Exec(t.Context(), s.sql).ReadAll(); err != nil {
		t.Fatalf("%v\n%s", err, s.sql)
	}
	s.letters = foretold(t, s.yaml)
	step("0", "init", "-c", file)
	codes := "0"
	for _, n := range s.letters {
		if n > 0 {
			codes = "03"
		}
	}
	step(codes, "check", "-c", file, "--sample", "1000")
	step(strings.Replace(codes, "3", "4", 1), "run", "-c", file, "--until-end", "--log-level", "error")
	got = map[string]int{}
	rows, err := conn.Query(t.Context(), "select topic, count(*) from oncesink.dead_letters group by 1")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var topic string
		var n int
		if err := rows.Scan(&topic, &n); err != nil {
			t.Fatal(err)
		}
		got[topic] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if t.Failed() || len(got) == 0 {
		return s, got
	}
	rows, err = conn.Query(t.Context(), "select topic, code, target, column_name, message, oncesink.text_of(key), oncesink.text_of(value) from oncesink.dead_letters")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		if n := got[values[0].(string)]; n != s.letters[values[0].(string)] {
			t.Log(values...)
		}
	}
	return s, got
}

// foretold reads how many dead letters a configuration speaks of, by topic.
func foretold(t *testing.T, yaml string) map[string]int {
	t.Helper()
	out := map[string]int{}
	topic := ""
	for line := range strings.Lines(yaml) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "topic: "); ok {
			topic = strings.Trim(name, `"`)
			out[topic] += 0
		}
		if m := regexp.MustCompile(`DEAD LETTERS: of [\d,]+ records, ([\d,]+) `).FindStringSubmatch(line); m != nil {
			n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
			if err != nil {
				t.Fatal(err)
			}
			out[topic] += n
		}
	}
	return out
}

// canary is in many values, and must be in no file.
const canary = "c4nary"

// maker makes the records of a topic.
type maker struct {
	rnd                                    *rand.Rand
	fields                                 []made
	key, envelope                          string
	tombstones, broken, zeros, missingKeys bool
}

// made is a field: what its values are, and how often it is there.
type made struct {
	name, kind string
	always     bool
	nulls      bool
}

func newMaker(rnd *rand.Rand) *maker {
	m := &maker{rnd: rnd}
	m.key = pick(rnd, "none", "id", "id", "json", "object", "object", "connect", "connect typed", "random", "owner")
	m.envelope = pick(rnd, "", "", "debezium", "debezium", "debezium typed", "debezium typed", "debezium beside another schema", "flattened", "connect", "connect typed",
		"json schema", "cloudevents")
	m.tombstones, m.broken, m.zeros, m.missingKeys = one(rnd, 2), one(rnd, 4), one(rnd, 3), one(rnd, 8)
	names := []string{"id", "order_id", "userId", "User ID", "updated_at", "version", "created_ms", "ts", "user", "order", "größe", "a.b",
		"a b", "a_b", "xmin", "_oncesink_source", "on", "null", "amount", "paid", "items", "address", "note", "{" + canary + "}", "line", "N", "n", strings.Repeat("long", 14)}
	rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:1+rnd.IntN(len(names))] {
		kind := pick(rnd, "small", "large", "beyond", "fraction", "wild", "bool", "text", "uuid", "time", "local", "date", "s", "ms", "us", "object", "array", "children", "mixed", "long", "empty", "map")
		if m.typed() {
			kind = pick(rnd, slices.Sorted(maps.Keys(schemas))...)
		}
		m.fields = append(m.fields, made{name, kind, one(rnd, 2), one(rnd, 4)})
	}
	return m
}

func one(rnd *rand.Rand, n int) bool { return rnd.IntN(n) == 0 }

func pick(rnd *rand.Rand, from ...string) string { return from[rnd.IntN(len(from))] }

// record is a record's key and value.
func (m *maker) record(n int) (key, value []byte) {
	id := strconv.Itoa(n + 1)
	if one(m.rnd, 3) {
		id = strconv.Itoa(1 + m.rnd.IntN(n+1))
	}
	var members []string
	for _, f := range m.fields {
		switch {
		case f.name == "id":
			if m.key == "json" {
				members = append(members, `"id":"k`+id+`"`)
			} else {
				members = append(members, `"id":`+id)
			}
		case !f.always && one(m.rnd, 4):
		case f.nulls && one(m.rnd, 3):
			members = append(members, strconv.Quote(f.name)+":null")
		default:
			members = append(members, strconv.Quote(f.name)+":"+m.value(f.kind))
		}
	}
	m.rnd.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	row := "{" + strings.Join(members, ", ") + "}"
	deleted := m.envelope == "flattened" && one(m.rnd, 5)
	if m.envelope == "flattened" {
		row = fmt.Sprintf(`{"__deleted":"%t",%s`, deleted, strings.Join(members, ", ")+"}")
		if len(members) == 0 {
			row = fmt.Sprintf(`{"__deleted":"%t"}`, deleted)
		}
	}
	switch m.key {
	case "id":
		key = []byte(id)
	case "json":
		key = []byte(`"k` + id + `"`)
	case "object":
		key = []byte(`{"id":` + id + `}`)
	case "connect":
		key = []byte(`{"schema":{},"payload":{"id":` + id + `}}`)
	case "connect typed":
		key = []byte(`{"schema":{"type":"struct","fields":[{"type":"int64","field":"id"}]},"payload":{"id":` + id + `}}`)
	case "random":
		key = []byte(pick(m.rnd, "", "a", "b\"", canary, "\xff", "é"))
	case "owner":
		key = []byte(pick(m.rnd, "1", "2"))
	}
	if m.missingKeys && one(m.rnd, 3) {
		key = nil
	}
	switch {
	case m.tombstones && one(m.rnd, 5):
		return key, nil
	case m.broken && one(m.rnd, 6):
		return key, []byte(pick(m.rnd, canary, `[1]`, `null`, `{"id":1,"id":2}`, `{"id":`, "", "\xff"))
	}
	return key, []byte(m.wrap(row))
}

func (m *maker) typed() bool { return strings.HasSuffix(m.envelope, "typed") }

// schemas are those of Kafka Connect that values of kinds may have.
var schemas = map[string]string{
	"small": `"type":"int32"`, "large": `"type":"int64"`, "bool": `"type":"boolean"`, "text": `"type":"string"`, "decimal": `"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}`,
	"days": `"type":"int32","name":"io.debezium.time.Date"`, "us": `"type":"int64","name":"io.debezium.time.MicroTimestamp"`, "ms": `"type":"int64","name":"org.apache.kafka.connect.data.Timestamp"`,
	"uuid": `"type":"string","name":"io.debezium.data.Uuid"`, "bytes": `"type":"bytes"`, "ints": `"type":"array","items":{"type":"int32"}`, "json": `"type":"string","name":"io.debezium.data.Json"`,
	"double": `"type":"double"`,
}

// schema is that of the rows.
func (m *maker) schema(field string) string {
	var fields []string
	for _, f := range m.fields {
		s := schemas[f.kind]
		if f.name == "id" {
			s = `"type":"int64"`
			if m.key == "json" {
				s = `"type":"string"`
			}
		}
		fields = append(fields, `{`+s+`,"optional":true,"field":`+strconv.Quote(f.name)+`}`)
	}
	return `{"type":"struct","fields":[` + strings.Join(fields, ",") + `]` + field + `}`
}

func (m *maker) wrap(row string) string {
	switch m.envelope {
	case "debezium":
		return m.change(row)
	case "debezium typed":
		return `{"schema":{"type":"struct","fields":[` + m.schema(`,"field":"before"`) + `,` + m.schema(`,"field":"after"`) + `]},"payload":` + m.change(row) + `}`
	case "debezium beside another schema":
		return `{"schema":{},"payload":` + m.change(row) + `}`
	case "connect":
		return `{"schema":{"type":"struct"},"payload":` + row + `}`
	case "connect typed":
		return `{"schema":` + m.schema("") + `,"payload":` + row + `}`
	case "json schema":
		return "\x00\x00\x00\x00\x07" + row
	case "cloudevents":
		return `{"specversion":"1.0","type":"t","source":"s","id":"` + canary + `","data":` + row + `}`
	}
	return row
}

func (m *maker) change(row string) string {
	switch m.rnd.IntN(20) {
	case 0, 1, 2:
		return `{"before":` + row + `,"after":null,"source":{},"op":"d","ts_ms":1705310101123}`
	case 3:
		return `{"before":null,"after":null,"source":{},"op":"` + pick(m.rnd, "m", "t", "t", canary) + `"}`
	case 4:
		return `{"source":{},"op":"t","ts_ms":1705310101123}`
	}
	return `{"before":null,"after":` + row + `,"source":{"lsn":1},"op":"` + pick(m.rnd, "c", "r", "u") + `","ts_ms":1705310101123}`
}

func (m *maker) value(kind string) string {
	r := m.rnd
	at := time.Unix(r.Int64N(4e9), 0).UTC()
	switch kind {
	case "small":
		return strconv.Itoa(r.IntN(2000) - 1000)
	case "large":
		return strconv.FormatInt(r.Int64(), 10)
	case "beyond":
		return pick(r, "1", "99999999999999999999999", "-99999999999999999999999")
	case "fraction":
		return pick(r, "1", "1.50", "-0.001", "1e3", "12345678901234567890.5", "-0")
	case "wild":
		return pick(r, "1", "1e400000", "-1E-99999")
	case "decimal":
		return pick(r, `"BNI="`, `"/w=="`)
	case "days":
		return strconv.Itoa(r.IntN(30_000))
	case "bytes":
		return pick(r, `"AP8="`, `""`)
	case "ints":
		return pick(r, "[]", "[1,null,-7]")
	case "json":
		return pick(r, `"{\"`+canary+`\": 1.50}"`, `"null"`)
	case "double":
		return pick(r, "1.5", "-0", "1e300")
	case "bool":
		return pick(r, "true", "false")
	case "uuid":
		return fmt.Sprintf(`"%08x-0000-4000-8000-%012X"`, r.Uint32(), r.Uint32())
	case "time":
		zone := time.FixedZone("", (r.IntN(27)-13)*3600)
		return `"` + at.In(zone).Format(pick(r, time.RFC3339, "2006-01-02 15:04:05.123456789Z07:00")) + `"`
	case "local":
		return at.Format(`"2006-01-02T15:04:05"`)
	case "date":
		return pick(r, at.Format(`"2006-01-02"`), `"2024-02-29"`)
	case "s":
		return strconv.FormatInt(1_000_000_000+r.Int64N(3e9), 10)
	case "ms":
		return strconv.FormatInt(1_000_000_000_000+r.Int64N(3e12), 10)
	case "us":
		return strconv.FormatInt(1_000_000_000_000_000+r.Int64N(3e15), 10)
	case "object":
		return `{"` + pick(r, "id", "b c", "größe") + `": ` + m.value(pick(r, "small", "text", "object", "wild")) + `, "` + canary + ` {": 1}`
	case "array":
		return pick(r, "[]", "[1, null]", `["`+canary+`"]`)
	case "children":
		return pick(r, "[]", `[{"sku": "`+canary+`", "n": 1}]`, `[{"sku": "x", "line": 2.5}, {"n": null}]`)
	case "mixed":
		return m.value(pick(r, "small", "text", "bool", "object", "array", "time", "fraction"))
	case "long":
		return `"` + strings.Repeat(canary, 1+r.IntN(1000)) + `"`
	case "empty":
		return pick(r, `""`, `"2024-01-01"`, `"0000-01-01"`, `"2023-02-29"`)
	case "map":
		return fmt.Sprintf(`{"k%d": 1}`, r.IntN(1000))
	}
	if m.zeros && one(r, 4) {
		return `"a\u0000b"`
	}
	return pick(r, `"`+canary+`"`, `""`, `"é\n"`, `"\ud83d\ude00"`, `"2024-01-01T00:00:00Z"`)
}
