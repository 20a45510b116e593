package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// Fingerprint hashes a table's mapping. The list starts with its own version:
// change it when the meaning of the same configuration changes.
func Fingerprint(cfg *sink.Config, t *tables.Table) string {
	columns := map[string]sink.ColumnConfig{}
	for name, c := range t.Config.Columns {
		if c.Rounding == cfg.Rounding {
			c.Rounding = ""
		}
		if c.DefaultFor == sink.DefaultForBoth {
			c.DefaultFor = ""
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
	if len(t.Config.When) > 0 {
		list = append(list, "when", t.Config.When)
	}
	if len(t.Config.DeleteWhen) > 0 {
		list = append(list, "delete_when", t.Config.DeleteWhen)
	}
	if len(t.Config.SoftDelete) > 0 {
		list = append(list, "soft_delete", t.Config.SoftDelete)
	}
	if t.Otherwise {
		list = append(list, "otherwise", t.Config.Otherwise)
	}
	if t.IgnoreTruncates {
		list = append(list, "truncate", t.Config.Truncate)
	}
	topics := map[string]sink.TopicConfig{}
	for _, topic := range t.Topics {
		how := cfg.Topics[topic]
		how.Subject, how.Unmatched = "", "" // they change no row
		if how != (sink.TopicConfig{}) && how != (sink.TopicConfig{Format: sink.JSON}) {
			topics[topic] = how
		}
	}
	if len(topics) > 0 {
		list = append(list, "topics", topics)
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings, maps and lists of strings
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}
