package sink

import (
	"iter"
	"time"
)

// Observer is told what a sink does, for metrics, traces or a page: see [Config.Observer]. A function that is nil is not called, and
// nothing is made for it.
//
// The functions are called by the goroutines that write, between two transactions, with no lock held: several at a time, for
// other partitions. The next transaction waits for them, so they have to be quick, a microsecond or so, and must ask no server.
// What they are given is theirs during the call alone.
type Observer struct {
	// Transaction is called at the end of each attempt to write records, whatever came of it.
	Transaction func(*Transaction)
	// Resolved is called when the ledger has told what became of a COMMIT whose answer was lost: took is how long it was asked for.
	// With committed the Transaction of [Committed] comes after it.
	Resolved func(committed bool, took time.Duration)
}

// And returns an observer that tells both, o first; either may be nil.
func (o *Observer) And(next *Observer) *Observer {
	switch {
	case o == nil:
		return next
	case next == nil:
		return o
	}
	both := *o
	if first, second := o.Transaction, next.Transaction; first == nil {
		both.Transaction = second
	} else if second != nil {
		both.Transaction = func(t *Transaction) { first(t); second(t) }
	}
	if first, second := o.Resolved, next.Resolved; first == nil {
		both.Resolved = second
	} else if second != nil {
		both.Resolved = func(committed bool, took time.Duration) { first(committed, took); second(committed, took) }
	}
	return &both
}

// Outcome is how an attempt to write records ended.
type Outcome string

// The outcomes.
const (
	// Committed: rows and positions are there.
	Committed Outcome = "committed"
	// Fenced: another claim, or an operator, has taken a partition of the transaction, or its row could not be locked in time. Nothing is there.
	Fenced Outcome = "fenced"
	// Retried: what was in the way is expected to pass, or the records are tried in another way. Nothing is there; the same records are tried
	// again.
	Retried Outcome = "retried"
	// Halted: a person has to act before the records of a partition, at least, can be written. Nothing is there.
	Halted Outcome = "halted"
	// Unknown: COMMIT was sent, and no answer came back. The ledger is asked.
	Unknown Outcome = "unknown"
	// Cancelled: the partition was revoked, or the run ends. The transaction is not waited for; the next claim waits for it.
	Cancelled Outcome = "cancelled"
)

// Outcomes are all of them.
func Outcomes() []Outcome { return []Outcome{Committed, Fenced, Retried, Halted, Unknown, Cancelled} }

// Transaction is one attempt to write records: from the wish for a connection to the answer to COMMIT.
type Transaction struct {
	Outcome Outcome
	// Began is when a connection was asked for; Duration is from then to the answer to COMMIT, or to the error; Commit is what COMMIT alone took,
	// 0 if it was not sent.
	Began            time.Time
	Duration, Commit time.Duration
	// Records that the transaction moves the positions over, without the transaction markers of Kafka, and the bytes of their keys, values and
	// headers.
	Records, Bytes int
	// DeadLetters among them. Of an attempt that did not commit: as far as it came.
	DeadLetters int
	// Again says that the records are dead letters that somebody wants to be tried again. They were counted before.
	Again bool
	// Parts are the records by partition.
	Parts []TransactionPart
	// Tables are what was done to them, by name; of an attempt that did not commit nothing.
	Tables []TableStats
	// SQLState of the error; empty where there was none, or PostgreSQL did not raise it.
	SQLState string
	// Reason says what was in the way, without a value of a record; empty after [Committed].
	Reason string
	// TraceID is empty, unless an observer that makes traces has set it for those that are told after it.
	TraceID string
	// Header gives the values of one header of the records, of those that have it, in their order: of "traceparent", say. Nothing is
	// looked at before it is asked for.
	Header func(name string) iter.Seq[[]byte]
}

// TransactionPart are the records of one partition in a transaction.
type TransactionPart struct {
	Topic          string
	Partition      int32
	Records, Bytes int
	// First is the timestamp of its first record, which is the oldest where producers' clocks agree; zero if it has none.
	First time.Time
}
