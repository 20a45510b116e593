package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// part is one thing that decides what a record becomes. Those that every table has stand at their place in the list that is hashed,
// without their name; others only if they are set, mostly with it.
type part struct {
	name  string
	value any
	named bool
}

// Fingerprint hashes a table's mapping. The list starts with its own version:
// change it when the meaning of the same configuration changes.
func Fingerprint(cfg *sink.Config, t *tables.Table) string {
	list := []any{1}
	for _, p := range parts(cfg, t) {
		if p.named {
			list = append(list, p.name)
		}
		list = append(list, p.value)
	}
	sum := sha256.Sum256(encode(list))
	return hex.EncodeToString(sum[:12])
}

// Definition is what [Fingerprint] hashes, as a JSON object that people, and [Compare], can read.
func Definition(cfg *sink.Config, t *tables.Table) string {
	object := map[string]any{}
	for _, p := range parts(cfg, t) {
		object[p.name] = p.value
	}
	return string(encode(object))
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, maps and lists of strings
	}
	return b
}

func parts(cfg *sink.Config, t *tables.Table) []part {
	list := []part{
		{name: "table", value: t.Title()}, {name: "strategy", value: t.Strategy}, {name: "key", value: t.Config.Key}, {name: "version", value: t.Config.Version},
		{name: "guarded", value: t.Guarded}, {name: "record_key", value: t.Config.RecordKey}, {name: "tombstones", value: t.Config.Tombstones},
		{name: "columns", value: columns(cfg, t)}, {name: "time_zone", value: cfg.TimeZone},
	}
	if t.Parent != nil {
		list = append(list, part{name: "parent", value: t.Parent.Title()}, part{name: "each", value: t.Config.Each}, part{name: "parent_key", value: t.Config.ParentKey})
	}
	also := func(set bool, name string, value any) {
		if set {
			list = append(list, part{name, value, true})
		}
	}
	also(cfg.Rounding == pgtext.RoundingRefuse, "rounding", cfg.Rounding)
	also(len(t.Config.When) > 0, "when", t.Config.When)
	also(len(t.Config.DeleteWhen) > 0, "delete_when", t.Config.DeleteWhen)
	also(len(t.Config.SoftDelete) > 0, "soft_delete", t.Config.SoftDelete)
	also(t.Otherwise, "otherwise", t.Config.Otherwise)
	also(t.IgnoreTruncates, "truncate", t.Config.Truncate)
	topics := map[string]sink.TopicConfig{}
	for _, topic := range t.Topics {
		how := cfg.Topics[topic]
		how.Subject, how.Unmatched = "", "" // they change no row
		if how != (sink.TopicConfig{}) && how != (sink.TopicConfig{Format: sink.JSON}) {
			topics[topic] = how
		}
	}
	also(len(topics) > 0, "topics", topics)
	return list
}

// columns are those of which the configuration says more than the default does.
func columns(cfg *sink.Config, t *tables.Table) map[string]sink.ColumnConfig {
	said := map[string]sink.ColumnConfig{}
	for name, c := range t.Config.Columns {
		if c.Rounding == cfg.Rounding {
			c.Rounding = ""
		}
		if c.DefaultFor == sink.DefaultForBoth {
			c.DefaultFor = ""
		}
		if !only(c, sink.ColumnConfig{}) && !only(c, sink.ColumnConfig{From: name}) {
			said[name] = c
		}
	}
	return said
}
