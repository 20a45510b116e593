package consumer

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/sink"
)

// A record without a time has none wherever it travels: in a column, in a dead letter, in the ledger.
func TestRecordWithoutTimestamp(t *testing.T) { onBoth(t, recordWithoutTimestamp) }

func recordWithoutTimestamp(t *testing.T, brokers []string, topic string) {
	r := newRig(t, brokers, topic, 1)
	r.exec(`create table timed (id bigint primary key, at timestamptz, day date, at_text text, at_json jsonb)`)
	tables := []sink.TableConfig{{Name: "timed", Topics: []string{topic}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{
		"at": {From: "$timestamp"}, "day": {From: "$timestamp", Zone: "UTC"}, "at_text": {From: "$timestamp"}, "at_json": {From: "$timestamp"},
	}}}
	conn, err := pgx.Connect(t.Context(), r.url)
	r.must(err)
	defer conn.Close(t.Context())
	r.must(schema.Init(t.Context(), conn, sink.Config{Tables: tables}))

	none := time.UnixMilli(-1)                        // which is how Kafka says it
	at := time.Now().UTC().Truncate(time.Millisecond) // an old one would end the log's retention
	for _, rec := range []*kgo.Record{
		{Timestamp: at, Value: []byte(`{"id": 1}`)},
		{Timestamp: none, Value: []byte(`{"id": 2}`)},
		{Timestamp: none, Value: []byte(`{"id": "no number"}`)},
		{Timestamp: none, Value: []byte(`{"id": 3}`)},
	} {
		rec.Topic = topic
		r.must(r.client.ProduceSync(t.Context(), rec).FirstErr())
	}
	p := r.start(func(_ *Config, s *sink.Config) { s.Tables = tables })
	eventually(t, "all records are read", func() bool { return r.position(0) == 4 })
	r.must(p.end(t))
	for sql, want := range map[string]int64{
		`select count(*) from timed where id = 1 and at = $1 and day = ($1::timestamptz at time zone 'UTC')::date and at_text is not null and at_json is not null`: 1,
		`select count(*) from timed where id > 1 and num_nulls(at, day, at_text, at_json) = 4 and $1::timestamptz is not null`:                                     2,
		`select count(*) from oncesink.dead_letters where recorded is not null or "offset" <> 2 or $1::timestamptz is null`:                                        0,
		// That of the last record that has one, if the records came in several transactions.
		`select next_offset from oncesink.offsets where coalesce(last_timestamp, $1) = $1`: 4,
	} {
		if got := r.queryInt(sql, at); got != want {
			t.Errorf("%s: got %d, want %d", sql, got, want)
		}
	}
	if n := r.queryInt(`select count(*) from oncesink.dead_letters`); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}
