package mapping

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// A row is deleted by a tombstone, which has the record's key alone, or by an event that says so: by its envelope, by a
// marker in it, or because it no longer meets the table's conditions. Such an event may have a version, and is
// then a deletion with a version (rule 11).

// tombstonesDelete reports whether tombstones delete rows of the table.
func tombstonesDelete(tc *sink.TableConfig) bool {
	return tc.Strategy == sink.Upsert && len(tc.RecordKey) > 0 && tc.Tombstones == sink.DeleteRows
}

// eventsDelete reports whether events with a value may delete rows of the table.
func eventsDelete(cfg *sink.Config, tc *sink.TableConfig) bool {
	return tc.Strategy == sink.Upsert && len(tc.SoftDelete) == 0 && eventsMayDelete(cfg, tc)
}

// eventsMayDelete is eventsDelete, whether the row goes or stays and says that it is deleted.
func eventsMayDelete(cfg *sink.Config, tc *sink.TableConfig) bool {
	return len(tc.DeleteWhen) > 0 || tc.Otherwise == sink.OtherwiseDelete ||
		slices.ContainsFunc(tc.Topics, func(topic string) bool { e := cfg.Topics[topic].Envelope; return e != nil && len(e.Delete) > 0 })
}

// allDelete reports whether the envelopes of all topics have events that delete a row. Whoever writes such an event and tombstones as well
// writes a tombstone behind each, for compaction.
func allDelete(cfg *sink.Config, tc *sink.TableConfig) bool {
	return !slices.ContainsFunc(tc.Topics, func(topic string) bool { e := cfg.Topics[topic].Envelope; return e == nil || len(e.Delete) == 0 })
}

// deletes reports whether rows of the table may be deleted.
func deletes(cfg *sink.Config, tc *sink.TableConfig) bool {
	return tombstonesDelete(tc) || eventsDelete(cfg, tc)
}

// Remembers reports whether a table has a delete memory. The configuration has its defaults.
func Remembers(cfg *sink.Config, tc *sink.TableConfig) bool {
	return deletes(cfg, tc) && tc.Guard != sink.GuardNone
}

// versionedDeletes reports whether deletions may carry a version.
func versionedDeletes(cfg *sink.Config, tc *sink.TableConfig) bool {
	return tc.Version != "" && eventsDelete(cfg, tc)
}

// mapConditions compiles which events are the table's, and which of them delete.
func mapConditions(t *tables.Table, cfg *sink.Config, tc sink.TableConfig, ps *Problems) {
	t.When = conditions(t, "when", tc.When, ps)
	t.DeleteWhen = conditions(t, "delete_when", tc.DeleteWhen, ps)
	t.Otherwise = tc.Otherwise == sink.OtherwiseDelete
	t.IgnoreTruncates = tc.Truncate == sink.IgnoreTruncates
	t.Deletes = deletes(cfg, &tc)
	t.VersionedDeletes = versionedDeletes(cfg, &tc)
	t.TombstonesFollow = t.VersionedDeletes && tombstonesDelete(&tc) && allDelete(cfg, &tc)
	for _, name := range slices.Sorted(maps.Keys(tc.SoftDelete)) {
		i := t.Index(name)
		if i < 0 {
			ps.Add(fmt.Sprintf("soft_delete column %q of %s does not exist or is not mapped", name, t.Title()), "name a column of the table that may be null, such as deleted_at")
			continue
		}
		src, err := source.Parse(tc.SoftDelete[name], "")
		if err != nil {
			ps.Add(fmt.Sprintf("soft_delete %s of %s: %v", name, t.Title(), err), "")
			continue
		}
		if t.Columns[i].NotNull || t.Columns[i].Computed != nil {
			ps.Add(fmt.Sprintf("soft_delete column %s of %s can't be null", name, t.Title()), "a row that is not deleted has null there: alter table "+t.Quoted()+" alter column "+name+" drop not null")
		}
		t.Soft = append(t.Soft, tables.Soft{Column: i, Source: src})
	}
}

func conditions(t *tables.Table, key string, of map[string]sink.Condition, ps *Problems) (out []tables.Condition) {
	for _, path := range slices.Sorted(maps.Keys(of)) {
		src, err := source.Parse(path, "")
		if err != nil {
			ps.Add(fmt.Sprintf("%s %s of %s: %v", key, path, t.Title(), err), "")
			continue
		}
		out = append(out, tables.Condition{Source: src, Condition: of[path]})
	}
	return out
}

// mapTombstones compiles how a record's key names its row, and finds the delete memory.
func mapTombstones(ctx context.Context, tx pgx.Tx, t *tables.Table, cfg *sink.Config, tc sink.TableConfig, ps *Problems) error {
	for _, k := range t.Key {
		if len(tc.RecordKey) == 0 {
			break
		}
		src, err := source.Parse(tc.RecordKey[t.Columns[k].Name], "")
		if err != nil {
			ps.Add(fmt.Sprintf("record_key %s of %s: %v", t.Columns[k].Name, t.Title(), err), "")
		}
		t.RecordKey = append(t.RecordKey, src)
	}
	if !Remembers(cfg, &tc) || t.Bulk() {
		return nil
	}
	m := DeleteMemory(cfg, t.Schema, t.Name, &tc)
	t.Memory = m.Quoted()
	return m.check(ctx, tx, ps)
}

// deriveRecordKey is the record key of a table whose topics all have the fields of its key in theirs; nil where they don't, or a
// column of the key comes from elsewhere.
func deriveRecordKey(cfg *sink.Config, tc *sink.TableConfig) map[string]string {
	if len(tc.Topics) == 0 || cmp.Or(tc.Strategy, sink.Upsert) != sink.Upsert {
		return nil
	}
	for _, topic := range tc.Topics {
		if e := cfg.Topics[topic].Envelope; e == nil || !e.RecordKey {
			return nil
		}
	}
	key := map[string]string{}
	for _, name := range tc.Key {
		src, err := source.Parse(tc.Columns[name].From, name)
		if err != nil || src.Meta != source.Field || tc.Columns[name].SQL != "" {
			return nil
		}
		key[name] = "$key." + src.Path
	}
	return key
}
