package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/target"
	"github.com/oncesink/oncesink/sink"
)

// Fingerprint hashes a table's mapping. The list starts with its own version:
// change it when the meaning of the same configuration changes.
func Fingerprint(cfg *sink.Config, t *target.Table) string {
	columns := map[string]sink.ColumnConfig{}
	for name, c := range t.Config.Columns {
		if c.Rounding == cfg.Rounding {
			c.Rounding = ""
		}
		if only(c, sink.ColumnConfig{}) || only(c, sink.ColumnConfig{From: name}) {
			continue // says what the default says
		}
		columns[name] = c
	}
	list := []any{1, t.Title(), t.Strategy, t.Config.Key, t.Config.Version, t.Guarded, t.Config.RecordKey, t.Config.Tombstones, columns, cfg.TimeZone}
	if t.Parent != nil {
		list = append(list, t.Parent.Title(), t.Config.Each, t.Config.ParentKey)
	}
	if cfg.Rounding == pgtext.RoundingRefuse {
		list = append(list, "rounding", cfg.Rounding)
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings, maps and lists of strings
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

// WayOf says which routes the table's rows may take.
func WayOf(t *target.Table) string {
	switch {
	case t.Parent != nil:
		return "delete and insert, where an event has the array and comes last, beside its row of " + t.Parent.Title()
	case t.CopyRefused != "" && t.Strategy == sink.Append:
		return "insert only: " + t.CopyRefused
	case t.CopyRefused != "":
		return "upsert only: " + t.CopyRefused
	case t.Strategy == sink.Append:
		return "copy; insert for events that are there already"
	}
	return "copy where keys are new, upsert where they exist, as the last batches teach"
}

// TableReport says how the events of its topics become rows of a table.
type TableReport struct {
	Table    string         `json:"table"`
	Topics   []string       `json:"topics"`
	Strategy sink.Strategy  `json:"strategy"`
	Columns  []ColumnReport `json:"columns"`
	// Way says how rows get there: by COPY, by upsert, and why.
	Way string `json:"way"`
	// Statements are the exact SQL for events that have every field, for
	// tombstones, and for partial events.
	Statements []string `json:"statements"`
	// Findings are what [Lint] found, where it was asked.
	Findings []target.Finding `json:"findings,omitempty"`
	// Fingerprint is the mapping's, as the ledger compares it.
	Fingerprint string `json:"fingerprint"`
}

// ColumnReport says where a column comes from.
type ColumnReport struct {
	Name string `json:"name"`
	Type string `json:"type"`
	From string `json:"from"`
}
