package rebuild

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/sink"
)

// readKeys has PostgreSQL write the keys that were named.
func (j *job) readKeys(ctx context.Context) error {
	j.keys, j.result.Keys = nil, len(j.Keys)
	switch {
	case len(j.Keys) == 0:
		return nil
	case j.Range != nil || j.Swap:
		return &sink.ConfigError{Problem: "some keys of a table are neither a range nor exchanged", Fix: "name keys alone"}
	}
	typ, err := j.typeOf(ctx, j.layout.Key[0])
	if err != nil {
		return err
	}
	for _, k := range j.Keys {
		if !strings.HasPrefix(k, "(") && len(j.layout.Key) == 1 {
			err := j.scan(ctx, fmt.Sprintf("select row(%s::%s)::text", pgname.Literal(k), typ), []any{pgx.QueryExecModeSimpleProtocol}, &k)
			if pgerr.Classify(err) == pgerr.Data {
				return &sink.ConfigError{Problem: fmt.Sprintf("key %q of table %s: %v", k, j.result.Table, err), Fix: "give a value of type " + typ}
			}
			if err != nil {
				return fmt.Errorf("read key %q: %w", k, err)
			}
		}
		j.keys = append(j.keys, k)
	}
	return nil
}

// hasKey is the condition that a row has one of the keys.
func (j *job) hasKey(alias string) string {
	return fmt.Sprintf("%s = any (%s)", j.keyText(alias), j.keyList())
}

func (j *job) keyText(alias string) string {
	return fmt.Sprintf("row(%s)::text", qualified(alias, j.layout.Key))
}

func (j *job) keyList() string {
	literals := make([]string, len(j.keys))
	for i, k := range j.keys {
		literals[i] = pgname.Literal(k)
	}
	return "array[" + strings.Join(literals, ", ") + "]::text[]"
}

// keysExist refuses keys that neither the table has nor the stage: they are misspelt.
func (j *job) keysExist(ctx context.Context) error {
	if len(j.keys) == 0 {
		return nil
	}
	var missing []string
	if err := j.scan(ctx, fmt.Sprintf("select coalesce(array_agg(k), '{}') from (select unnest(%s) except (select %s from %s t union all select %s from %s s)) x(k)",
		j.keyList(), j.keyText("t"), j.layout.Quoted(), j.keyText("s"), j.stage.quoted()), nil, &missing); err != nil {
		return fmt.Errorf("look for the keys: %w", err)
	}
	if len(missing) > 0 {
		return &sink.ConfigError{Problem: fmt.Sprintf("neither table %s nor its topics have the key %s", j.result.Table, strings.Join(missing, ", ")),
			Fix: fmt.Sprintf("write it as `oncesink verify %s --show-keys` does: the values of %s in parentheses", j.Table, strings.Join(j.layout.Key, ", "))}
	}
	return nil
}
