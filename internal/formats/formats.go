// Package formats knows which format a topic's values and record keys have, by its configuration.
package formats

import (
	"github.com/oncesink/oncesink/internal/avro"
	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/protobuf"
	"github.com/oncesink/oncesink/sink"
)

// Of returns the formats of topics that a configuration, which was found right, has something to say of, and of all others.
func Of(topics map[string]sink.TopicConfig) decode.Formats {
	return func(topic string) (values, keys event.Format) {
		t := topics[topic]
		format, keyFormat := mapping.FormatsOf(t)
		var withheld *connect.Placeholder
		if t.Envelope != nil && t.Envelope.Unavailable != "" {
			withheld, _ = connect.NewPlaceholder(t.Envelope.Unavailable) // the configuration was checked
		}
		return of(format, t.Message, withheld, false), of(keyFormat, "", nil, true)
	}
}

func of(format sink.Format, message string, withheld *connect.Placeholder, key bool) event.Format {
	switch format {
	case sink.Avro:
		return avro.New(avro.Options{Key: key, Placeholder: withheld})
	case sink.Protobuf:
		return protobuf.New(protobuf.Options{Key: key, Message: message, Placeholder: withheld})
	case sink.ConnectJSON:
		return connect.JSON{Placeholder: withheld}
	}
	if withheld != nil { // the JSON of Kafka Connect is any JSON, and knows what stands for others
		return connect.JSON{Placeholder: withheld}
	}
	return fields.JSON{}
}

// Shape is what a schema of a registry says of a topic's values, or of its keys.
func Shape(topic sink.TopicConfig, key bool, s event.Schema) (*event.Shape, error) {
	format, keyFormat := mapping.FormatsOf(topic)
	message := topic.Message
	if key {
		format, message = keyFormat, ""
	}
	if format == sink.Protobuf {
		return protobuf.Shape(s, message)
	}
	return avro.Shape(s)
}
