package mapping

import (
	"slices"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// FormatsOf are the formats of a topic's values and keys, with their defaults: Debezium writes both alike.
func FormatsOf(t sink.TopicConfig) (values, keys sink.Format) {
	debezium := t.Envelope != nil && t.Envelope.RecordKey
	values, keys = t.Format, t.KeyFormat
	if values == "" {
		values = sink.JSON
		if debezium {
			values = sink.ConnectJSON
		}
	}
	if keys == "" {
		keys = sink.JSON
		if debezium {
			keys = values
		}
	}
	return values, keys
}

// defaultEncoding is that of a bytea column which does not say it: formats with types have bytes, and base64 where these are within
// something else, or have lost their type.
func defaultEncoding(c *tables.Column, cfg *sink.Config, topics []string) string {
	plain := slices.ContainsFunc(topics, func(topic string) bool {
		values, _ := FormatsOf(cfg.Topics[topic])
		return values == sink.JSON
	})
	if c.Kind != pgtext.KindBytea || c.Source.Raw() || plain || len(topics) == 0 {
		return ""
	}
	return "base64"
}
