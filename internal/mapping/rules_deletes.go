package mapping

import (
	"fmt"
	"maps"
	"slices"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// topicsRead checks how topics are read.
func (c *checker) topicsRead() {
	for _, topic := range slices.Sorted(maps.Keys(c.cfg.Topics)) {
		t, at := c.cfg.Topics[topic], "topics."+topic
		c.oneOf(at+".format", string(t.Format), string(sink.JSON), string(sink.ConnectJSON), string(sink.Avro), string(sink.Protobuf))
		c.oneOf(at+".key_format", string(t.KeyFormat), string(sink.JSON), string(sink.ConnectJSON), string(sink.Avro), string(sink.Protobuf))
		c.oneOf(at+".unmatched", string(t.Unmatched), string(sink.IgnoreUnmatched), string(sink.RefuseUnmatched))
		if t.Message != "" && t.Format != sink.Protobuf {
			c.excess(at+".message", "is for the format protobuf", "remove it, or set the format")
		}
		if t.Envelope != nil {
			c.envelope(at+".envelope", t.Envelope)
		}
	}
}

func (c *checker) envelope(at string, e *sink.Envelope) {
	for key, path := range map[string]string{"after": e.After, "before": e.Before, "op": e.Op} {
		if path == "" {
			continue
		}
		if err := source.CheckPath(path); err != nil {
			c.refusedSource(at+"."+key, err)
		}
	}
	said := map[string]string{}
	lists := []struct {
		key    string
		values []string
	}{{"upsert", e.Upsert}, {"delete", e.Delete}, {"ignore", e.Ignore}, {"truncate", e.Truncate}}
	for _, list := range lists {
		if e.Op == "" && len(list.values) > 0 {
			c.excess(at+"."+list.key, "is what stands at op, and there is no op", "give the path of what has happened as op")
		}
		for i, value := range list.values {
			if other := said[value]; other != "" {
				c.add(fmt.Sprintf("%s.%s[%d]", at, list.key, i), "is listed under "+other+", too", "").Given = value
			}
			said[value] = list.key
		}
	}
	if e.Op != "" && len(said) == 0 {
		c.add(at+".op", "tells nothing", "list what stands there under upsert, delete, ignore or truncate")
	}
	if _, err := connect.NewPlaceholder(e.Unavailable); e.Unavailable != "" && err != nil {
		c.add(at+".unavailable", err.Error(), "")
	}
}

// deletions checks which events are the table's, and which of them delete rows.
func (c *checker) deletions() {
	tc := c.table
	c.oneOf("otherwise", string(tc.Otherwise), string(sink.OtherwiseIgnore), string(sink.OtherwiseDelete))
	c.oneOf("truncate", string(tc.Truncate), string(sink.RefuseTruncates), string(sink.IgnoreTruncates))
	if tc.Strategy != sink.Children {
		c.conditions("when", tc.When)
		c.conditions("delete_when", tc.DeleteWhen)
	}
	if tc.Otherwise == sink.OtherwiseDelete && len(tc.When) == 0 {
		c.add("otherwise", "says what events do that do not meet the conditions, and there are none", "give them as when")
	}
	for _, name := range slices.Sorted(maps.Keys(tc.SoftDelete)) {
		at, from := "soft_delete."+name, tc.SoftDelete[name]
		switch {
		case tables.IsEngine(name):
			c.excess(at, "is the engine's column", "name another")
		case slices.Contains(tc.Key, name) || name == tc.Version:
			c.excess(at, "is the key, or the version", "name a column that tells that the row is deleted, such as deleted_at")
		case from == "":
			c.add(at, "is empty", "say what an event that deletes the row has for it, such as $timestamp")
		default:
			c.source(at, from, name)
		}
	}
	if len(tc.SoftDelete) > 0 && !eventsMayDelete(c.cfg, tc) {
		c.excess("soft_delete", "says what events do that delete, and there are none", "say which by delete_when, or by the topic's envelope")
	}
	if len(tc.SoftDelete) > 0 && tc.Version != "" && !c.versionOfDeletions() {
		c.add("version", "comes from the row, of which an event that deletes it has the key alone", "take it from the event, as in columns: {"+tc.Version+": {from: $envelope.source.ts_ms, unit: ms}}, or leave soft_delete out")
	}
}

// versionOfDeletions reports whether events that delete have the table's version.
func (c *checker) versionOfDeletions() bool {
	src, err := source.Parse(c.table.Columns[c.table.Version].From, c.table.Version)
	return err != nil || src.Meta != source.Field || !slices.ContainsFunc(c.table.Topics, func(topic string) bool {
		e := c.cfg.Topics[topic].Envelope
		return e != nil && e.KeyOnly && len(e.Delete) > 0 && (e.Prefix == "" || len(src.Path) < len(e.Prefix) || src.Path[:len(e.Prefix)] != e.Prefix)
	})
}

func (c *checker) conditions(key string, of map[string]sink.Condition) {
	for _, path := range slices.Sorted(maps.Keys(of)) {
		at, cond := key+"."+path, of[path]
		const fix = "write a path of fields, $envelope.PATH, $schema, $key, $key_json, $key.PATH, $header.NAME, $topic or $partition"
		src, err := source.Parse(path, "")
		switch {
		case err != nil:
			c.excess(at, "is nothing that an event can be asked for", fix).Given = path
		case src.Meta == source.Offset || src.Meta == source.Timestamp || src.Meta == source.Value:
			c.excess(at, "can't be compared", fix).Given = path
		case len(cond.In) == 0 && len(cond.Not) == 0 && cond.Exists == nil:
			c.add(at, "says nothing", "write a value, a list of them, or {not: [...]} or {exists: true}")
		}
	}
}
