// Package wiring has what oncesink's own commands bring to a consumer and learn from it, where a program gives a
// configuration alone.
package wiring

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

// Parts are what a consumer writes with, made by the caller: see consumer.NewWith.
type Parts struct {
	Ledger *offsets.Ledger
	Engine *engine.Sink
	// Until bounds partitions that are assigned by hand: no record at or beyond its
	// offset is applied, and Run returns when each has applied all below it.
	Until map[offsets.Partition]int64
	// NoMirror leaves the Kafka group of this name alone: no copy of the positions.
	NoMirror bool
	// Look is set to what looks at the ledger and the log as a run does when it begins; nil: nobody wants to.
	Look *Look
	// Archive has what the logs no longer have; nil: there is none.
	Archive kafka.Archive
	// Schemas that records refer to; nil if no format needs any.
	Schemas event.SchemaSource
}

// Keeper is a source of schemas that keeps those that were of use.
type Keeper interface {
	// Learnt keeps a schema by which records of a topic, their values or keys, can be read.
	Learnt(ctx context.Context, topic string, key bool, ref event.SchemaRef) error
	// Ever reports whether records of a topic could ever be read with one of its schemas.
	Ever(ctx context.Context, topic string, key bool) (bool, error)
	// Subjects says which subjects have a schema, for people: "" if nobody knows.
	Subjects(ctx context.Context, ref event.SchemaRef) string
}

// Look reads what a run would meet, by a client of its caller's.
type Look func(ctx context.Context, client *kgo.Client) (*Outlook, error)

// KafkaSection is what a person who has a configuration file corrects where no client can be made, or none gets through.
const KafkaSection = "correct the kafka section of the configuration"

// NoTopicIDs says what is missing where brokers give topics no ids, by which one that was recreated is noticed.
const NoTopicIDs = "the brokers give topics no ids, by which one that is deleted and created again is told from the one before. Read from Apache Kafka 2.8 or newer, or from a service that has them"

// BufferBytes is the default of consumer.Config.BufferBytes.
const BufferBytes = 16 << 20

// Outlook is what a run that begins now would meet at its first claims and
// fetches, before it has read a record.
type Outlook struct {
	// Refused are *sink.ConfigErrors that end a run at once.
	Refused []error
	// Halted are the errors that halt a partition while the others go on. Of those that all
	// partitions of a topic share, there is one.
	Halted []error
	// Warnings are for people. So is Missing, which says where a first position is to be one that the group has committed, and
	// has not: the run itself says so when it makes it.
	Warnings, Missing []string
	// First are the positions that partitions without one would be given, in order.
	First []offsets.First
}
