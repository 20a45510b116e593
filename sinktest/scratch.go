package sinktest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/offsets"
)

// cleanup bounds the removal of a database, whatever became of the check's context.
const cleanup = 30 * time.Second

// scratch makes databases: copies of one in which the case was set up.
type scratch struct {
	url   string
	admin *pgx.Conn // in the database that the url names
	base  string
	count int
}

// newScratch sets the case up in a database.
func newScratch(ctx context.Context, url string, c *Case) (_ *scratch, err error) {
	var name [6]byte
	_, _ = rand.Read(name[:])
	s := &scratch{url: url, base: "sinktest_" + hex.EncodeToString(name[:])}
	if s.admin, err = pgx.Connect(ctx, url); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if err := s.exec(ctx, "create database "+quote(s.base)); err != nil {
		return nil, fmt.Errorf("make a database (the role needs CREATEDB): %w", err)
	}
	if err := s.setUp(ctx, c.Setup); err != nil {
		return nil, fmt.Errorf("run Setup: %w", err)
	}
	conn, err := s.connect(ctx, s.base)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if err := offsets.Init(ctx, conn); err != nil {
		return nil, err
	}
	return s, schema.Init(ctx, conn, c.Config)
}

// setUp runs a script in a session of its own, whose settings end with it.
func (s *scratch) setUp(ctx context.Context, script string) error {
	conn, err := s.connect(ctx, s.base)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.PgConn().Exec(ctx, script).ReadAll(); err != nil {
		return err
	}
	if conn.PgConn().TxStatus() != 'I' {
		return errors.New("it leaves a transaction open")
	}
	return nil
}

func (s *scratch) exec(ctx context.Context, sql string) error {
	_, err := s.admin.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// connect opens a plain connection to one of the databases.
func (s *scratch) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(s.url)
	if err != nil {
		return nil, err
	}
	cfg.Database = database
	return pgx.ConnectConfig(ctx, cfg)
}

// database makes a fresh one.
func (s *scratch) database(ctx context.Context) (*database, error) {
	s.count++
	d := &database{scratch: s, name: fmt.Sprintf("%s_%d", s.base, s.count)}
	if err := s.exec(ctx, fmt.Sprintf("create database %s template %s", quote(d.name), quote(s.base))); err != nil {
		return nil, fmt.Errorf("make a database: %w", err)
	}
	var err error
	if d.conn, err = s.connect(ctx, d.name); err != nil {
		return nil, errors.Join(err, d.close(ctx))
	}
	return d, nil
}

func (s *scratch) drop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	if s.admin.IsClosed() { // its context ended in the middle of a statement
		var err error
		if s.admin, err = pgx.Connect(ctx, s.url); err != nil {
			return err
		}
	}
	return s.exec(ctx, fmt.Sprintf("drop database if exists %s with (force)", quote(name)))
}

func (s *scratch) close(ctx context.Context) error {
	err := s.drop(ctx, s.base)
	return errors.Join(err, s.admin.Close(context.WithoutCancel(ctx)))
}

// database is one of a run, with a connection that nothing disturbs.
type database struct {
	*scratch
	name string
	conn *pgx.Conn
}

// close drops the database.
func (d *database) close(ctx context.Context) error {
	if d.conn != nil {
		_ = d.conn.Close(context.WithoutCancel(ctx))
	}
	return d.drop(ctx, d.name)
}

func quote(name ...string) string { return pgx.Identifier(name).Sanitize() }
