package event

import (
	"context"
	"fmt"
)

// Format reads payloads of one kind: values of records, or their keys. It is safe for concurrent use.
type Format interface {
	// Plan compiles paths: names of fields separated by dots, in which a dot is written \. and a backslash \\.
	// The path "" is the document as a whole, and [SchemaName] no field. Paths may repeat, and one may lead through another. An error is the
	// configuration's fault.
	Plan(paths []string) (Plan, error)
}

// SchemaName is the path of the name of the type that a value was written with, which tells several types of one topic apart: the full
// name of Avro's record or of Protobuf's message. It is Absent in formats that have none. No field has this path.
const SchemaName = ".schema"

// Plan reads what stands at the paths it was compiled from. It is safe for concurrent use, and immutable but for
// what it learns.
type Plan interface {
	// Read fills values[i] for path i; there are as many values as paths. A path through something that has no
	// fields is Absent. doc is not nil, and headers are the record's.
	//
	// What it makes itself, such as the JSON of a container, it appends to *arena, of which it never touches what is
	// there. Values point into doc, into the arena's memory as it is then, or to what never changes: they are good
	// until the caller writes to doc or shortens the arena.
	//
	// It never blocks. An *[UnknownSchema] asks for a schema, after which the same record is read again. Any other error
	// is a *[Refusal]. After an error values are undefined.
	Read(doc []byte, headers Headers, values []Value, arena *[]byte) error

	// Learn takes a schema that was asked for; a second time it changes nothing. Its error, that the schema can't be
	// used, is no record's fault. Reads that go on meanwhile may still ask for it.
	Learn(ref SchemaRef, schema Schema) error
}

// Headers are those of a record.
type Headers interface {
	// Header returns the value of the last header of a name. It may be nil. ok is false if there is none.
	Header(name string) (value []byte, ok bool)
}

// SchemaRef is how a record names the schema it was written with.
type SchemaRef struct {
	// Space is which of a registry's names ID is, such as id or guid.
	Space string
	// ID is a number in decimal digits, or a GUID in lower case.
	ID string
}

func (r SchemaRef) String() string { return r.Space + " " + r.ID }

// Schema is a schema as a registry has it. It is immutable: a reference means the same schema for ever.
type Schema struct {
	// Type is AVRO, PROTOBUF or JSON.
	Type string
	Text string
	// References are what the text refers to, each with its own.
	References []Reference
}

// Reference is a schema that another one refers to by a name.
type Reference struct {
	Name   string
	Schema Schema
}

// SchemaSource is where schemas come from, such as a registry.
type SchemaSource interface {
	// Schema returns the schema that a reference means. It may block, until ctx ends. It is called concurrently, also for one
	// reference. An error is taken for one that passes, and the source is asked again later, unless it is a *sink.HaltError or a
	// *[NoSchema].
	Schema(ctx context.Context, ref SchemaRef) (Schema, error)
}

// UnknownSchema asks for a schema.
type UnknownSchema struct{ Ref SchemaRef }

func (e *UnknownSchema) Error() string { return fmt.Sprintf("schema %v is not known yet", e.Ref) }

// NoSchema says that a source is there, was asked for long enough, and does not have a schema: a record that refers to it is to
// blame if the source has others of its topic.
type NoSchema struct {
	Ref SchemaRef
	// Asked is for how long, for people.
	Asked string
}

func (e *NoSchema) Error() string {
	return fmt.Sprintf("the schema registry does not know schema %v, and was asked for it for %s", e.Ref, e.Asked)
}
