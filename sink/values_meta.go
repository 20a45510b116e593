package sink

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/fields"
)

// appendBytes appends the text of bytes that surround the value: the record's key
// or a header, or the value as a whole. A json column takes them if they are
// JSON, bytea as they are (or in its encoding, if it has one), any other as text.
func (c *column) appendBytes(dst, b []byte) ([]byte, *refusal) {
	start := len(dst)
	switch {
	case c.kind == kindBytea && c.encoding == "" && !c.array:
		return appendBytea(dst, b), nil
	case !utf8.Valid(b):
		return dst, refuse(badCharacter, "invalid UTF-8")
	case bytes.IndexByte(b, 0) >= 0:
		return dst, refuse(badCharacter, "a byte 0x00 in a text")
	case c.array:
		return append(dst, b...), c.checkArrayText(b)
	case c.kind == kindJSON:
		if hasNUL(b) {
			return dst, refuse(badEscape, `\u0000 in a JSON value`)
		}
		return append(dst, b...), refusalOf(c.json.Extract(b, nil))
	}
	return c.fit(append(dst, b...), start)
}

// refusalOf turns what package fields refuses into the SQLSTATE that PostgreSQL has for it.
func refusalOf(err error) *refusal {
	if err == nil {
		return nil
	}
	return refuse(fields.SQLState(err), err.Error())
}

// timestampLayout is RFC 3339 with milliseconds, which is what Kafka has.
const timestampLayout = "2006-01-02T15:04:05.000Z07:00"

// appendMeta appends what a record's place or time is as the column's text.
func (c *column) appendMeta(dst []byte, rec *Record) []byte {
	quoted := c.kind == kindJSON
	switch c.source.meta {
	case metaPartition:
		return strconv.AppendInt(dst, int64(rec.Partition), 10)
	case metaOffset:
		return strconv.AppendInt(dst, rec.Offset, 10)
	case metaTopic: // letters, digits, dots, underscores and hyphens
		return appendQuoted(dst, rec.Topic, quoted)
	default:
		if c.kind == kindDate {
			return rec.Timestamp.In(c.location).AppendFormat(dst, time.DateOnly)
		}
		return appendQuoted(dst, rec.Timestamp.UTC().Format(timestampLayout), quoted)
	}
}

func appendQuoted(dst []byte, s string, quoted bool) []byte {
	if !quoted {
		return append(dst, s...)
	}
	return append(append(append(dst, '"'), s...), '"')
}
