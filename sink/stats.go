package sink

import "time"

// Stats count what a consumer has committed since it was made, and what kept it from doing so. They only grow.
// The counts of a transaction come together, right after its COMMIT.
type Stats struct {
	// Commits are the transactions.
	Commits int64
	// TransactionTime is what they took together, from BEGIN to the answer to COMMIT, the handlers included;
	// CommitTime is what COMMIT alone took of that. With several writers both may grow by more than a second in a second.
	TransactionTime, CommitTime time.Duration
	// Records that the positions moved over, without the transaction markers of Kafka. One that is read again, as in a replay, counts
	// again.
	Records int64
	// DeadLetters are those of the records that could not be written; Refused counts them by what was in the way,
	// the most frequent first.
	DeadLetters int64
	Refused     []RefusedStats
	// Topics, by name: those with records so far.
	Topics []TopicStats
	// Resolved are dead letters whose records were written after all: by a retry, or because they were read again.
	Resolved int64
	// Unmatched are records that no table wanted: none's conditions were met.
	Unmatched int64
	// Retries are attempts that came to nothing and were made again, by what was in the way: "connection", "conflict" (a deadlock,
	// a serialization failure), "lock" (one that was not had in time), "timeout" (of a statement), "resources" (a full disk, too many
	// connections), "server" (it starts, stops, or takes no writes), "parent" (a row that a foreign key asks for is missing), "handler"
	// (its error is marked [Transient]) and "other".
	Retries map[string]int64
	// RetriedStates count the same attempts by the class of their SQLSTATE, such as "40"; "network" where the server did not raise it, and
	// "handler" where a handler did.
	RetriedStates map[string]int64
	// Bisections are searches for the records of a transaction that are to blame for its error.
	Bisections int64
	// UnknownCommits are those whose answer was lost, and whose outcome was asked of the ledger then: UnknownCommitted and UnknownRolledBack
	// are what it told. Of the rest UnknownPending are being asked for, the only count here that falls, and others were given up: with the
	// partition, which was revoked, or by a retry of dead letters, which reads them again.
	UnknownCommits, UnknownCommitted, UnknownRolledBack, UnknownPending int64
	// Fenced counts how often a partition was lost while it ran, by the cause: [FencedByOperator], [FencedByClaim] or [FencedByLock]. One that is
	// revoked before the ledger tells the cause is not in it.
	Fenced map[string]int64
	// Claims of partitions, by what came of them: [ClaimWon], [ClaimHeld], [ClaimRefused] or [ClaimFailed]. One that is tried again counts again.
	Claims map[string]int64
	// Rebalances of the group, by kind: [Assigned], [Revoked] or [Lost]. Those that bring no partitions and take none don't count.
	Rebalances map[string]int64
	// StuckSessions are claims that were won by ending a session that held the row and had stopped.
	StuckSessions int64
	// Tables, by name: those with rows, tombstones, or events that changed nothing, so far.
	Tables []TableStats
}

// Causes of [Stats].Fenced.
const (
	FencedByOperator = "operator"    // a command: pause, rewind, adopt, accept_gap, or a row that was changed by hand
	FencedByClaim    = "other_claim" // another process, or another life of this one, has claimed it
	FencedByLock     = "lock"        // its row could not be locked in time
)

// What comes of claims in [Stats].Claims.
const (
	ClaimWon     = "won"
	ClaimHeld    = "held"    // another session holds the row
	ClaimRefused = "refused" // the ledger says why, and the partition halts
	ClaimFailed  = "failed"  // a server did not answer, the group did not confirm the membership, the topic is not there yet
)

// Kinds of [Stats].Rebalances.
const (
	Assigned = "assigned"
	Revoked  = "revoked"
	Lost     = "lost" // the group went on without this process
)

// TopicStats count what was committed of one topic.
type TopicStats struct {
	Topic string
	// Records that the positions moved over, as [Stats].Records, and the bytes of their keys, values and headers.
	Records, Bytes int64
}

// Refusal is a kind of dead letters: all with the same code for the same column. Of more than a thousand kinds the
// later ones are counted together, as the zero Refusal.
type Refusal struct {
	Topic string
	// Code is an SQLSTATE, or a code of the decoder's own that begins with ONS; empty for an error of a handler.
	Code string
	// Table is its qualified name; Column is the one to blame. Both are empty where none is.
	Table, Column string
}

// RefusedStats count the dead letters of one kind.
type RefusedStats struct {
	Refusal
	DeadLetters int64
}

// TableStats count what was done to one table.
type TableStats struct {
	// Table is its qualified name.
	Table string
	// Copied rows were new, and went by COPY. Upserted rows were inserted or changed by statements, the quicker way where most keys exist.
	// Events that lose against what is there change no row, and are in neither.
	Copied, Upserted int64
	// UnchangedByLook are events that a look found to be no newer than their row; UnchangedByStatement are those of statements that changed no
	// row, as far as it is known: not of transactions in which a look was made, too.
	UnchangedByLook, UnchangedByStatement int64
	// Tombstones were applied: those that the delete memory knew already, as in a replay, don't count. Of
	// those that follow each other in one transaction for one key the last one does.
	Tombstones int64
	// TombstonesWithoutRow are those of them that met no row. Many of them say that record_key does not name
	// rows as events do.
	TombstonesWithoutRow int64
}
