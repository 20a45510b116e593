package sink

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// Record is one event of a topic. The sink keeps references to its slices until
// the part that it was added to is written.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	// Epoch is the leader epoch the record was appended under, -1 if unknown.
	Epoch     int32
	Timestamp time.Time
	Key       []byte
	// Value is nil for a tombstone.
	Value   []byte
	Headers []Header
	// Control marks a transaction marker: it moves the position and nothing else.
	Control bool
}

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Handler joins its own SQL to the transaction that moves the position over
// these records: its effects happen exactly when the position moves. The records
// are in offset order per partition; transaction markers and records that can't be
// decoded for a table are left out. It may run several times for the same
// records, each time in a transaction (or savepoint) whose earlier effects are
// gone, and for parts of a batch while a bad record is looked for; it must not commit,
// roll back or keep tx. Writers call it at the same time, for records of other
// partitions. The transaction's settings are those of the Config: its time zone, its search
// path, its timeouts. See [OnTopics] for one that wants some topics only.
//
// Its error decides what comes next:
//
//	made by Poison      the records are halved until the one to blame is found: it
//	                    becomes a dead letter, the others are written
//	made by Transient   the same records are tried again, for as long as it takes, with
//	                    pauses that grow from 50 ms to 5 s. The partition is told as stuck, in
//	                    the log and in oncesink.status, when the error repeats for two minutes
//	of PostgreSQL       by its SQLSTATE: what passes (a deadlock, a lost connection)
//	                    is tried again, what a value causes (22, 23) is that record's fault,
//	                    what a person has to mend (42: a missing table) ends the run
//	any other, a panic  halts the partitions of the records; the others go on
//
// What the log and the ledger say of it has no value of a record: what stands in quotes, and words that the records hold, are left
// out; of a panic the log has the stack. A dead letter has the whole text.
//
// It may wrap what it returns: errors are looked for with [errors.As].
type Handler func(ctx context.Context, tx pgx.Tx, records []Record) error

// Config says what a Sink writes.
type Config struct {
	Tables []TableConfig
	// Topics says how the records of topics are read. One that is not in it has JSON, and rows without an envelope.
	Topics map[string]TopicConfig
	// Handlers run after the tables, in order.
	Handlers []Handler
	// HandlersReplaySafe declares that running the handlers again for records that
	// were applied before changes nothing. Without it a group with handlers can't
	// be rewound.
	HandlersReplaySafe bool
	// TimeZone reads times that name no zone. Defaults to UTC.
	TimeZone string
	// SearchPath of every transaction. Defaults to public.
	SearchPath string
	// Rounding is "allow", where a column rounds what has more digits than it keeps, or "refuse": the record
	// becomes a dead letter. It is about numeric, time and timestamp. Defaults to allow.
	Rounding string
	// SynchronousCommit of the sink's transactions: "on" or "off" (claims are
	// always synchronous); "off" refuses unlogged targets. Defaults to "on".
	SynchronousCommit string
	// StatementTimeout bounds one statement. Defaults to 60 s.
	StatementTimeout time.Duration
	// LockTimeout bounds the wait for a lock on a target. Defaults to 10 s.
	LockTimeout time.Duration
	// IdleTimeout bounds how long a stopped process can keep a transaction open.
	// Defaults to 10 s.
	IdleTimeout time.Duration
	// ForeignKeyWait is how long a missing parent row is waited for before the
	// record becomes a dead letter. Defaults to 30 s.
	ForeignKeyWait time.Duration
	// DeadLetters says what is done about records that can't be written.
	DeadLetters DeadLetters
	// Logger; nil discards.
	Logger *slog.Logger
	// Observer is told of each transaction; nil: nobody is. What grows only is in Stats, without it.
	Observer *Observer `json:"-"`
}

// DeadLetters says what is done about records that can't be written: they are kept whole in oncesink.dead_letters.
//
// A partition of which too many records can't be written halts, before they flood the table: the mapping is wrong, most
// likely, or what is sent has changed. The transaction that would cross a limit is rolled back, and the position stands
// before it. What was counted stands in the ledger, so that a restart forgets nothing; a record that is read again and
// has its letter already does not count. oncesink.accept_dead_letters lets a partition go on.
type DeadLetters struct {
	// MaxRatio is how many of the last Window records of a partition may be dead letters: 0.1 is a tenth of them. Of a
	// partition that has had fewer records it is so many of those, but of a tenth of Window at least. 1: all. Defaults to 0.1.
	MaxRatio float64
	// Window of records, counted by offset. Defaults to 10,000.
	Window int64
	// MaxConsecutive is how many records of a partition may be dead letters one after the other. Below 0: any
	// number. Defaults to 1,000.
	MaxConsecutive int64
	// RetryRate bounds how many letters of one partition are tried again in a second, after somebody has asked for it with
	// oncesink.retry_dead_letters. Defaults to 500.
	RetryRate int
}

