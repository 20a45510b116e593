package main

import (
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// stepByStep begins what leads a person to the runbook.
const stepByStep = "what to do, step by step: "

// led is an error that a part of the runbook is about.
type led struct {
	error
	steps string
}

func (e *led) Unwrap() error { return e.error }

// stepsOf are the parts of the runbook that an error is about, each once: there may be several of several errors, and none.
func stepsOf(err error) (steps []string) {
	add := func(more ...string) {
		for _, s := range more {
			if !slices.Contains(steps, s) {
				steps = append(steps, s)
			}
		}
	}
	switch e := err.(type) { //nolint:errorlint // each of a tree
	case nil:
	case *led:
		add(e.steps)
	case *offsets.MappingError:
		add(docs.Runbook("the-mapping-is-refused"))
	case *offsets.RightsError:
		add(docs.Runbook("rights-are-missing"))
	case *pgconn.PgError:
		if e.Code == pgerr.InsufficientPrivilege {
			add(docs.Runbook("rights-are-missing"))
		}
	case *sink.HaltError, *consumer.GapError, *consumer.TruncatedError, *consumer.ArchiveError, *offsets.TopicChangedError, *offsets.ClusterChangedError:
		add(docs.Runbook(string(consumer.ReasonOf(err))))
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			add(stepsOf(one)...)
		}
	case interface{ Unwrap() error }:
		add(stepsOf(e.Unwrap())...)
	default:
		switch err { //nolint:errorlint // as above
		case offsets.ErrNoLedger:
			add(docs.Runbook("the-ledger-is-out-of-date"))
		case offsets.ErrNoPosition:
			add(docs.Runbook(string(consumer.ReasonNoRow)))
		case pgerr.ErrDenied:
			add(docs.Runbook("rights-are-missing"))
		}
	}
	return steps
}
