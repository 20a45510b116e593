package consumer

import (
	"context"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// All that a consumer does with the database goes through these two. In the program they are *[offsets.Ledger] and *[engine.Sink], whose
// methods say what they do; the tests of the group have both in memory, on a clock of their own.

// ledger says where each partition stands and who owns it: claimed by claim.go, looked at by watch.go.
type ledger interface {
	Instance() string
	Rows(ctx context.Context, partitions ...offsets.Partition) ([]offsets.Row, error)
	Begin(ctx context.Context, firsts []offsets.First) error
	Claim(ctx context.Context, wants []offsets.Want) ([]offsets.Claimed, error)
	Alive(ctx context.Context, instance string) (bool, error)
	Examine(ctx context.Context, wants []offsets.Want) ([]error, error)

	// For people.
	Halt(ctx context.Context, claim offsets.Claim, reason string) error
	Stuck(ctx context.Context, claims []offsets.Claim, reason string) error
}

// target is where records go.
type target interface {
	// Decoding, by decode.go, and what it may lack: schemas.go, newfields.go.
	Add(p *decode.Part, records ...sink.Record) (n int, err error)
	Learn(of decode.SchemaOf, schema event.Schema) error
	LearntAny(topic string, key bool) bool
	RefuseSchema(of decode.SchemaOf, why *event.Refusal)
	Settle(ctx context.Context, fields *decode.NewFields) error

	// Transactions: of what comes next in the log by writer.go, of dead letters by retry.go.
	Write(ctx context.Context, parts []*decode.Part) []engine.Outcome
	Asked(ctx context.Context) (map[offsets.Partition]bool, error)
	Requests(ctx context.Context, claim offsets.Claim, records int, bytes int64) ([]engine.Requests, error)
	Retry(ctx context.Context, p *decode.Part, late bool) (resolved, refused int, err error)
	RetryRate() int

	// For people, and a sign of life for them.
	Ping(ctx context.Context) error
	Routes() map[string]string
	Findings(ctx context.Context) (map[string][]string, error)
	Stats() sink.Stats
	Tell()
	TellRest()
}
