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
	// Resolved are dead letters whose records were written after all: by a retry, or because they were read again.
	Resolved int64
	// Unmatched are records that no table wanted: none's conditions were met.
	Unmatched int64
	// Retries are attempts that came to nothing and were made again, by what was in the way: "connection", "conflict" (a deadlock,
	// a serialization failure), "lock" (one that was not had in time), "timeout" (of a statement), "resources" (a full disk, too many
	// connections), "server" (it starts, stops, or takes no writes), "parent" (a row that a foreign key asks for is missing), "handler"
	// (its error is marked [Transient]) and "other".
	Retries map[string]int64
	// UnknownCommits are those whose answer was lost, and whose outcome was asked of the ledger then.
	UnknownCommits int64
	// Tables, by name: those with rows, or tombstones, so far.
	Tables []TableStats
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
	// Tombstones were applied: those that the delete memory knew already, as in a replay, don't count. Of
	// those that follow each other in one transaction for one key the last one does.
	Tombstones int64
	// TombstonesWithoutRow are those of them that met no row. Many of them say that record_key does not name
	// rows as events do.
	TombstonesWithoutRow int64
}
