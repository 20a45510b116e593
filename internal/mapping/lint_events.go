package mapping

import (
	"strings"

	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// lintEvents looks at what of an event decides which one counts, and for which rows.
func lintEvents(t *tables.Table, add addFinding) {
	if t.Strategy != sink.Upsert {
		return
	}
	if t.Version >= 0 {
		if c := &t.Columns[t.Version]; isLSN(&c.Source) {
			add(versionResets, tables.Surprises, c.Name, "a restored server, a failover or a new slot may count from a lower one again: every later event then loses to what the table has, and nothing says so. "+
				"Transactions are sent in the order of their commits, which that of their positions need not be, and several events can have one position",
				"leave version out, if the events of a row are in one partition: their order there is that of the commits; or take the time of the change, as in columns: {"+c.Name+": {from: $envelope.source.ts_ms, unit: ms}}; "+
					"or accept it, and rebuild the table after such a change", "version column %s is a position in the source's log", c.Name)
		}
	}
	if t.Config.Otherwise != "" {
		return
	}
	for i := range t.When {
		src := &t.When[i].Source
		if src.Meta != source.Field {
			continue
		}
		add(staleRows, tables.Surprises, src.Path, "a row whose events met the condition stays as it was when a later one does not: what has closed is still there as open",
			"say otherwise: delete, if rows are to go then; or otherwise: ignore, if the field never changes for a row, as the type of an event", "when asks for the field %s, and nothing says what an event does that does not meet it", src.Path)
	}
}

// isLSN reports whether a source is a position in PostgreSQL's log, by its name.
func isLSN(src *source.Source) bool {
	switch src.Meta {
	case source.Field, source.Envelope, source.Key, source.Event:
		names, err := fields.Split(src.Path)
		if err != nil || len(names) == 0 {
			return false
		}
		name := strings.ToLower(names[len(names)-1])
		return name == "lsn" || strings.HasSuffix(name, "_lsn")
	}
	return false
}
