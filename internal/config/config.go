// Package config reads oncesink's configuration: one YAML file into one struct.
//
// Unknown and repeated keys are refused, with line and column. ${NAME} in a value
// is replaced by an environment variable, and ${file:PATH} by a file's content, after the YAML was parsed, so that no
// value can change the document's structure. All problems are reported at once,
// and no message ever holds a secret.
package config

// Config is the whole configuration. The doc comments of its fields are the
// descriptions in docs/oncesink.schema.json.
type Config struct {
	// Kafka says where the events come from.
	Kafka Kafka `yaml:"kafka"`
	// Postgres says where the rows go.
	Postgres Postgres `yaml:"postgres"`
	// Registry has the schemas of topics whose records only refer to them: Avro and Protobuf. Defaults to none.
	Registry *Registry `yaml:"registry,omitempty"`
	// Start is where a partition begins that has no position yet: earliest, latest,
	// committed (the position of the Kafka consumer group of the same name, to take
	// over from another program) or a time such as 2026-01-31T00:00:00Z. It is
	// resolved once and then lives in the database. Defaults to earliest.
	Start Start `yaml:"start,omitempty"`
	// Topics holds what differs between topics, by topic name, or by pattern as tables have it. Where there are no tables it names the topics.
	Topics map[string]Topic `yaml:"topics,omitempty"`
	// Rounding is allow, where a column rounds numbers and times that have more digits than it keeps,
	// or refuse: the record becomes a dead letter. It is about numeric, time and timestamp columns, not
	// about real, double precision, interval and money. Defaults to allow.
	Rounding string `yaml:"rounding,omitempty" jsonschema:"enum=allow,enum=refuse"`
	// Tables are the target tables. At least one; or none, written as [], with the topics of a program that
	// has handlers and no tables, for its init, status and replay.
	Tables []Table `yaml:"tables"`
	// Rollups are counts and sums per group over target tables. Defaults to none.
	Rollups []Rollup `yaml:"rollups,omitempty"`
	// DeadLetters says when a partition halts because too many of its records can't be written, and how
	// fast letters are tried again.
	DeadLetters DeadLetters `yaml:"dead_letters,omitempty"`
	// Limits bound batches, memory and shutdown.
	Limits Limits `yaml:"limits,omitempty"`
	// Archive keeps records of the topics in files. Defaults to none.
	Archive *Archive `yaml:"archive,omitempty"`
	// Admin is by what oncesink run is watched: metrics, probes and a page.
	Admin Admin `yaml:"admin,omitempty"`
	// Metrics bound what is measured.
	Metrics Metrics `yaml:"metrics,omitempty"`

	// access is how the program is let in; copies of a configuration share it.
	access *access
}

// Kafka says where the events come from.
type Kafka struct {
	// Brokers are the addresses to start from, HOST or HOST:PORT, port 9092 by
	// default. An entry may hold several, separated by commas.
	Brokers []string `yaml:"brokers"`
	// Group is the Kafka consumer group. It also names the positions in the
	// database: two processes with the same group share the partitions.
	Group string `yaml:"group"`
	// InstanceID makes the member static (KIP-345): a restart within the session
	// timeout causes no rebalance. Give each process its own. Defaults to none.
	InstanceID string `yaml:"instance_id,omitempty"`
	// Protocol is how the group shares the partitions: cooperative (classic group,
	// incremental rebalances), eager (classic group, stop the world) or consumer
	// (KIP-848: the broker assigns). All members have to use the same kind. Defaults to cooperative.
	Protocol string `yaml:"protocol,omitempty" jsonschema:"enum=cooperative,enum=eager,enum=consumer"`
	// SessionTimeout is after how long the group gives a silent member's
	// partitions away. Not for protocol consumer, where the broker sets it. Defaults to 45s.
	SessionTimeout Duration `yaml:"session_timeout,omitempty"`
	// TLS encrypts the connections to the brokers. "tls: {}" is enough with a
	// certificate that the system trusts. Defaults to no encryption.
	TLS *TLS `yaml:"tls,omitempty"`
	// SASL authenticates to the brokers. Defaults to none.
	SASL *SASL `yaml:"sasl,omitempty"`
	// Rack is where this process runs, as brokers call it by broker.rack, such as an availability zone: records are fetched
	// from a replica in the same one (KIP-392), where the brokers' replica.selector.class allows that. Defaults to none.
	Rack string `yaml:"rack,omitempty"`
	// ClientID is how the brokers know this program, for quotas and logs. Defaults to oncesink.
	ClientID string `yaml:"client_id,omitempty"`
	// TopicRefresh is how often topics are looked for that match a pattern of a table, and partitions that were added to topics. Defaults to 1m.
	TopicRefresh Duration `yaml:"topic_refresh,omitempty"`
	// Assign reads these partitions, by topic, without joining the group: no
	// rebalances, and every partition is read by whoever names it. The group still
	// names the positions. Defaults to none: the group assigns.
	Assign map[string][]int32 `yaml:"assign,omitempty"`
}

