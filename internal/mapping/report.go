package mapping

import (
	"fmt"
	"slices"

	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// TableReport says how the events of its topics become rows of a table.
type TableReport struct {
	Table    string        `json:"table"`
	Topics   []string      `json:"topics"`
	Strategy sink.Strategy `json:"strategy"`
	// When are the conditions that an event has to meet.
	When    map[string]sink.Condition `json:"when,omitempty"`
	Columns []ColumnReport            `json:"columns"`
	// Way says how rows get there: by COPY, by upsert, and why.
	Way string `json:"way"`
	// Statements are the exact SQL for events that have every field, for
	// tombstones, and for partial events.
	Statements []string `json:"statements"`
	// Findings are what [Lint] found, where it was asked.
	Findings []tables.Finding `json:"findings,omitempty"`
	// Fingerprint is the mapping's, as the ledger compares it.
	Fingerprint string `json:"fingerprint"`
}

// ColumnReport says where a column comes from.
type ColumnReport struct {
	Name string `json:"name"`
	Type string `json:"type"`
	From string `json:"from"`
}

// Describe reports each table, in the order of the configuration.
func Describe(cfg *sink.Config, m *Mapping) []TableReport {
	var out []TableReport
	for _, t := range m.Tables {
		r := TableReport{Table: t.Title(), Topics: t.Topics, Strategy: t.Strategy, When: t.Config.When, Fingerprint: Fingerprint(cfg, t), Way: WayOf(t)}
		for i := range t.Filled() {
			c := &t.Columns[i]
			from := t.Config.Columns[c.Name].From
			switch {
			case slices.Contains(t.ParentAt, i):
				from = "the key of " + t.Parent.Title()
			case c.Computed != nil:
				from = "sql: " + c.Computed.SQL + InputList(t.Config.Columns[c.Name])
			case t.IsSoft(i):
				from = "null; of a deleted row " + t.Config.SoftDelete[c.Name]
			case from == "":
				from = c.Name
			}
			if c.Unit != "" {
				from += " (numbers are " + c.Unit + ")"
			}
			if c.Scaled {
				from += fmt.Sprintf(" (texts are base64 of a number, %d digits of it after the point)", c.Scale)
			}
			if how := c.Instead.Describe(); how != "" {
				from += " (" + how + ")"
			}
			r.Columns = append(r.Columns, ColumnReport{Name: c.Name, Type: c.Declared, From: from})
		}
		for _, f := range statement.Forms(t) {
			r.Statements = append(r.Statements, f.SQL)
		}
		out = append(out, r)
	}
	return out
}

// WayOf says which routes the table's rows may take.
func WayOf(t *tables.Table) string {
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
