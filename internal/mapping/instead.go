package mapping

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// mapInstead compiles the columns' defaults. One that the column could not take would make a dead letter of every event that
// needs it, so each is tried: as a text of an event would be read, and as PostgreSQL assigns it.
func mapInstead(ctx context.Context, tx pgx.Tx, t *tables.Table, ps *Problems) error {
	for i := range t.Columns {
		c := &t.Columns[i]
		x := t.Config.Columns[c.Name]
		if x.Default == nil || x.SQL != "" || c.Hidden {
			continue
		}
		in := fmt.Sprintf("column %s of %s: default %q", c.Name, t.Title(), *x.Default)
		text, r := insteadText(c.Type, *x.Default)
		if r != nil {
			ps.Add(fmt.Sprintf("%s: %s (%s)", in, r.Message, r.Code), "write a text that events could have for the column")
			continue
		}
		refusal, err := assigned(ctx, tx, c, text)
		if err != nil {
			return err
		}
		if refusal != "" {
			ps.Add(in+": "+refusal, "write a text that events could have for the column")
			continue
		}
		c.Instead = tables.Instead{Text: text, Null: x.DefaultFor != sink.DefaultForAbsent, Absent: x.DefaultFor != sink.DefaultForNull}
	}
	return nil
}

// insteadText is what a column makes of a text, as if an event had it; of a number that events write as base64 a person writes digits.
func insteadText(typ pgtext.Type, text string) ([]byte, *pgtext.Refusal) {
	typ.Scaled = false
	typ.Prepare()
	raw, err := json.Marshal(text)
	if err != nil {
		return nil, pgtext.RefusalOf(err)
	}
	return typ.AppendValue(nil, &event.Value{Kind: event.String, Raw: raw})
}

// assigned says why PostgreSQL would not assign a text to the column, if it would not. A cast would cut off what is too long.
func assigned(ctx context.Context, tx pgx.Tx, c *tables.Column, text []byte) (refusal string, err error) {
	nested, err := tx.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = nested.Rollback(context.WithoutCancel(ctx)) }()
	body := fmt.Sprintf("declare v %s; begin v := %s::text::%s; end", c.Declared, pgname.Literal(string(text)), c.Base)
	_, err = nested.Exec(ctx, "do "+pgname.Literal(body))
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pgerr.Classify(err) != pgerr.Transient {
		return fmt.Sprintf("%s (%s)", pg.Message, pg.Code), nil
	}
	if err != nil {
		return "", fmt.Errorf("try the default of column %s: %w", c.Name, err)
	}
	return "", nil
}