// TLS is the encryption of connections. Its files are read again, for each new connection, when they have changed.
type TLS struct {
	// CAFile holds the certificates to trust, in PEM. Defaults to the system's.
	CAFile string `yaml:"ca_file,omitempty"`
	// CertFile is the client certificate, in PEM, with key_file. Defaults to none.
	CertFile string `yaml:"cert_file,omitempty"`
	// KeyFile is the key of cert_file, in PEM.
	KeyFile string `yaml:"key_file,omitempty"`
	// ServerName is the name that the servers' certificates must have. Defaults to
	// the host of each address.
	ServerName string `yaml:"server_name,omitempty"`
	// InsecureSkipVerify accepts every certificate: anyone in between can read and
	// write the traffic. Defaults to false.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify,omitempty"`
}

// SASL is how the program authenticates to the brokers.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, with a username and a password; OAUTHBEARER, with a token; or AWS_MSK_IAM, with
	// the credentials that AWS' own programs find. PLAIN sends the password as it is, and OAUTHBEARER the token: use them with tls.
	Mechanism string `yaml:"mechanism" jsonschema:"enum=PLAIN,enum=SCRAM-SHA-256,enum=SCRAM-SHA-512,enum=OAUTHBEARER,enum=AWS_MSK_IAM"`
	// Username to authenticate as, of PLAIN and SCRAM.
	Username string `yaml:"username,omitempty"`
	// Password of the user, of PLAIN and SCRAM. Write ${NAME} to take it from the environment, or ${file:PATH} from a file.
	Password Secret `yaml:"password,omitempty"`
	// PasswordFile is a file with the password, which is read for each new connection. Instead of password.
	PasswordFile string `yaml:"password_file,omitempty"`
	// PasswordCommand prints the password. Instead of password.
	PasswordCommand *Command `yaml:"password_command,omitempty"`
	// TokenFile is a file with the token of OAUTHBEARER, which is read for each new connection.
	TokenFile string `yaml:"token_file,omitempty"`
	// TokenCommand prints the token of OAUTHBEARER. One that says itself when it ends (exp of a JWT) is used for four fifths of its life at most.
	TokenCommand *Command `yaml:"token_command,omitempty"`
	// ClientCredentials get tokens for OAUTHBEARER from a server.
	ClientCredentials *ClientCredentials `yaml:"client_credentials,omitempty"`
	// Extensions are sent with the token of OAUTHBEARER, such as {logicalCluster: lkc-1, identityPoolId: pool-1}. Defaults to none.
	Extensions map[string]string `yaml:"extensions,omitempty"`
}

// Command is a program that prints a secret: a password or a token, and nothing else.
type Command struct {
	// Command is the program and its arguments, such as [aws, rds, generate-db-auth-token, ...]. There is no shell around it.
	Command []string `yaml:"command"`
	// TTL is for how long an answer is used for new connections. One that was refused is asked for again at once. Defaults to 10m.
	TTL Duration `yaml:"ttl,omitempty"`
	// Timeout bounds one run. Defaults to 5s.
	Timeout Duration `yaml:"timeout,omitempty"`
}

// ClientCredentials get tokens by the client credentials of OAuth 2.0. A token is used for four fifths of its life.
type ClientCredentials struct {
	// TokenURL is where tokens are handed out.
	TokenURL string `yaml:"token_url"`
	// ClientID of the program.
	ClientID string `yaml:"client_id"`
	// ClientSecret of the program. Write ${NAME} to take it from the environment, or ${file:PATH} from a file.
	ClientSecret Secret `yaml:"client_secret,omitempty"`
	// ClientSecretFile is a file with the secret, which is read for each token. Instead of client_secret.
	ClientSecretFile string `yaml:"client_secret_file,omitempty"`
	// ClientAssertionFile is a file with a token that stands for the secret (RFC 7523), as workload identities have, which is read for
	// each token. Instead of client_secret.
	ClientAssertionFile string `yaml:"client_assertion_file,omitempty"`
	// Scopes that are asked for. Defaults to none.
	Scopes []string `yaml:"scopes,omitempty"`
	// Params are added to the request, such as {audience: kafka}. They are no place for secrets: they are shown. Defaults to none.
	Params map[string]string `yaml:"params,omitempty"`
	// TLS of token_url. Defaults to certificates that the system trusts.
	TLS *TLS `yaml:"tls,omitempty"`
}

