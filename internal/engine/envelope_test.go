package engine

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// recorded are the records of a topic that Debezium 3.5 wrote for a PostgreSQL 15, as Kafka's console consumer prints them: a row of many types, updates that leave
// its TOAST values alone, a null, two changes in a transaction, a change of the key, a delete, a message, a truncate.
func recorded(t *testing.T, name string) (records []sink.Record) {
	t.Helper()
	f, err := os.Open("testdata/debezium/" + name + ".txt.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // was read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), "\t", 4)
		if len(parts) != 4 {
			continue
		}
		r := sink.Record{Topic: "t", Epoch: -1}
		if _, err := fmt.Sscanf(parts[0], "Offset:%d", &r.Offset); err != nil {
			t.Fatal(err)
		}
		if parts[2] != "NULL" {
			r.Key = []byte(parts[2])
		}
		if parts[3] != "NULL" {
			r.Value = []byte(parts[3])
		}
		records = append(records, r)
	}
	if err := lines.Err(); err != nil || len(records) < 8 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	return records
}

const debeziumTypes = `n numeric(12,2), nv numeric, ts timestamp, ts3 timestamp(3), tz timestamptz, d date, tm time, tmz timetz, j jsonb, u uuid, b bytea,
	arr text[], ia int[], ba bigint[], ua uuid[], big text, bigj jsonb, bigb bytea, e mood, iv interval, p point, inf timestamptz, infts timestamp, m money,
	r tstzrange, ip inet, dflt int default 7, x xml, bits bit(5), i2 smallint, f4 real, f8 double precision`

// original is the row as it was inserted at the source, but for what Debezium changes: it strips zeros of a numeric without a scale, makes the zone of a timetz
// UTC, and of an interval's months 30 days and a quarter.
const original = `insert into original values (1, 1234.56, 0.00000000000000000001234567890123456789, '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678',
	'2026-01-02 03:04:05.678901+02', '2026-01-02', '03:04:05.678901', '01:04:05+00', '{"a": [1, 2.50]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00ff',
	array['a',null,'b"c'], array[1,2], array[1,2], array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid], repeat('x',10000),
	jsonb_build_object('k', repeat('y',10000)), decode(repeat('ab',10000),'hex'), 'ok', '37091106700000 us', '(1.5,2)', 'infinity', '-infinity', 12.34,
	'[2026-01-01,2026-02-01)', '10.0.0.1', 7, '<a/>', B'10101', 7, 1.1, 0.1)`

// feed writes records in batches of so many.
func (e *engine) feed(records []sink.Record, n int) {
	e.t.Helper()
	for len(records) > 0 {
		batch := records[:min(n, len(records))]
		p := &decode.Part{Claim: e.claim(batch[0].Topic, batch[0].Partition)}
		e.addAll(p, batch...)
		e.write(p)
		records = records[len(batch):]
	}
}

// Rules 16 and 33: what a real Debezium wrote leaves the row that the source has, of every type, and with what it withheld; however it is cut into batches,
// read again, or ordered by the log sequence number.
func TestRule33Debezium(t *testing.T) {
	for _, version := range []string{"", "lsn"} {
		for _, n := range []int{1, 3, 100} {
			t.Run(fmt.Sprintf("%s/%d", version, n), func(t *testing.T) {
				db := newDatabase(t, "create type mood as enum ('sad', 'ok')", "create table t (id bigint primary key, "+debeziumTypes+")", "create table original as table t", original)
				tc := sink.TableConfig{Name: "t", Topics: []string{"t"}, Key: []string{"id"}, Truncate: sink.IgnoreTruncates}
				if version != "" {
					db.Do("alter table t add column lsn bigint")
					tc.Version, tc.Columns = version, map[string]sink.ColumnConfig{version: {From: "$envelope.source.lsn"}}
				}
				e := db.open(sink.Config{Tables: []sink.TableConfig{tc}, Topics: map[string]sink.TopicConfig{"t": {Envelope: sink.Debezium()}}})
				records := recorded(t, "schemas")
				same := func(changed string) {
					t.Helper()
					db.Want("1", "select count(*) from t")
					db.Want("", "select key, a.value, b.value from jsonb_each_text((select to_jsonb(t) from t)) a join jsonb_each_text((select to_jsonb(original) from original)) b using (key) where a.value is distinct from b.value")
					db.Do("update original set " + changed)
				}
				if n == 1 {
					e.feed(records[:1], n)
					same("i2 = 8")
					e.feed(records[1:2], n)
					same("big = null")
					db.Want("10000|10009", "select length(big), length(bigj::text) from t") // as they were
					e.feed(records[2:], n)
				} else {
					db.Do("update original set i2 = 8, big = null")
					e.feed(records, n)
				}
				same("i2 = 8")
				e.rewind("t", 0, 0)
				before := db.Lines("select ctid, xmin, t from t")
				e.feed(records, n)
				db.Want(before, "select ctid, xmin, t from t")
				db.Want("", `select "offset", code, message from oncesink.dead_letters`)
				if s := e.Stats(); s.Tables[0].TombstonesWithoutRow != 0 {
					t.Errorf("%d tombstones met no row: they follow deletions", s.Tables[0].TombstonesWithoutRow)
				}
			})
		}
	}
}

