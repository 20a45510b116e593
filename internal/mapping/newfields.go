package mapping

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/sink"
)

// metFields is the engine's table of new fields.
const metFields = `"oncesink"."new_fields"`

var metFieldsPrivileges = []string{"SELECT", "INSERT"}

// WatchesFields reports whether anything is done about fields that no column takes.
func WatchesFields(cfg *sink.Config) bool {
	return slices.ContainsFunc(cfg.Tables, func(t sink.TableConfig) bool { return watches(&t) })
}

func watches(t *sink.TableConfig) bool {
	return t.NewFields != "" && t.NewFields != sink.IgnoreNewFields
}

// readIgnored reads which fields somebody has said are to have no column, by the tables' titles.
func readIgnored(ctx context.Context, tx pgx.Tx, cfg *sink.Config, ps *Problems) (map[string][]string, error) {
	if !WatchesFields(cfg) || len(ps.Errs) > 0 {
		return nil, nil
	}
	if err := checkEngineTables(ctx, tx, []string{metFields}, metFieldsPrivileges, ps); err != nil || len(ps.Errs) > 0 {
		return nil, err
	}
	rows, err := tx.Query(ctx, "select target, field from oncesink.new_fields where ignored order by target, field")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", metFields, err)
	}
	ignored := map[string][]string{}
	var target, field string
	_, err = pgx.ForEachRow(rows, []any{&target, &field}, func() error {
		ignored[target] = append(ignored[target], field)
		return nil
	})
	return ignored, err
}

// newFields checks what the table at hand says of new fields.
func (c *checker) newFields() {
	tc := c.table
	c.oneOf("new_fields", string(tc.NewFields), string(sink.IgnoreNewFields), string(sink.WarnOfNewFields), string(sink.HoldNewFields), string(sink.AddNewFields))
	if tc.NewFields == "" {
		return
	}
	if tc.Strategy == sink.Children {
		c.excess("new_fields", "is of rows, and has no meaning for strategy children, which has elements", "remove it")
		return
	}
	if topic := c.schemaless(); topic != "" && tc.NewFields == sink.AddNewFields {
		c.add("new_fields", "is add, and the records of topic "+topic+" have no schema (format json) that says a column's type", "hold or warn")
	}
}
