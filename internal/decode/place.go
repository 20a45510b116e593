package decode

import (
	"strconv"
	"time"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// timestampLayout is RFC 3339 with milliseconds, which is what Kafka has.
const timestampLayout = "2006-01-02T15:04:05.000Z07:00"

// appendMeta appends what a record's place or time is as the column's text.
func appendMeta(c *tables.Column, dst []byte, rec *sink.Record) []byte {
	quoted := c.Kind == pgtext.KindJSON
	switch c.Source.Meta {
	case source.Partition:
		return strconv.AppendInt(dst, int64(rec.Partition), 10)
	case source.Offset:
		return strconv.AppendInt(dst, rec.Offset, 10)
	case source.Topic: // letters, digits, dots, underscores and hyphens
		return appendQuoted(dst, rec.Topic, quoted)
	default:
		if c.Kind == pgtext.KindDate {
			return rec.Timestamp.In(c.Location).AppendFormat(dst, time.DateOnly)
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
