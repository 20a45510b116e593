// Package wiring has what oncesink's own commands bring to a consumer, where a program gives a configuration alone.
package wiring

import (
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/offsets"
)

// Parts are what a consumer writes with, made by the caller: see consumer.NewWith.
type Parts struct {
	Ledger *offsets.Ledger
	Engine *engine.Sink
}
