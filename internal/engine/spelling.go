package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// spell asks PostgreSQL for the open spellings and adds them to the known ones.
// The transaction has the settings of those that write: a time without a zone
// means the same here and there.
func (s *Sink) spell(ctx context.Context, open, known decode.Spellings) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StatementTimeout+s.slack)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("read keys: connect: %w", s.connecting(err))
	}
	defer func() {
		err = lost(conn, err)
		conn.Release()
	}()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: s.beginSQL})
	if err != nil {
		return fmt.Errorf("read keys: begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	for c, texts := range open {
		if known[c] == nil {
			known[c] = map[string]*decode.Spelling{}
		}
		if err := spell(c, ctx, tx, slices.Sorted(maps.Keys(texts)), known[c]); err != nil {
			return fmt.Errorf("read keys: %w", err)
		}
	}
	return nil
}

// spell finds the texts that are none by halving.
func spell(c *tables.Column, ctx context.Context, tx pgx.Tx, texts []string, known map[string]*decode.Spelling) error {
	sub, err := tx.Begin(ctx) // a savepoint
	if err != nil {
		return err
	}
	canon, err := spellAll(c, ctx, sub, texts)
	if err == nil {
		for i, text := range texts {
			known[text] = &decode.Spelling{Canon: canon[i]}
		}
		return sub.Commit(ctx)
	}
	if pgerr.Classify(err) != pgerr.Data {
		return err
	}
	if err := sub.Rollback(ctx); err != nil {
		return err
	}
	if len(texts) > 1 {
		if err := spell(c, ctx, tx, texts[:len(texts)/2], known); err != nil {
			return err
		}
		return spell(c, ctx, tx, texts[len(texts)/2:], known)
	}
	var pg *pgconn.PgError
	errors.As(err, &pg)
	known[texts[0]] = &decode.Spelling{Refused: &pgtext.Refusal{Code: pg.Code, Message: pg.Message}}
	return nil
}

func spellAll(c *tables.Column, ctx context.Context, tx pgx.Tx, texts []string) ([][]byte, error) {
	rows, err := tx.Query(ctx, statement.Canonical(c), texts)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]byte, error) {
		var s string
		err := row.Scan(&s)
		return []byte(s), err
	})
}
