package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/oncesink/oncesink/internal/demo"
)

// A demo that ctrl-C ended has failed at nothing: shells know that by its code, whatever else went wrong while it stopped.
func TestInterruptedDemo(t *testing.T) {
	for _, err := range []error{demo.ErrInterrupted, errors.Join(demo.ErrInterrupted, errors.New("remove the directory")), fmt.Errorf("demo: %w", demo.ErrInterrupted)} {
		if got := exitCode(err); got != exitInterrupted {
			t.Errorf("%v: exit code %d, want %d", err, got, exitInterrupted)
		}
	}
	if got := exitCode(demo.ErrDiffers); got != exitFailed {
		t.Errorf("a demo that found a difference: exit code %d, want %d", got, exitFailed)
	}
}
