package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// deadLetter is a record that can't be written, and why.
type deadLetter struct {
	part                      *decode.Part
	record                    int32
	code, message             string
	table, column, constraint string
}

// A dead letter that is there already keeps its status: a replay meets the
// same record again (rule 17).
const keepSQL = `insert into oncesink.dead_letters
       (sink_group, topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, message, target, column_name, constraint_name)
select $1::text, l.topic_id::uuid, l.topic, l.generation, l.partition, l."offset", l.recorded::timestamptz, l.key, l.value, l.headers::jsonb,
       l.code, l.message, l.target, l.column_name, l.constraint_name
  from unnest($2::text[], $3::text[], $4::integer[], $5::integer[], $6::bigint[], $7::text[], $8::bytea[], $9::bytea[], $10::text[],
              $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])
    as l(topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, message, target, column_name, constraint_name)
    on conflict (sink_group, topic_id, partition, "offset") do nothing`

// keepDeadLetters writes the dead letters of the transaction's records: those that the
// tables refused and those that could not be decoded.
func (t *transaction) keepDeadLetters(ctx context.Context) error {
	for _, x := range t.records {
		for _, f := range x.part.Faults {
			if f.Record >= x.lo && f.Record < x.hi {
				t.dead = append(t.dead, deadLetter{part: x.part, record: f.Record, code: f.Code, message: f.Message, table: f.Table, column: f.Column})
			}
		}
	}
	w := t.w
	for rest := t.dead; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size < bind.MaxStatementBytes) {
			r := rest[n].entry()
			size += len(r.Key) + len(r.Value)
			for _, h := range r.Headers {
				size += 2 * (len(h.Key) + len(h.Value))
			}
			n++
		}
		w.letters(t.s.ledger.Group(), rest[:n])
		w.exec("keep dead letters", nil, keepSQL)
		rest = rest[n:]
	}
	return t.send(ctx)
}

func (d *deadLetter) entry() *sink.Record { return &d.part.Records[d.record] }

// letters builds the parameters of keepSQL.
func (w *writer) letters(group string, letters []deadLetter) {
	p := &w.params
	texts := func(f func(*deadLetter) string) {
		out := make([]string, len(letters))
		for i := range letters {
			out[i] = f(&letters[i])
		}
		p.Strings(out)
	}
	blobs := func(f func(*sink.Record) []byte) {
		out := make([][]byte, len(letters))
		for i := range letters {
			out[i] = f(letters[i].entry())
		}
		p.Bytes(out)
	}
	numbers := func(f func(*deadLetter) int64, wide bool) {
		out := make([]int64, len(letters))
		for i := range letters {
			out[i] = f(&letters[i])
		}
		p.Integers(out, wide)
	}
	p.Text(group)
	texts(func(d *deadLetter) string { return d.part.Claim.TopicID.String() })
	texts(func(d *deadLetter) string { return d.entry().Topic })
	numbers(func(d *deadLetter) int64 { return int64(d.part.Claim.Generation) }, false)
	numbers(func(d *deadLetter) int64 { return int64(d.entry().Partition) }, false)
	numbers(func(d *deadLetter) int64 { return d.entry().Offset }, true)
	texts(func(d *deadLetter) string { return timestampText(d.entry().Timestamp) })
	blobs(func(r *sink.Record) []byte { return r.Key })
	blobs(func(r *sink.Record) []byte { return r.Value })
	texts(func(d *deadLetter) string { return headersJSON(d.entry().Headers) })
	texts(func(d *deadLetter) string { return d.code })
	texts(func(d *deadLetter) string { return plain(d.message) })
	texts(func(d *deadLetter) string { return d.table })
	texts(func(d *deadLetter) string { return d.column })
	texts(func(d *deadLetter) string { return d.constraint })
}

// timestampText is "" (null) for times that Kafka does not know or that no calendar has.
func timestampText(t time.Time) string {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.999999999Z07:00")
}

// headersJSON is an array of [name, value] with the value in base64. A name that
// is not a text to PostgreSQL stands in base64 as a third element, and is null.
func headersJSON(headers []sink.Header) string {
	out := make([][]any, 0, len(headers))
	for _, h := range headers {
		value := any(base64.StdEncoding.EncodeToString(h.Value))
		if h.Value == nil {
			value = nil
		}
		if utf8.ValidString(h.Key) && !strings.Contains(h.Key, "\x00") {
			out = append(out, []any{h.Key, value})
		} else {
			out = append(out, []any{nil, value, base64.StdEncoding.EncodeToString([]byte(h.Key))})
		}
	}
	b, _ := json.Marshal(out) // strings and nulls: nothing to fail
	return string(b)
}

// plain makes a message storable as text.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