// Postgres says where the rows go and how the sessions are set.
type Postgres struct {
	// URL is a connection URL or a key=value string, as for psql. Write ${NAME} to
	// take it from the environment, or ${file:PATH} from a file. PGPASSWORD, a password file and PGSSLMODE work as well. Files that it names,
	// such as certificates, are read again for each new connection.
	URL Secret `yaml:"url"`
	// PasswordFile is a file with the password, which is read for each new connection. The url has none then.
	PasswordFile string `yaml:"password_file,omitempty"`
	// PasswordCommand prints the password, such as a token of a cloud's database. The url has none then.
	PasswordCommand *Command `yaml:"password_command,omitempty"`
	// SynchronousCommit of the transactions that write rows: "on" or "off". With
	// "off" a crash of the server can lose the last rows together with their
	// positions, and they are read again; claims stay synchronous. Defaults to "on".
	SynchronousCommit string `yaml:"synchronous_commit,omitempty" jsonschema:"enum=on,enum=off"`
	// TimeZone reads times that name no zone. Defaults to UTC.
	TimeZone string `yaml:"time_zone,omitempty"`
	// SearchPath finds tables and types that name no schema. Defaults to public.
	SearchPath string `yaml:"search_path,omitempty"`
	// StatementTimeout bounds one statement. Defaults to 60s.
	StatementTimeout Duration `yaml:"statement_timeout,omitempty"`
	// LockTimeout bounds the wait for a lock on a target table. Defaults to 10s.
	LockTimeout Duration `yaml:"lock_timeout,omitempty"`
	// IdleTimeout bounds how long a process that stands still can keep a
	// transaction open. Defaults to 10s.
	IdleTimeout Duration `yaml:"idle_timeout,omitempty"`
	// ForeignKeyWait is how long a record whose parent row is missing waits for it
	// before it becomes a dead letter. Defaults to 30s.
	ForeignKeyWait Duration `yaml:"foreign_key_wait,omitempty"`
}

// Topic holds what differs for one topic.
type Topic struct {
	// Start is where this topic's partitions begin that have no position yet.
	// Defaults to the start at the top level.
	Start Start `yaml:"start,omitempty"`
	// Format of the values: json; connect-json, which Kafka Connect's JsonConverter writes, with schemas or without; avro or protobuf, with
	// schemas of a registry. Defaults to json; with the envelopes debezium and flattened to connect-json.
	Format string `yaml:"format,omitempty" jsonschema:"enum=json,enum=connect-json,enum=avro,enum=protobuf"`
	// KeyFormat is that of the record keys, where a table reads fields of them. Defaults to json; with the envelopes
	// debezium and flattened to the format of the values.
	KeyFormat string `yaml:"key_format,omitempty" jsonschema:"enum=json,enum=connect-json,enum=avro,enum=protobuf"`
	// Message is the name of the Protobuf message that values are. Defaults to the one that each value's message index says.
	Message string `yaml:"message,omitempty"`
	// Envelope around the rows: debezium, flattened (what Debezium's ExtractNewRecordState leaves), maxwell, goldengate, cloudevents, or a map that
	// describes another. Paths of columns lead into the row, and $envelope.PATH into the event. Defaults to none: an event is a row.
	Envelope *Envelope `yaml:"envelope,omitempty"`
	// Subject of the registry that has the values' schemas, by the newest of which `oncesink schema` and create: auto make tables. Defaults
	// to the topic's name and -value.
	Subject string `yaml:"subject,omitempty"`
	// Unmatched is what becomes of an event that no table wants, none's when being met: ignore (it is counted) or refuse (a dead
	// letter). Defaults to ignore.
	Unmatched string `yaml:"unmatched,omitempty" jsonschema:"enum=ignore,enum=refuse"`
}

