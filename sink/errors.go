package sink

import "github.com/oncesink/oncesink/internal/pgerr"

// ConfigError says what a person has to change: a missing table, a wrong
// column, a missing privilege.
type ConfigError struct {
	// Problem says what is wrong, Fix what to do about it.
	Problem, Fix string
	// Cause lies behind it, if that is an error of its own.
	Cause error
}

// HaltError stops a partition: an error of a class that retrying can't mend and
// that no single record is to blame for.
type HaltError struct{ Err error }

// Unwrap returns what lies behind the error, if that is an error of its own.
func (e *ConfigError) Unwrap() error { return e.Cause }

func (e *ConfigError) Error() string {
	if e.Fix == "" {
		return e.Problem
	}
	return e.Problem + ": " + e.Fix
}

func (e *HaltError) Error() string { return "halted: " + e.Err.Error() }
func (e *HaltError) Unwrap() error { return e.Err }

// Poison wraps an error of a handler to say that the record is to blame: it is
// looked for by halving the batch, and becomes a dead letter with this error's text.
func Poison(err error) error { return pgerr.Mark(err, pgerr.Data) }

// Transient wraps an error of a handler to say that it passes, such as the time-out of a service that the handler asks:
// the same records are tried again, with pauses, for as long as it takes. It holds up every partition that shares the
// transaction.
func Transient(err error) error { return pgerr.Mark(err, pgerr.Transient) }