// Without schemas numbers need their units; flattened, the deletion is a field.
func TestRule33PlainAndFlattened(t *testing.T) {
	for name, envelope := range map[string]*sink.Envelope{"plain": sink.Debezium(), "flattened": sink.Flattened()} {
		t.Run(name, func(t *testing.T) {
			db := newDatabase(t, `create table t (id bigint primary key, ts timestamp, ts3 timestamp(3), tz timestamptz, d date, tm time, u uuid, b bytea,
				arr text[], ia int[], ba bigint[], ua uuid[], big text, bigj jsonb, bigb bytea, i2 smallint)`)
			e := db.open(sink.Config{
				Tables: []sink.TableConfig{{Name: "t", Topics: []string{"t"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{
					"ts": {Unit: "us"}, "ts3": {Unit: "ms"}, "d": {Unit: "days"}, "tm": {Unit: "us"}, "b": {Encoding: "base64"}, "bigb": {Encoding: "base64"}, "bigj": {Encoding: "json"},
				}}},
				Topics: map[string]sink.TopicConfig{"t": {Envelope: envelope}},
			})
			records := recorded(t, name)
			e.feed(records[:2], 1)
			db.Want(`2026-01-02 03:04:05.678901|2026-01-02 03:04:05.678|2026-01-02|03:04:05.678901|\x00ff|{a,NULL,"b\"c"}|{1,2}|{1,2}|10000|10009|10000|8`,
				"select ts, ts3, d, tm, b, arr, ia, ba, length(big), length(bigj::text), length(bigb), i2 from t")
			e.feed(records[2:], 2)
			db.Want("1|-|10000", "select id, big, length(bigb) from t") // the other one came, got another key and went
			truncates := ""
			if name == "plain" {
				truncates = "10|ONS41|public.t"
			}
			db.Want(truncates, `select "offset", code, target from oncesink.dead_letters order by 1`)
		})
	}
}

// What an envelope says happens: other programs' envelopes, operations that nobody knows, and what has nothing to do with a row.
func TestRule33Envelopes(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, a text)", "create table g (id int primary key, a text)", "create table log (kind text, old text, a text)")
	e := db.open(sink.Config{
		Tables: []sink.TableConfig{
			{Name: "m", Topics: []string{"m"}, Key: []string{"id"}, When: map[string]sink.Condition{"$envelope.table": {Not: []string{"other"}}}},
			{Name: "g", Topics: []string{"g"}, Key: []string{"id"}},
			{Name: "log", Topics: []string{"g"}, Strategy: sink.Append, Columns: map[string]sink.ColumnConfig{"kind": {From: "$envelope.op_type"}, "old": {From: "$envelope.before.a"}}},
		},
		Topics: map[string]sink.TopicConfig{"m": {Envelope: sink.Maxwell()}, "g": {Envelope: sink.GoldenGate()}},
	})
	feed := func(topic string, docs ...string) {
		t.Helper()
		var records []sink.Record
		for i, doc := range docs {
			records = append(records, sink.Record{Topic: topic, Offset: int64(i), Epoch: -1, Value: []byte(doc)})
		}
		e.feed(records, 100)
	}
	feed("m",
		`{"table":"m","type":"bootstrap-start","data":{}}`,
		`{"table":"m","type":"bootstrap-insert","data":{"id":1,"a":"x"}}`,
		`{"table":"m","type":"insert","data":{"id":2,"a":"y"}}`,
		`{"table":"m","type":"update","data":{"id":1,"a":"z"},"old":{"a":"x"}}`,
		`{"table":"m","type":"delete","data":{"id":2,"a":"y"}}`,
		`{"table":"m","type":"vanish","data":{"id":1,"a":"y"}}`,
		`{"table":"m","data":{"id":1,"a":"y"}}`,
		`{"table":"other","type":"vanish"}`)
	feed("g",
		`{"op_type":"I","after":{"id":1,"a":"x"}}`,
		`{"op_type":"I","after":{"id":2,"a":"y"}}`,
		`{"op_type":"U","before":{"id":1,"a":"x"},"after":{"id":1,"a":"z"}}`,
		`{"op_type":"D","before":{"id":2,"a":"y"}}`,
		`{"op_type":"D"}`)
	db.Want("1|z", "select id, a from m")
	db.Want("1|z", "select id, a from g")
	db.Want("D|y|-\nI|-|x\nI|-|y\nU|x|z", "select kind, old, a from log order by 1, 3") // the one without a key is nobody's, whole
	db.Want("g|4|23502|id\nm|5|ONS40|-\nm|6|ONS40|-", `select topic, "offset", code, column_name from oncesink.dead_letters order by 1, 2`)
	if s := e.Stats(); s.Unmatched != 2 {
		t.Errorf("%d unmatched, want the one that only says that something begins, and the other table's", s.Unmatched)
	}
}