// Strategy is a way to write a table.
type Strategy string

// The strategies.
const (
	// Upsert keeps one row per key: the last event by the order of the guard.
	Upsert Strategy = "upsert"
	// Append keeps one row per event, keyed by where the event stood.
	Append Strategy = "append"
	// Children keeps the elements of an array of the parent table's events: those of the last event
	// that has the array, by the order of the guard.
	Children Strategy = "children"
)

// Guard says by what a table knows which event wrote a row.
type Guard string

// The guards.
const (
	// GuardEngine is two columns of the table: a replay changes nothing.
	GuardEngine Guard = "engine"
	// GuardNone is nothing: exactly once live, and no replay.
	GuardNone Guard = "none"
)

// Tombstones says what records without a value do.
type Tombstones string

// What tombstones do.
const (
	// DeleteRows deletes the row that the record's key names.
	DeleteRows Tombstones = "delete"
	// IgnoreTombstones does nothing. An append table has a row for a tombstone otherwise.
	IgnoreTombstones Tombstones = "ignore"
)

// Otherwise says what an event does that does not meet a table's conditions.
type Otherwise string

// What events do that do not meet the conditions.
const (
	// OtherwiseIgnore leaves the table as it is.
	OtherwiseIgnore Otherwise = "ignore"
	// OtherwiseDelete deletes the row that the event's key names, as a deletion with the event's version.
	OtherwiseDelete Otherwise = "delete"
)

// Truncates says what an event does that tells that all rows of the source are gone.
type Truncates string

// What such events do.
const (
	// RefuseTruncates makes them dead letters.
	RefuseTruncates Truncates = "refuse"
	// IgnoreTruncates does nothing.
	IgnoreTruncates Truncates = "ignore"
)

// TableConfig maps topics to one target table.
type TableConfig struct {
	// Name of the table, "table" or "schema.table".
	Name string
	// Topics that feed it.
	Topics   []string
	Strategy Strategy // defaults to Upsert
	// Key columns of an upsert: a unique, not deferrable, complete index's columns.
	Key []string
	// Version is the column that orders the events of a key, before generation
	// and offset. Empty: generation and offset alone.
	Version string
	Guard   Guard // defaults to GuardEngine
	// When says which events of the topics are the table's, by what they say at a path: of a field of the value ("type"), of
	// $envelope.PATH, $key, $key_json, $key.PATH, $header.NAME, $topic or $partition. All conditions have to be met. Empty: every event. A
	// tombstone, which has no fields, meets conditions on them, and so does the deletion of a row in an envelope, which has no row.
	// Children have their parent's.
	When map[string]Condition
	// Otherwise says what an event does that does not meet them. Defaults to OtherwiseIgnore: the row that an earlier event of its key made stays as
	// it is.
	Otherwise Otherwise `json:",omitempty"`
	// DeleteWhen says which events delete their row, by conditions as those of When, all of which have to be met: {"deleted": {In: {"true"}}}. The
	// row is found by the event's own fields, or by RecordKey. Empty: none.
	DeleteWhen map[string]Condition `json:",omitempty"`
	// SoftDelete has columns that say that a row is deleted, and where an event that deletes it has their values: {"deleted_at": "$timestamp"}. The
	// row stays. An event that writes the row sets them to null. Tombstones are ignored then, unless they are to
	// delete. Empty: deleted rows go.
	SoftDelete map[string]string `json:",omitempty"`
	// Truncate says what an event does that tells that all rows are gone. Defaults to RefuseTruncates.
	Truncate Truncates `json:",omitempty"`
	// Columns says where a column comes from, where that isn't the field of the
	// same name.
	Columns map[string]ColumnConfig
	// RecordKey says how a tombstone names its row: key column -> "$key" (the bytes as they are),
	// "$key_json" (what they say as JSON: ann for "ann" with its quotes) or "$key.path". Empty: a tombstone is a dead letter.
	RecordKey  map[string]string
	Tombstones Tombstones // defaults to DeleteRows
	// Parent is the table, listed before, whose events bring the children; Each is the path of
	// the array, and ParentKey maps columns to key columns of the parent that have another name. Topics
	// are the parent's.
	Parent, Each string
	ParentKey    map[string]string
	// Accept lists codes of findings that are all right, alone or as "code:object".
	Accept []string
	// NewFields says what is done about fields of the row that no column takes. Defaults to IgnoreNewFields.
	NewFields NewFields `json:",omitempty"`
	// IgnoreFields are names of fields of the row that are to have no column, and are none that are new.
	IgnoreFields []string `json:",omitempty"`
	// Create is the statement that `oncesink init` runs if the table is missing, or [CreateAuto].
	Create string
}

