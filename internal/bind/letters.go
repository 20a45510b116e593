package bind

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// Letter is a dead letter: a record that can't be written, and why.
type Letter struct {
	Part                      *decode.Part
	Record                    int32
	Code, Message             string
	Plain                     bool // Message quotes nothing of the record
	Table, Column, Constraint string
}

// Entry is the record itself.
func (d *Letter) Entry() *sink.Record { return &d.Part.Records[d.Record] }

// Letters adds what [statement.KeepLetters] takes.
func (p *Params) Letters(group string, letters []Letter) {
	texts := func(f func(*Letter) string) {
		out := make([]string, len(letters))
		for i := range letters {
			out[i] = f(&letters[i])
		}
		p.Strings(out)
	}
	blobs := func(f func(*sink.Record) []byte) {
		out := make([][]byte, len(letters))
		for i := range letters {
			out[i] = f(letters[i].Entry())
		}
		p.Bytes(out)
	}
	numbers := func(f func(*Letter) int64, wide bool) {
		out := make([]int64, len(letters))
		for i := range letters {
			out[i] = f(&letters[i])
		}
		p.Integers(out, wide)
	}
	p.Text(group)
	texts(func(d *Letter) string { return d.Part.Claim.TopicID.String() })
	texts(func(d *Letter) string { return d.Entry().Topic })
	numbers(func(d *Letter) int64 { return int64(d.Part.Claim.Generation) }, false)
	numbers(func(d *Letter) int64 { return int64(d.Entry().Partition) }, false)
	numbers(func(d *Letter) int64 { return d.Entry().Offset }, true)
	texts(func(d *Letter) string { return timestampText(d.Entry().Timestamp) })
	blobs(func(r *sink.Record) []byte { return r.Key })
	blobs(func(r *sink.Record) []byte { return r.Value })
	texts(func(d *Letter) string { return headersJSON(d.Entry().Headers) })
	texts(func(d *Letter) string { return d.Code })
	texts(func(d *Letter) string { return storable(d.Message) })
	texts(func(d *Letter) string { return d.Table })
	texts(func(d *Letter) string { return d.Column })
	texts(func(d *Letter) string { return d.Constraint })
}

// Ranges adds what [statement.ResolveLetters] takes: ranges of offsets, the end of each left out, and by whom their letters are
// resolved.
func (p *Params) Ranges(group string, topicIDs []string, partitions, low, high []int64, by string) {
	p.Text(group)
	p.Strings(topicIDs)
	p.Integers(partitions, false)
	p.Integers(low, true)
	p.Integers(high, true)
	p.Text(by)
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

// ReadHeaders reads the headers of a dead letter.
func ReadHeaders(text []byte) ([]sink.Header, error) {
	var all [][]*string
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the headers: %w", err)
	}
	var headers []sink.Header
	for _, h := range all {
		var out sink.Header
		var name, value []byte
		var err error
		switch {
		case len(h) >= 2 && h[0] != nil:
			out.Key = *h[0]
		case len(h) == 3 && h[2] != nil:
			if name, err = base64.StdEncoding.DecodeString(*h[2]); err != nil {
				return nil, fmt.Errorf("read a header's name: %w", err)
			}
			out.Key = string(name)
		default:
			return nil, errors.New("read the headers: one has no name")
		}
		if h[1] != nil {
			if value, err = base64.StdEncoding.DecodeString(*h[1]); err != nil {
				return nil, fmt.Errorf("read a header's value: %w", err)
			}
			out.Value = value
		}
		headers = append(headers, out)
	}
	return headers, nil
}

// storable makes a message storable as text.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
