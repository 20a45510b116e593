package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/sink"
)

// topics are all topics that feed a table, sorted; without tables, those that are named.
func (c *Config) topics() []string {
	if len(c.Tables) == 0 {
		return slices.Sorted(maps.Keys(c.Topics))
	}
	set := map[string]bool{}
	for i := range c.Tables {
		for _, t := range c.Tables[i].Sources() {
			set[t] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// brokers are the addresses of all entries.
func (k *Kafka) brokers() []string {
	var out []string
	for _, entry := range k.Brokers {
		out = append(out, splitList(entry)...)
	}
	return out
}

func splitList(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// ToSink returns the sink's part, without a logger.
func (c *Config) ToSink() sink.Config {
	p := &c.Postgres
	out := sink.Config{
		TimeZone:          p.TimeZone,
		SearchPath:        p.SearchPath,
		Rounding:          c.Rounding,
		SynchronousCommit: p.SynchronousCommit,
		StatementTimeout:  time.Duration(p.StatementTimeout),
		LockTimeout:       time.Duration(p.LockTimeout),
		IdleTimeout:       time.Duration(p.IdleTimeout),
		ForeignKeyWait:    time.Duration(p.ForeignKeyWait),
		DeadLetters:       sink.DeadLetters(c.DeadLetters),
	}
	for name, t := range c.Topics {
		how := t.toSink()
		if how == (sink.TopicConfig{}) {
			continue
		}
		if out.Topics == nil {
			out.Topics = map[string]sink.TopicConfig{}
		}
		out.Topics[name] = how
	}
	for i := range c.Tables {
		t := c.Tables[i].toSink()
		if t.Parent != "" {
			t.Parent = c.TableName(t.Parent)
		}
		out.Tables = append(out.Tables, t)
	}
	return out
}

func (t *Table) toSink() sink.TableConfig {
	out := sink.TableConfig{
		Name: t.Name, Topics: t.Sources(), Strategy: sink.Strategy(t.Strategy), Key: t.Key, Version: t.Version,
		Guard: sink.Guard(t.Guard), RecordKey: t.RecordKey, Tombstones: sink.Tombstones(t.Tombstones), Create: t.Create,
		Accept: t.Accept, IgnoreFields: t.IgnoreFields, NewFields: sink.NewFields(t.NewFields),
		Parent: t.Parent, Each: t.Each, ParentKey: t.ParentKey,
	}
	out.When, out.DeleteWhen = conditions(t.When), conditions(t.DeleteWhen)
	out.Otherwise, out.SoftDelete, out.Truncate = sink.Otherwise(t.Otherwise), t.SoftDelete, sink.Truncates(t.Truncate)
	for name, c := range t.Columns {
		if out.Columns == nil {
			out.Columns = map[string]sink.ColumnConfig{}
		}
		column := sink.ColumnConfig{From: c.From, Encoding: c.Encoding, Zone: c.Zone, Unit: c.Unit, Rounding: c.Rounding, SQL: c.SQL,
			Scale: c.Scale, Default: c.Default, DefaultFor: sink.DefaultFor(c.DefaultFor)}
		for input, in := range c.Inputs {
			if column.Inputs == nil {
				column.Inputs = map[string]sink.InputConfig{}
			}
			column.Inputs[input] = sink.InputConfig(in)
		}
		out.Columns[name] = column
	}
	return out
}

func conditions(from map[string]Condition) map[string]sink.Condition {
	if from == nil {
		return nil
	}
	out := map[string]sink.Condition{}
	for path, c := range from {
		out[path] = sink.Condition{In: c.In, Not: c.Not, Exists: c.Exists}
	}
	return out
}

// envelopes are those that have a name.
var envelopes = map[string]func() *sink.Envelope{"debezium": sink.Debezium, "flattened": sink.Flattened, "maxwell": sink.Maxwell, "goldengate": sink.GoldenGate, "cloudevents": sink.CloudEvents}

func (t *Topic) toSink() sink.TopicConfig {
	out := sink.TopicConfig{Format: sink.Format(t.Format), KeyFormat: sink.Format(t.KeyFormat), Message: t.Message, Subject: t.Subject, Unmatched: sink.Unmatched(t.Unmatched)}
	e := t.Envelope
	if e == nil {
		return out
	}
	out.Envelope = &sink.Envelope{}
	if known := envelopes[e.Like]; known != nil {
		out.Envelope = known()
	}
	x := out.Envelope
	for _, text := range []struct {
		given string
		to    *string
	}{{e.After, &x.After}, {e.Before, &x.Before}, {e.Op, &x.Op}, {e.Unavailable, &x.Unavailable}} {
		if text.given != "" {
			*text.to = text.given
		}
	}
	for _, list := range []struct {
		given Values
		to    *[]string
	}{{e.Upsert, &x.Upsert}, {e.Delete, &x.Delete}, {e.Ignore, &x.Ignore}, {e.Truncate, &x.Truncate}} {
		if list.given != nil {
			*list.to = list.given
		}
	}
	return out
}

// ToConsumer returns the consumer's part, without a logger. The error is of a
// certificate file.
func (c *Config) ToConsumer() (consumer.Config, error) {
	opts, err := c.KafkaOptions()
	if err != nil {
		return consumer.Config{}, err
	}
	k, l := &c.Kafka, &c.Limits
	// A client's own default is 5 minutes.
	refresh := cmp.Or(time.Duration(k.TopicRefresh), time.Minute)
	opts = append(opts, kgo.MetadataMinAge(min(refresh, 5*time.Second)), kgo.MetadataMaxAge(refresh))
	out := consumer.Config{
		Brokers:              k.brokers(),
		Group:                k.Group,
		InstanceID:           k.InstanceID,
		Protocol:             consumer.Protocol(k.Protocol),
		Topics:               map[string]consumer.Start{},
		Assign:               k.Assign,
		ClientOptions:        opts,
		SessionTimeout:       time.Duration(k.SessionTimeout),
		Writers:              l.Writers,
		MaxBatchRecords:      l.BatchRecords,
		MaxBatchBytes:        int(l.BatchBytes),
		BufferBytes:          int64(l.BufferBytes),
		MaxDecompressedBytes: int(l.DecompressedBytes),
		StopTimeout:          time.Duration(l.StopTimeout),
	}
	if c.Registry != nil {
		if out.Registry, err = c.registry(); err != nil {
			return consumer.Config{}, err
		}
	}
	for _, topic := range c.topics() {
		start := c.Start
		if own := c.Topics[topic].Start; own.Given {
			start = own
		}
		out.Topics[topic] = start.Start
	}
	return out, nil
}

// Warnings names settings that work and are still likely to be a mistake.
func (c *Config) Warnings() []string {
	var out []string
	if s := c.Kafka.SASL; s != nil && c.Kafka.TLS == nil {
		switch s.Mechanism {
		case "PLAIN":
			out = append(out, "kafka.sasl: PLAIN without tls sends the password readable over the network")
		case "OAUTHBEARER":
			out = append(out, "kafka.sasl: OAUTHBEARER without tls sends the token readable over the network")
		case "AWS_MSK_IAM":
			out = append(out, "kafka.sasl: AWS_MSK_IAM is only taken by brokers on a port with tls: add tls: {}")
		}
	}
	if t := c.Kafka.TLS; t != nil && t.InsecureSkipVerify {
		out = append(out, "kafka.tls: insecure_skip_verify accepts every certificate")
	}
	if len(c.Kafka.Assign) > 0 {
		for _, topic := range c.topics() {
			if _, ok := c.Kafka.Assign[topic]; !ok {
				out = append(out, "kafka.assign: no partition of topic "+topic+" is assigned, so it isn't read")
			}
		}
	}
	return out
}