// NewFields says what is done about a field of the row that no column takes: of the schema that a record was written with, or of a record that
// has none.
type NewFields string

// What is done about new fields.
const (
	// IgnoreNewFields goes on without them.
	IgnoreNewFields NewFields = "ignore"
	// WarnOfNewFields says so, once for each field.
	WarnOfNewFields NewFields = "warn"
	// HoldNewFields has the partition wait, before the first record that has one, until there is a column for it, or somebody has said
	// that there is to be none.
	HoldNewFields NewFields = "hold"
	// AddNewFields adds a column of the type that the schema says. Where that can't be done the partition waits.
	AddNewFields NewFields = "add"
)

// CreateAuto has `oncesink init` make the statement by the newest schema of the table's topics, as `oncesink schema` prints it. A program's own
// consumer.Init asks nobody for a schema: it refuses it where the table is missing.
const CreateAuto = "auto"

// Condition is what an event has to say at a path: all that is given has to be met. Texts are compared with the text of a string, a number as it is
// written, or true or false; no object or array is any of them.
type Condition struct {
	// In: it is one of these.
	In []string `json:",omitempty"`
	// Not: it is none of these, or there is nothing.
	Not []string `json:",omitempty"`
	// Exists: there is something and it isn't null; false: there is nothing, or null. Nil: either.
	Exists *bool `json:",omitempty"`
}

// ColumnConfig says where a column comes from.
type ColumnConfig struct {
	// From is a path of field names separated by dots ("customer.id"), which leads into the row where the topic has an envelope, or
	// $envelope.path (of the event), $topic, $partition, $offset, $timestamp, $key, $key_json, $key.path, $header.NAME, $value. Of
	// children a path is one into the element, and there are $element, $index (from 1) and
	// $event.path, too.
	From string
	// Encoding of a bytea column: "base64" or "hex"; "json" of a json or jsonb column whose values may be texts that have JSON in them.
	Encoding string
	// Zone in which a date column reads a time.
	Zone string
	// Unit of a number, or a text of digits alone, for a date, time, timestamp or interval column:
	// "s", "ms", "us" or "ns", or "days". It counts from 1970-01-01 in UTC, of a time from midnight. Without it
	// numbers are refused there. A date has days, or another one and a Zone.
	Unit string `json:",omitempty"`
	// Scale of a numeric column for which texts are base64 of a whole number in two's complement, as Kafka Connect writes decimals: how many of
	// its digits stand after the point. With 0 it may be an integer column. Numbers are read as ever. Nil: texts are numbers.
	Scale *int32 `json:",omitempty"`
	// Default is what the column takes where the event has null for it, or nothing, as DefaultFor says: a text, which is read as a text of the
	// event. An event that has no field for it sets the column to it, then, and does not leave it as it is. Nil: none.
	Default    *string    `json:",omitempty"`
	DefaultFor DefaultFor `json:",omitempty"`
	// Rounding of the column, if it isn't that of the configuration.
	Rounding string `json:",omitempty"`
	// SQL makes the column from others of the event: an expression over columns that events
	// fill, of which PostgreSQL knows every function as immutable.
	SQL string `json:",omitempty"`
	// Inputs are fields of the event that SQL reads and no column takes, by the names that it has for them.
	Inputs map[string]InputConfig `json:",omitempty"`
}

// DefaultFor says for what a column takes its default.
type DefaultFor string

// For what columns take their defaults.
const (
	// DefaultForBoth is either.
	DefaultForBoth DefaultFor = "both"
	// DefaultForAbsent is a field that the event does not have: null stays null.
	DefaultForAbsent DefaultFor = "absent"
	// DefaultForNull is null: an event without the field leaves the column as it is.
	DefaultForNull DefaultFor = "null"
)

// InputConfig is a field that an expression reads.
type InputConfig struct {
	// From is where it comes from, as of a column. Defaults to the field of the input's name.
	From string `json:",omitempty"`
	// Type is what it is read as: a type without length or precision, such as bigint.
	Type string
	// Encoding, Zone, Unit and Scale as of a column.
	Encoding string `json:",omitempty"`
	Zone     string `json:",omitempty"`
	Unit     string `json:",omitempty"`
	Scale    *int32 `json:",omitempty"`
}
