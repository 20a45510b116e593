package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/event"
)

// Use is a schema that records of a topic were read with, their values or their keys.
type Use struct {
	Topic string
	Key   bool
	Ref   event.SchemaRef
}

// Store keeps schemas, which mean the same for ever: so nobody depends on a registry for what was read once. It is safe for
// concurrent use.
type Store interface {
	// Get returns a schema that is kept of one of a registry's names.
	Get(ctx context.Context, names []string, ref event.SchemaRef) (s event.Schema, ok bool, err error)
	// Put keeps a schema, and by which topic it was used. What is kept stays as it is.
	Put(ctx context.Context, name string, use Use, s event.Schema) error
	// Newest returns the schema of a registry that a topic came to use last, and its reference.
	Newest(ctx context.Context, names []string, topic string, key bool) (s event.Schema, ref event.SchemaRef, ok bool, err error)
	// Ever reports whether a topic was ever read with one of the registry's schemas.
	Ever(ctx context.Context, names []string, topic string, key bool) (bool, error)
}

// InPostgres keeps schemas in oncesink.schemas, outside of any transaction that writes rows.
func InPostgres(pool *pgxpool.Pool) Store { return postgres{pool} }

type postgres struct{ pool *pgxpool.Pool }

func (p postgres) Get(ctx context.Context, names []string, ref event.SchemaRef) (s event.Schema, ok bool, err error) {
	var references []byte
	err = p.pool.QueryRow(ctx, `select type, text, refs from oncesink.schemas where registry = any ($1) and space = $2 and id = $3 order by fetched_at limit 1`,
		names, ref.Space, ref.ID).Scan(&s.Type, &s.Text, &references)
	if errors.Is(err, pgx.ErrNoRows) {
		return event.Schema{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(references, &s.References)
	}
	if err != nil {
		return event.Schema{}, false, lacks(err)
	}
	return s, true, nil
}

func (p postgres) Newest(ctx context.Context, names []string, topic string, key bool) (s event.Schema, ref event.SchemaRef, ok bool, err error) {
	err = p.pool.QueryRow(ctx, `select space, id from oncesink.schema_uses where registry = any ($1) and topic = $2 and of_key = $3
		order by first_used desc, length(id) desc, id desc limit 1`, names, topic, key).Scan(&ref.Space, &ref.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, ref, false, nil
	}
	if err != nil {
		return s, ref, false, lacks(err)
	}
	s, ok, err = p.Get(ctx, names, ref)
	return s, ref, ok, err
}

func (p postgres) Put(ctx context.Context, name string, use Use, s event.Schema) error {
	if s.References == nil {
		s.References = []event.Reference{}
	}
	references, err := json.Marshal(s.References)
	if err != nil {
		return err
	}
	_, err = p.pool.Exec(ctx, `with kept as (
		insert into oncesink.schemas (registry, space, id, type, text, refs) values ($1, $2, $3, $4, $5, $6) on conflict do nothing
	) insert into oncesink.schema_uses (registry, space, id, topic, of_key) values ($1, $2, $3, $7, $8) on conflict do nothing`,
		name, use.Ref.Space, use.Ref.ID, s.Type, s.Text, string(references), use.Topic, use.Key)
	return lacks(err)
}

func (p postgres) Ever(ctx context.Context, names []string, topic string, key bool) (ever bool, err error) {
	err = p.pool.QueryRow(ctx, `select exists (select from oncesink.schema_uses where registry = any ($1) and topic = $2 and of_key = $3)`, names, topic, key).Scan(&ever)
	return ever, lacks(err)
}

// lacks says what to do about tables that are missing, or not allowed.
func lacks(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "42501") {
		return fmt.Errorf("%s: run `oncesink init`, or the script of `oncesink init --print`", pg.Message)
	}
	return err
}