// Events that delete by what they say: a marker, a status that the table does not want, a deletion that the row only tells.
func TestRule33Deletes(t *testing.T) {
	db := newDatabase(t, "create table marked (id int primary key, v int, a text)", "create table active (id int primary key, v int, status text)",
		"create table soft (id int primary key, v int, a text, deleted_at int)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "marked", Topics: []string{"o"}, Key: []string{"id"}, Version: "v", DeleteWhen: map[string]sink.Condition{"deleted": {In: []string{"true"}}}},
		{Name: "active", Topics: []string{"o"}, Key: []string{"id"}, Version: "v", When: map[string]sink.Condition{"status": {In: []string{"active"}}}, Otherwise: sink.OtherwiseDelete},
		{Name: "soft", Topics: []string{"o"}, Key: []string{"id"}, Version: "v", DeleteWhen: map[string]sink.Condition{"deleted": {In: []string{"true"}}}, SoftDelete: map[string]string{"deleted_at": "gone"}},
	}})
	state := func(marked, active, soft string) {
		t.Helper()
		db.Want(marked, "select id, v, a from marked order by 1")
		db.Want(active, "select id, v, status from active order by 1")
		db.Want(soft, "select id, v, a, deleted_at from soft order by 1")
	}
	events := []string{
		`{"id":1,"v":1,"a":"x","status":"active"}`,
		`{"id":2,"v":1,"a":"y","status":"active"}`,
		`{"id":1,"v":5,"deleted":true,"gone":50}`, // its status is none that is wanted
		`{"id":1,"v":3,"a":"late","status":"active"}`,
		`{"id":2,"v":2,"a":"y","status":"closed"}`,
		`{"id":1,"v":9,"a":"anew","status":"active"}`,
		`{"id":1,"v":5,"deleted":true,"gone":50}`, // sent again
	}
	for _, n := range []int{1, 2, 100} {
		if n > 1 {
			e.rewind("o", 0, 0)
			before := db.Lines("select xmin, ctid from marked union all select xmin, ctid from active union all select xmin, ctid from soft")
			defer func() {
				db.Want(before, "select xmin, ctid from marked union all select xmin, ctid from active union all select xmin, ctid from soft")
			}()
		}
		var records []sink.Record
		for i, doc := range events {
			records = append(records, sink.Record{Topic: "o", Offset: int64(i), Epoch: -1, Value: []byte(doc)})
		}
		if n == 1 {
			e.feed(records[:4], 1)
			state("2|1|y", "2|1|active", "1|5|x|50\n2|1|y|-")
			records = records[4:]
		}
		e.feed(records, n)
		state("1|9|anew\n2|2|y", "1|9|active", "1|9|anew|-\n2|2|y|-")
	}
	db.Want("0", "select count(*) from oncesink.dead_letters")
}

// Of a row that Debezium says was deleted only the key is what it was: the rest is null, or a default, and neither a version nor what a condition asks for.
func TestRule33KeyOnly(t *testing.T) {
	db := newDatabase(t, "create table f (id int primary key, v int, status text)", "create table d (id int primary key, v int, status text)")
	when := map[string]sink.Condition{"status": {In: []string{"active"}}}
	e := db.open(sink.Config{
		Tables: []sink.TableConfig{
			{Name: "f", Topics: []string{"f"}, Key: []string{"id"}, Version: "v", When: when},
			{Name: "d", Topics: []string{"d"}, Key: []string{"id"}, Version: "v", When: when},
		},
		Topics: map[string]sink.TopicConfig{"f": {Envelope: sink.Flattened()}, "d": {Envelope: sink.Debezium()}},
	})
	for topic, docs := range map[string][]string{
		"f": {`{"id":1,"v":5,"status":"active","__deleted":"false"}`, `{"id":1,"v":0,"status":null,"__deleted":"true"}`, `{"id":2,"v":5,"status":"closed","__deleted":"false"}`},
		"d": {`{"op":"c","after":{"id":1,"v":5,"status":"active"}}`, `{"op":"d","before":{"id":1,"v":0,"status":null},"after":null}`, `{"op":"c","after":{"id":2,"v":5,"status":"closed"}}`},
	} {
		var records []sink.Record
		for i, doc := range docs {
			records = append(records, sink.Record{Topic: topic, Offset: int64(i), Epoch: -1, Value: []byte(doc)})
		}
		e.feed(records[:1], 1)
		db.Want("1|5", "select id, v from "+topic)
		e.feed(records[1:], 1)
		db.Want("", "select id, v from "+topic)
	}
	db.Want("", "select message from oncesink.dead_letters")
}

