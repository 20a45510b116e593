package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kafkaconnect "github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/ddl"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/formats"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/registry"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// shapes finds what the newest schema of a topic says of its values, and of its keys if a table takes something of these.
func (s *session) shapes(ctx context.Context, topic string) (*ddl.Shapes, error) {
	format, keyFormat := mapping.FormatsOf(s.sinkCfg.Topics[topic])
	out := &ddl.Shapes{}
	var err error
	switch format {
	case sink.JSON:
		return nil, &sink.ConfigError{Problem: "the records of topic " + topic + " have no schema (format json)", Fix: "`oncesink new` drafts a table by what they look like"}
	case sink.ConnectJSON:
		return s.inRecords(ctx, topic)
	default:
		if out.Value, out.From, err = s.registered(ctx, topic, false); err != nil {
			return nil, err
		}
	}
	if s.takesKey(topic) && (keyFormat == sink.Avro || keyFormat == sink.Protobuf) {
		if out.Key, _, err = s.registered(ctx, topic, true); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// takesKey reports whether a column takes something of the records' keys.
func (s *session) takesKey(topic string) bool {
	return slices.ContainsFunc(s.sinkCfg.Tables, func(t sink.TableConfig) bool {
		for _, from := range ddl.Sources(&t) {
			if slices.Contains(t.Topics, topic) && (from.Meta == source.KeyJSON || from.Meta == source.Key && from.Path != "") {
				return true
			}
		}
		return false
	})
}

// registered is what the registry has, or what of it is kept.
func (s *session) registered(ctx context.Context, topic string, key bool) (*event.Shape, string, error) {
	how := s.sinkCfg.Topics[topic]
	subject, what := topic+"-value", "values"
	switch {
	case key:
		subject, what = topic+"-key", "keys"
	case how.Subject != "":
		subject = how.Subject
	}
	ctx, cancel := context.WithTimeout(ctx, 3*connectTimeout)
	defer cancel()
	text, from, err := s.newest(ctx, topic, subject, key)
	if err != nil {
		return nil, "", fmt.Errorf("no schema of the %s of topic %s: %w", what, topic, err)
	}
	shape, err := formats.Shape(how, key, text)
	if err != nil {
		return nil, "", &sink.ConfigError{Problem: fmt.Sprintf("use %s for the %s of topic %s: %v", from, what, topic, err), Fix: "correct the topic's `subject:`, `message:` or `format:`, or write the table's statement by hand"}
	}
	return shape, from, nil
}

// newest asks the registry, and then for what of it is kept.
func (s *session) newest(ctx context.Context, topic, subject string, key bool) (text event.Schema, from string, err error) {
	if s.consumer.Registry == nil {
		return text, "", &sink.ConfigError{Problem: "the configuration has no schema registry", Fix: "name it in the section registry"}
	}
	asked, err := s.consumer.NewRegistry(nil)
	if err != nil {
		return text, "", err
	}
	text, version, err := asked.Newest(ctx, subject)
	if err == nil {
		return text, fmt.Sprintf("version %d of subject %s", version, subject), nil
	}
	if s.connectPostgres(ctx) != nil {
		return text, "", noSubject(err, subject, key)
	}
	kept, keptErr := s.consumer.NewRegistry(s.pool)
	if keptErr != nil {
		return text, "", keptErr
	}
	text, ref, ok, keptErr := kept.Kept(ctx, topic, key)
	if !ok || keptErr != nil {
		return text, "", noSubject(err, subject, key)
	}
	s.log.Warn("the schema registry has no answer: going by the schema that the topic was read with last", "topic", topic, "error", err)
	return text, fmt.Sprintf("schema %v, which topic %s was read with last", ref, topic), nil
}

// noSubject says what to do where nobody has a schema.
func noSubject(err error, subject string, key bool) error {
	if !errors.Is(err, registry.ErrNoSubject) {
		return &environmentError{err.Error()}
	}
	fix := "register the schema, or name its subject as the topic's `subject:`"
	if key {
		fix = "register the schema, or write the table's statement by hand"
	}
	return &sink.ConfigError{Problem: "the schema registry does not have subject " + subject, Fix: fix}
}

// sampled is how many of the newest records of each partition are looked at for a schema.
const sampled = 20

// inRecords finds the newest schema that stands in the records themselves.
func (s *session) inRecords(ctx context.Context, topic string) (*ddl.Shapes, error) {
	if err := s.connectKafka(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, newTime)
	defer cancel()
	bounds, err := s.bounds(ctx)
	if err != nil {
		return nil, s.kafkaError(err)
	}
	last := map[offsets.Partition]stretch{}
	for p, all := range bounds {
		if from := max(all.from, all.to-sampled); p.Topic == topic && from < all.to {
			last[p] = stretch{from, all.to}
		}
	}
	out := &ddl.Shapes{From: "the schema in the newest records of topic " + topic}
	var values, keys newestRecord
	_, err = s.readStretches(ctx, last, func(records []sink.Record) error {
		for i := range records {
			r := &records[i]
			if _, schema, _ := kafkaconnect.Apart(r.Value); schema != nil && values.before(r) {
				out.Value = schema.Shape()
			}
			if _, schema, _ := kafkaconnect.Apart(r.Key); schema != nil && keys.before(r) {
				out.Key = schema.Shape()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if out.Value == nil {
		return nil, &environmentError{fmt.Sprintf("no record among the last ones of topic %s has a schema in it: have the connector send them (schemas.enable=true), or write the table's statement by hand", topic)}
	}
	return out, nil
}

// newestRecord is where the newest record is that was seen.
type newestRecord struct {
	seen      bool
	time      time.Time
	partition int32
}

// before reports whether it comes before another record, which takes its place then. Those of one partition come in order.
func (n *newestRecord) before(r *sink.Record) bool {
	if n.seen && (r.Timestamp.Before(n.time) || r.Timestamp.Equal(n.time) && r.Partition < n.partition) {
		return false
	}
	n.seen, n.time, n.partition = true, r.Timestamp, r.Partition
	return true
}
