package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/ddl"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/sink"
)

// newFieldReport is a field of events that no column takes, of a table that does not ignore that.
type newFieldReport struct {
	Table string `json:"table"`
	Field string `json:"field"`
	Topic string `json:"topic"`
	// Remedy is the statement that adds a column for it, or what has to be decided.
	Remedy string    `json:"remedy"`
	Since  time.Time `json:"since"`
}

func (f *newFieldReport) String() string {
	return fmt.Sprintf("%s has no column for field %q of topic %s: %s", f.Table, f.Field, f.Topic, f.Remedy)
}

// newFields reads which fields were met for which there is still no column, and that nobody has had ignored.
func (s *session) newFields(ctx context.Context, c *pgx.Conn) ([]newFieldReport, error) {
	all := []newFieldReport{}
	if !mapping.WatchesFields(&s.sinkCfg) {
		return all, nil
	}
	rows, err := c.Query(ctx, `select f.target, f.field, f.topic, f.remedy, f.first_seen from oncesink.new_fields f
		where not f.ignored and not exists (select from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
		                                     where format('%s.%s', n.nspname, c.relname) = f.target and a.attname = f.field and not a.attisdropped)
		order by f.target, f.field`)
	if err != nil {
		return nil, err
	}
	var f newFieldReport
	_, err = pgx.ForEachRow(rows, []any{&f.Table, &f.Field, &f.Topic, &f.Remedy, &f.Since}, func() error {
		if s.waitsForColumn(&f) {
			all = append(all, f)
		}
		return nil
	})
	return all, err
}

// waitsForColumn reports whether the configuration still says nothing about a field that was met.
func (s *session) waitsForColumn(f *newFieldReport) bool {
	name, err := s.entry(f.Table)
	i := slices.IndexFunc(s.sinkCfg.Tables, func(t sink.TableConfig) bool { return t.Name == name })
	if err != nil || i < 0 {
		return false
	}
	tc := &s.sinkCfg.Tables[i]
	if tc.NewFields == "" || tc.NewFields == sink.IgnoreNewFields || slices.Contains(tc.IgnoreFields, f.Field) {
		return false
	}
	for _, from := range ddl.Sources(tc) {
		if ddl.FirstName(&from) == f.Field {
			return false
		}
	}
	return true
}