// Envelope is what events have around a row: a name of one that is known, or a map.
type Envelope struct {
	// After is the path of the row as the event leaves it. Defaults to the event itself.
	After string `yaml:"after,omitempty"`
	// Before is the path of the row as it was, where a deleted row's key is looked for last. Defaults to nowhere.
	Before string `yaml:"before,omitempty"`
	// Op is the path of what has happened. Defaults to none: every event writes its row.
	Op string `yaml:"op,omitempty"`
	// Upsert is what op has where the row was written. Defaults to whatever no other list has.
	Upsert Values `yaml:"upsert,omitempty"`
	// Delete is what op has where the row was deleted.
	Delete Values `yaml:"delete,omitempty"`
	// Ignore is what op has where nothing happened to a row.
	Ignore Values `yaml:"ignore,omitempty"`
	// Truncate is what op has where all rows are gone.
	Truncate Values `yaml:"truncate,omitempty"`
	// Unavailable is what stands in the place of a value that the source has and did not send: the column stays as it
	// is. Defaults to none; of debezium and flattened it is __debezium_unavailable_value.
	Unavailable string `yaml:"unavailable,omitempty"`
	// Like is a known envelope that this one is, but for what is given: debezium, flattened, maxwell, goldengate or cloudevents. Defaults to none.
	Like string `yaml:"like,omitempty" jsonschema:"enum=debezium,enum=flattened,enum=maxwell,enum=goldengate,enum=cloudevents"`
}

// Table maps topics to one target table.
type Table struct {
	// Name of the table, TABLE or SCHEMA.TABLE. The same table can't be listed twice. Of a pattern of topics, {1} in it is what the first group has matched.
	Name string `yaml:"name"`
	// Topic that feeds the table. A topic may feed several tables. Children have their parent's. Between slashes it is a pattern: a regular
	// expression for whole names, such as /shop\.(\w+)/. Each topic that it matches has a table, by the name with {1}, what the first group has
	// matched, {NAME}, or {0}, the topic; without one of these they have one table. Topics that are made later are found while it runs.
	Topic string `yaml:"topic,omitempty"`
	// Topics that feed the table, or patterns, where there are several.
	Topics []string `yaml:"topics,omitempty"`
	// Except are topics, or patterns, that the table's patterns leave out. Topics that begin with two underscores, and those in which Debezium tells of
	// transactions and changes of schemas, are left out by themselves, unless they are named. Defaults to none.
	Except []string `yaml:"except,omitempty"`
	// Strategy is upsert (one row per key, the last event by the order of the
	// version), append (one row per event) or children (the elements of an array of the
	// parent's events). Defaults to upsert.
	Strategy string `yaml:"strategy,omitempty" jsonschema:"enum=upsert,enum=append,enum=children"`
	// Parent of a table of children: a table that is listed before.
	Parent string `yaml:"parent,omitempty"`
	// Each is the path of the array whose elements are the children, such as items. An event
	// that has it and comes last, by version and offset, replaces the row's children; one without the array leaves them.
	Each string `yaml:"each,omitempty"`
	// ParentKey maps columns of the children to key columns of the parent that have
	// another name. Defaults to none: they have the same names.
	ParentKey map[string]string `yaml:"parent_key,omitempty"`
	// Key are the columns of the primary key or of another unique index, which name
	// an upsert's row. Of a table of patterns it defaults to its primary key.
	Key []string `yaml:"key,omitempty"`
	// Version is the column that says which of two events of a key is newer, for
	// example updated_at. Equal versions: the later offset wins. Defaults to the
	// offset alone.
	Version string `yaml:"version,omitempty"`
	// Guard is engine (two columns in the table, added by init, make a replay change
	// nothing) or none (exactly once, but no replay in place). Defaults to engine.
	Guard string `yaml:"guard,omitempty" jsonschema:"enum=engine,enum=none"`
	// When says which events are the table's, by what they say at a path: a field such as type, $envelope.PATH, $schema (the name of the
	// type that Avro or Protobuf wrote), $header.NAME, $key, $key_json, $key.PATH, $topic or $partition. All conditions have to be met. An event
	// that no table wants is counted, and is no dead letter. Defaults to every event.
	When map[string]Condition `yaml:"when,omitempty"`
	// Otherwise is what an event does that does not meet when: ignore (the row that an earlier event made stays) or delete (it goes, as by a
	// deletion with the event's version). Defaults to ignore.
	Otherwise string `yaml:"otherwise,omitempty" jsonschema:"enum=ignore,enum=delete"`
	// DeleteWhen says which events delete their row, such as {deleted: true}: conditions as in when, all of which have to be
	// met. Defaults to none.
	DeleteWhen map[string]Condition `yaml:"delete_when,omitempty"`
	// SoftDelete maps columns to what an event that deletes the row has for them, such as {deleted_at: $timestamp}: the row stays, and they are
	// null until then. Tombstones are ignored, unless they are to delete. Defaults to none: deleted rows go.
	SoftDelete map[string]string `yaml:"soft_delete,omitempty"`
	// Truncate is what an event does that tells that all rows of the source are gone: refuse (a dead letter) or ignore. Defaults to refuse.
	Truncate string `yaml:"truncate,omitempty" jsonschema:"enum=refuse,enum=ignore"`
	// Columns says where a column's value comes from, where that isn't the field of
	// the same name: a path such as customer.id, which leads into the row where the topic has an envelope, or $topic, $partition, $offset,
	// $timestamp, $key, $key_json, $key.PATH, $header.NAME, $value (the whole event), $envelope.PATH (a field of the event, not of its row), $schema. Of children a path
	// leads into the element, and there are $element (the whole), $index (its number, from 1) and
	// $event.PATH (a field of the event).
	Columns map[string]Column `yaml:"columns,omitempty"`
	// RecordKey says how a tombstone names its row: key column to $key (the record key as it is), $key_json
	// (what it says as JSON: ann, where the key is "ann" with its quotes) or $key.PATH.
	// Defaults to none: a tombstone becomes a dead letter. Of topics with the envelope debezium or flattened it is the fields of the key.
	RecordKey map[string]string `yaml:"record_key,omitempty"`
	// Tombstones is delete or ignore. Defaults to delete; an append table has a row for each, unless it ignores them.
	Tombstones string `yaml:"tombstones,omitempty" jsonschema:"enum=delete,enum=ignore"`
	// Accept lists findings of check that are all right: a code such as volatile-default, or
	// code:column. Defaults to none.
	Accept []string `yaml:"accept,omitempty"`
	// NewFields is what is done about a field of the row that no column takes: ignore; warn (once for each field); hold (the partition
	// waits for a column); add (adds one, of the type that the schema says). Defaults to ignore.
	NewFields string `yaml:"new_fields,omitempty" jsonschema:"enum=ignore,enum=warn,enum=hold,enum=add"`
	// IgnoreFields are names of fields of the row, or of the element of children, that are to have no column: they are not new, and create: auto
	// makes none for them. Defaults to none.
	IgnoreFields []string `yaml:"ignore_fields,omitempty"`
	// Create is the statement by which init creates the table if it is missing, or auto: the one that oncesink schema
	// prints, by the newest schema of its topics. Defaults to none: the table has to be there.
	Create string `yaml:"create,omitempty"`
}