// Rules 11 and 33: a Debezium that sends deletion, tombstone, insert and update again finds the row as it is, and leaves it so: also the value that the update
// lacks, since its source withheld it.
func TestRule33SentAgain(t *testing.T) {
	for _, n := range []int{1, 2, 3, 100} {
		db := newDatabase(t, "create table t (id int primary key, note text, big text, lsn bigint)")
		e := db.open(sink.Config{
			Tables: []sink.TableConfig{{Name: "t", Topics: []string{"t"}, Key: []string{"id"}, Version: "lsn", Columns: map[string]sink.ColumnConfig{"lsn": {From: "$envelope.source.lsn"}}}},
			Topics: map[string]sink.TopicConfig{"t": {Envelope: sink.Debezium()}}})
		var records []sink.Record
		send := func(value string) {
			r := sink.Record{Topic: "t", Offset: int64(len(records)), Epoch: -1, Key: []byte(`{"id": 1}`)}
			if value != "" {
				r.Value = []byte(value)
			}
			records = append(records, r)
		}
		changes := func() {
			send(`{"op": "d", "before": {"id": 1}, "after": null, "source": {"lsn": 20}}`)
			send("")
			send(`{"op": "c", "after": {"id": 1, "note": "new", "big": "large"}, "source": {"lsn": 30}}`)
			send(`{"op": "u", "after": {"id": 1, "note": "changed", "big": "__debezium_unavailable_value"}, "source": {"lsn": 40}}`)
		}
		send(`{"op": "c", "after": {"id": 1, "note": "old", "big": "lost"}, "source": {"lsn": 10}}`)
		changes()
		e.feed(records, n)
		for range 2 { // it crashes twice
			first := len(records)
			changes()
			for i := first; i < len(records); i += n {
				e.feed(records[i:min(i+n, len(records))], n)
				db.Want("1|changed|large|40", "select id, note, big, lsn from t")
			}
		}
		db.Want("0", "select count(*) from oncesink.dead_letters")

		send(`{"op": "d", "before": {"id": 1}, "after": null, "source": {"lsn": 50}}`)
		send("")
		e.feed(records[len(records)-2:], n)
		db.Want("", "select id from t")
	}
}

// An event that does not say what has happened is a dead letter whatever stands in its row's place: nobody knows whether that is a row. What is said apart
// from it, in a header or the envelope, counts.
func TestRule33Unknown(t *testing.T) {
	db := newDatabase(t, "create table t (id int primary key, kind text)")
	e := db.open(sink.Config{
		Tables: []sink.TableConfig{{Name: "t", Topics: []string{"t"}, Key: []string{"id"}, When: map[string]sink.Condition{
			"kind": {In: []string{"a"}}, "$envelope.source.db": {In: []string{"shop"}}}}},
		Topics: map[string]sink.TopicConfig{"t": {Envelope: sink.Debezium()}}})
	var records []sink.Record
	for i, doc := range []string{
		`{"op": "c", "after": {"id": 1, "kind": "a"}, "source": {"db": "shop"}}`,
		`{"op": "?", "after": {"id": 1, "kind": "b"}, "source": {"db": "shop"}}`,
		`{"op": "?", "after": {"id": 1, "kind": "a"}, "source": {"db": "shop"}}`,
		`{"after": {"id": 1}, "source": {"db": "shop"}}`,
		`{"op": "?", "after": {"id": 1, "kind": "a"}, "source": {"db": "else"}}`,
	} {
		records = append(records, sink.Record{Topic: "t", Offset: int64(i), Epoch: -1, Key: []byte(`{"id": 1}`), Value: []byte(doc)})
	}
	e.feed(records, 100)
	db.Want("1|a", "select id, kind from t")
	db.Want("1|ONS40\n2|ONS40\n3|ONS40", `select "offset", code from oncesink.dead_letters order by 1`)
}
