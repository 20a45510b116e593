package sink

// Format is how payloads are written.
type Format string

// The formats.
const (
	JSON Format = "json"
	// ConnectJSON is JSON as Kafka Connect's JsonConverter writes it: with a schema beside the payload, or without.
	ConnectJSON Format = "connect-json"
	Avro        Format = "avro"
	Protobuf    Format = "protobuf"
)

// TopicConfig says how the records of a topic are read.
type TopicConfig struct {
	// Format of the values. Defaults to JSON; of a topic with the envelope of Debezium, to ConnectJSON.
	Format Format `json:",omitempty"`
	// KeyFormat is that of the record keys, where a table reads fields of them. Defaults to Format for JSON, else to JSON.
	KeyFormat Format `json:",omitempty"`
	// Message is the name of the Protobuf message that values are, whatever message index they come with. Empty: what the index says.
	Message string `json:",omitempty"`
	// Envelope around the rows. Nil: an event is a row.
	Envelope *Envelope `json:",omitempty"`
	// Subject of the registry that has the values' schemas, for the statements that `oncesink schema` makes of the newest one: records name their
	// schemas themselves. Empty: the topic's name and "-value".
	Subject string `json:",omitempty"`
	// Unmatched is what becomes of an event that no table wants, none's When being met. Defaults to IgnoreUnmatched.
	Unmatched Unmatched `json:",omitempty"`
}

// Unmatched is what becomes of an event that no table wants.
type Unmatched string

const (
	// IgnoreUnmatched counts it, in [Stats].
	IgnoreUnmatched Unmatched = "ignore"
	// RefuseUnmatched makes it a dead letter, ONS43.
	RefuseUnmatched Unmatched = "refuse"
)

// Envelope says what events of a topic have around the row that they are about, and what has happened to it. Paths of columns
// lead into the row, and $envelope.PATH into the event. [Debezium], [Flattened] and [Maxwell] return those of programs.
type Envelope struct {
	// After is the path of the row as the event leaves it. Empty: the event itself.
	After string `json:",omitempty"`
	// Before is the path of the row as it was, where a deleted row's key is looked for when nothing else has it. Empty: nowhere.
	Before string `json:",omitempty"`
	// Op is the path of what has happened. Empty: every event writes its row.
	Op string `json:",omitempty"`
	// Upsert, Delete, Ignore and Truncate are what stands at Op, as texts, when the row was written or deleted, when nothing has happened
	// to a row, and when all rows are gone. If Upsert is empty it is whatever none of the others has, or nothing. Otherwise an event with
	// anything else is a dead letter.
	Upsert   []string `json:",omitempty"`
	Delete   []string `json:",omitempty"`
	Ignore   []string `json:",omitempty"`
	Truncate []string `json:",omitempty"`
	// Encoded is where events have the row as base64 in place of After. It is not read: such an event is a dead letter. Empty: nowhere.
	Encoded string `json:",omitempty"`
	// KeyOnly: of a deleted row nothing but its key is what it was, neither here nor there; but for fields whose names begin with Prefix, which
	// are the event's.
	KeyOnly bool   `json:",omitempty"`
	Prefix  string `json:",omitempty"`
	// RecordKey: the record's key has the fields of the row's key, under the same names.
	RecordKey bool `json:",omitempty"`
	// Unavailable is what stands in the place of a value that the source has and did not send (an unchanged TOAST value of PostgreSQL): such a
	// column stays as it is. Empty: nothing does.
	Unavailable string `json:",omitempty"`
}

// unavailable is the default of Debezium's unavailable.value.placeholder.
const unavailable = "__debezium_unavailable_value"

// Debezium is the envelope of Debezium's change events.
func Debezium() *Envelope {
	return &Envelope{
		After: "after", Before: "before", Op: "op",
		Upsert: []string{"c", "r", "u"}, Delete: []string{"d"}, Ignore: []string{"m"}, Truncate: []string{"t"},
		KeyOnly: true, RecordKey: true, Unavailable: unavailable,
	}
}

// Flattened is what Debezium's ExtractNewRecordState makes of them: the row, with fields of the event that begin with two underscores. With
// delete.tombstone.handling.mode=rewrite, __deleted tells that the row was deleted.
func Flattened() *Envelope {
	return &Envelope{Op: "__deleted", Delete: []string{"true"}, KeyOnly: true, Prefix: "__", RecordKey: true, Unavailable: unavailable}
}

// Maxwell is the envelope of Maxwell's events.
func Maxwell() *Envelope {
	return &Envelope{
		After: "data", Op: "type", Upsert: []string{"insert", "update", "bootstrap-insert"}, Delete: []string{"delete"},
		Ignore: []string{"bootstrap-start", "bootstrap-complete", "database-create", "database-alter", "database-drop", "table-create", "table-alter", "table-drop"},
	}
}

// GoldenGate is the envelope of Oracle GoldenGate's JSON, with its defaults.
func GoldenGate() *Envelope {
	return &Envelope{After: "after", Before: "before", Op: "op_type", Upsert: []string{"I", "U"}, Delete: []string{"D"}, Truncate: []string{"T"}}
}

// CloudEvents is the envelope of CloudEvents in structured mode: one JSON document with the event's attributes and its data, whose fields
// are the row's. In binary mode the attributes are headers, ce_type among them, and there is no envelope.
func CloudEvents() *Envelope {
	return &Envelope{After: "data", Encoded: "data_base64"}
}
