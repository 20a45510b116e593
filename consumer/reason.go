package consumer

import (
	"errors"

	"github.com/oncesink/oncesink/offsets"
)

// Reason is a kind of cause for which a partition halts. There are no others than these: a metric, an alert and a page of a runbook go by
// them. Err has the words.
type Reason string

// The reasons.
const (
	ReasonGap             Reason = "gap"               // records between the position and the log's start can never be read
	ReasonTruncated       Reason = "truncated"         // the log ends before the position
	ReasonRecreated       Reason = "recreated"         // the topic was deleted, or created again
	ReasonCluster         Reason = "cluster"           // the brokers are another cluster than the position's
	ReasonNoRow           Reason = "no_row"            // somebody deleted the ledger's row
	ReasonDeadLetterLimit Reason = "dead_letter_limit" // too many of its records can't be written
	ReasonArchive         Reason = "archive"           // the log no longer has the records, and the archive that has them is damaged
	ReasonError           Reason = "error"             // anything else that a person has to look at
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{ReasonGap, ReasonTruncated, ReasonRecreated, ReasonCluster, ReasonNoRow, ReasonDeadLetterLimit, ReasonArchive, ReasonError}
}

// ReasonOf is the reason of a halt by its error.
func ReasonOf(err error) Reason {
	var (
		gap       *GapError
		truncated *TruncatedError
		gone      *goneError
		recreated *offsets.TopicChangedError
		cluster   *offsets.ClusterChangedError
		letters   *offsets.TooManyLettersError
		archived  *ArchiveError
	)
	switch {
	case errors.As(err, &gap):
		return ReasonGap
	case errors.As(err, &truncated):
		return ReasonTruncated
	case errors.As(err, &gone), errors.As(err, &recreated):
		return ReasonRecreated
	case errors.As(err, &cluster):
		return ReasonCluster
	case errors.Is(err, offsets.ErrNoPosition):
		return ReasonNoRow
	case errors.As(err, &letters):
		return ReasonDeadLetterLimit
	case errors.As(err, &archived):
		return ReasonArchive
	}
	return ReasonError
}

// goneError says that a topic is not there any more.
type goneError struct{ error }

func (e *goneError) Unwrap() error { return e.error }