// Condition is what an event has to say at a path: a value, a list of values of which it is one, or a map. Values are compared as
// texts: of a string, of a number as it is written, true or false.
type Condition struct {
	// In lists values of which it is one.
	In Values `yaml:"in,omitempty"`
	// Not lists values of which it is none; what isn't there is none of them.
	Not Values `yaml:"not,omitempty"`
	// Exists: there is a value, and it isn't null; false: there is none, or null. Defaults to either.
	Exists *bool `yaml:"exists,omitempty"`
}

// Values is a list of values, or one.
type Values []string

// Column says where a column's value comes from: a text, which is From, or a map.
type Column struct {
	// From is a path such as customer.id, or $topic, $partition, $offset,
	// $timestamp, $key, $key_json, $key.PATH, $header.NAME, $value, $envelope.PATH, $schema. Defaults to the field of
	// the column's name.
	From string `yaml:"from,omitempty"`
	// Encoding of a bytea column's text: base64 or hex. json: a text for a json or jsonb column has JSON in it, which is what the
	// column takes; what is no text is taken as it is.
	Encoding string `yaml:"encoding,omitempty" jsonschema:"enum=base64,enum=hex,enum=json"`
	// Zone in which a date column reads a time, for example Europe/Berlin.
	Zone string `yaml:"zone,omitempty"`
	// Unit of a number, or of a text of digits alone, for a date, time, timestamp or interval column:
	// s, ms, us, ns or days, since 1970-01-01 in UTC, of a time since midnight. A date
	// has days, or another unit and a zone. Defaults to none: numbers are refused there.
	Unit string `yaml:"unit,omitempty" jsonschema:"enum=s,enum=ms,enum=us,enum=ns,enum=days"`
	// Scale of a numeric column for which texts are base64 of a number in two's complement, as Kafka Connect writes decimals where it
	// sends no schema: how many digits stand after the point. 0 for an integer column, too. Numbers are read as ever. Defaults to none:
	// texts are numbers.
	Scale *int32 `yaml:"scale,omitempty" jsonschema:"minimum=-1000,maximum=1000"`
	// Default is what the column takes for null, and where the event does not have the field: a text, which is read as one of the event would
	// be. An event without the field then sets the column, and does not leave it as it is. Not for the key, nor for the version. Defaults to none.
	Default *string `yaml:"default,omitempty"`
	// DefaultFor says for what the column takes its default: null, absent (the event does not have the field) or both. Defaults to both.
	DefaultFor DefaultFor `yaml:"default_for,omitempty" jsonschema:"enum=both,enum=absent,enum=null"`
	// Rounding of the column: allow or refuse. Defaults to the rounding at the top level.
	Rounding string `yaml:"rounding,omitempty" jsonschema:"enum=allow,enum=refuse"`
	// SQL makes the column from others of the event, instead of from: an expression over columns that
	// events fill, of which PostgreSQL knows every function as immutable. An event that
	// lacks one of these columns leaves this one as it is.
	SQL string `yaml:"sql,omitempty"`
	// Inputs are fields of the event that sql reads and that no column takes, by the names that it has for
	// them: the type that it reads them as, or a map. Defaults to none.
	Inputs map[string]Input `yaml:"inputs,omitempty"`
}

