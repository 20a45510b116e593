package offsets

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Sentinels that a caller branches on.
var (
	// ErrNoPosition: the partition has no row and none was asked to be made.
	ErrNoPosition = errors.New("the partition has no row in oncesink.offsets: somebody deleted it, or an older database was restored. " +
		"Put it back from a backup: it is read on from as soon as it is there")
	// ErrNoLedger: the schema is missing or older than this program.
	ErrNoLedger = errors.New("the ledger is missing or out of date: run `oncesink init`")
)

// FencedError says that an advance matched fewer rows than it names: the
// transaction was aborted by the server, nothing of it is there.
type FencedError struct {
	// Partitions are those that no longer stand where the step expected them,
	// by topic and partition. It is empty if the ledger's rows could not be
	// locked in time, which counts as a lost fence for every partition of the
	// transaction.
	Partitions []Partition
	// Locked says that rows could not be locked in time: nobody has moved them, as far as it is known.
	Locked bool
}

func (e *FencedError) Error() string {
	if e.Locked || len(e.Partitions) == 0 {
		return "fenced: the ledger rows could not be locked in time"
	}
	return fmt.Sprintf("fenced: another claim, an operator or a restore moved %v", e.Partitions)
}

// HeldError says that ledger rows could not be locked in time.
type HeldError struct {
	// Holder describes the session that holds the lock, as far as it is known.
	Holder string
}

func (e *HeldError) Error() string { return "the ledger row is locked by " + e.Holder }

// TopicChangedError says that the topic was deleted and created again.
type TopicChangedError struct {
	Group string
	Partition
	Was, Is Token
}

func (e *TopicChangedError) Error() string {
	return fmt.Sprintf("%s: the topic was recreated: its id was %s and is %s; the stored position means nothing in the new log. "+
		"To count the new topic's events from its beginning: %s",
		e.Partition, e.Was, e.Is, Remedy("adopt", e.Group, e.Topic, e.Is))
}

// ClusterChangedError says that the brokers belong to another Kafka cluster than
// the one whose offsets the ledger counts.
type ClusterChangedError struct {
	Group string
	Partition
	Was, Is string
	// TopicID is the topic's id in the cluster that is there now.
	TopicID Token
}

func (e *ClusterChangedError) Error() string {
	return fmt.Sprintf("%s: the position counts offsets of Kafka cluster %s, the brokers are cluster %s. "+
		"Connect to the other brokers or use another group; or, to count this cluster's topic from its beginning: %s",
		e.Partition, e.Was, e.Is, Remedy("adopt", e.Group, e.Topic, e.TopicID))
}

// MappingError says that the partition was written with another mapping.
type MappingError struct {
	Partition
	Target string
	// Dropped says that this process does not write the target at all.
	Dropped bool
}

func (e *MappingError) Error() string {
	problem := "the mapping into " + e.Target + " differs from the one that wrote it so far"
	if e.Dropped {
		problem = e.Target + " is fed from this topic, and this configuration does not write it"
	}
	return fmt.Sprintf("%s: %s. Use the configuration that the group has, or accept this one: oncesink mapping plan says what differs, oncesink mapping accept accepts it",
		e.Partition, problem)
}

// quote returns s as an SQL literal, under standard_conforming_strings.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// sqlState returns the SQLSTATE of err, "" if the server didn't raise it.
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// The states that this package tells apart.
const (
	stateFenced      = "OS001" // raised by oncesink.advance and oncesink.hold
	stateTooMany     = "OS002" // raised by oncesink.count_dead_letters
	stateLockTimeout = "55P03" // lock_not_available
)

// missingLedger turns the errors of a schema that is not there, or lacks a
// function of this version, into ErrNoLedger.
func missingLedger(err error) error {
	switch sqlState(err) {
	case "3F000", "42P01", "42883", "42703": // schema, table, function, column
		return fmt.Errorf("%w (%v)", ErrNoLedger, err)
	}
	return err
}
