package wiring

import (
	"strings"

	"github.com/oncesink/oncesink/docs"
)

// How the text begins that says what a partition waits for.
const (
	WaitsForSchema  = "waiting for schema "
	WaitsForColumn  = "waiting for a column of "
	WaitsForRecords = "waiting for records that are not in the log"
)

// WaitSteps is where the runbook says what to do about a partition that waits, by the text that says for what.
func WaitSteps(text string) string { return waitSteps(text, docs.Runbook("oncesinkpartitionwaiting")) }

// StuckSteps is WaitSteps for a text of the ledger, which has more: what a partition's owner fails at again and again.
func StuckSteps(text string) string { return waitSteps(text, docs.Runbook("stuck")) }

func waitSteps(text, otherwise string) string {
	switch {
	case strings.HasPrefix(text, WaitsForSchema):
		return docs.Runbook("the-schema-registry-is-away")
	case strings.HasPrefix(text, WaitsForColumn):
		return docs.Runbook("waiting-for-a-column")
	case strings.HasPrefix(text, WaitsForRecords):
		return docs.Runbook("oncesinkpartitionwaiting")
	}
	return otherwise
}