// DefaultFor is a text; null needs no quotes.
type DefaultFor string

// Input is a field that an expression reads: a text, which is Type, or a map.
type Input struct {
	// From is where it comes from, as of a column. Defaults to the field of the input's name.
	From string `yaml:"from,omitempty"`
	// Type that the expression reads it as, without length and precision, such as bigint.
	Type string `yaml:"type"`
	// Encoding of a bytea's text: base64 or hex; or json, as of a column.
	Encoding string `yaml:"encoding,omitempty" jsonschema:"enum=base64,enum=hex,enum=json"`
	// Zone in which a date reads a time.
	Zone string `yaml:"zone,omitempty"`
	// Unit of a number that is a date, time, timestamp or interval: s, ms, us, ns or days.
	Unit string `yaml:"unit,omitempty" jsonschema:"enum=s,enum=ms,enum=us,enum=ns,enum=days"`
	// Scale of a numeric for which texts are base64 of a number in two's complement, as of a column.
	Scale *int32 `yaml:"scale,omitempty" jsonschema:"minimum=-1000,maximum=1000"`
}

// Limits bound batches, memory and shutdown.
type Limits struct {
	// Writers is how many transactions run at a time, each for other partitions. Defaults to 2.
	Writers int `yaml:"writers,omitempty"`
	// BatchRecords bounds the records of one transaction. Defaults to 10000.
	BatchRecords int `yaml:"batch_records,omitempty"`
	// BatchBytes bounds the bytes of one transaction: a number, or with KiB, MiB or
	// GiB. Defaults to 8MiB.
	BatchBytes Size `yaml:"batch_bytes,omitempty"`
	// BufferBytes bounds the memory for records that wait, beyond the Kafka client's
	// own fetch buffers. The whole process takes about 100 MiB more.
	// Defaults to 16MiB.
	BufferBytes Size `yaml:"buffer_bytes,omitempty"`
	// DecompressedBytes bounds what one batch of Kafka's log becomes when it is decompressed. A partition with a larger
	// one halts. Defaults to 64MiB; less than 2GiB.
	DecompressedBytes Size `yaml:"decompressed_bytes,omitempty"`
	// StopTimeout bounds a graceful stop. Defaults to 20s.
	StopTimeout Duration `yaml:"stop_timeout,omitempty"`
}

// DeadLetters says what is done about records that can't be written.
type DeadLetters struct {
	// MaxRatio is how many of the last window records of a partition may be dead letters before it halts: 0.1 is a
	// tenth. Of a partition that has had fewer records, so many of a tenth of the window at least. 1 allows
	// all. Defaults to 0.1.
	MaxRatio float64 `yaml:"max_ratio,omitempty"`
	// Window of records, counted by offset. Defaults to 10000.
	Window int64 `yaml:"window,omitempty"`
	// MaxConsecutive is how many records of a partition may be dead letters in a row. -1 allows any
	// number. Defaults to 1000.
	MaxConsecutive int64 `yaml:"max_consecutive,omitempty"`
	// RetryRate bounds how many letters of a partition are tried again in a second. Defaults to 500.
	RetryRate int `yaml:"retry_rate,omitempty"`
}

// Sources are the topics that feed the table.
func (t *Table) Sources() []string {
	if t.Topic != "" {
		return append([]string{t.Topic}, t.Topics...)
	}
	return t.Topics
}
