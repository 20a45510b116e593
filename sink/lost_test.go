package sink

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// A connection that is lost while BEGIN is on its way halts nothing: the same is sent again on another one.
func TestLostInBegin(t *testing.T) {
	for name, answered := range map[string]bool{"before the server has it": false, "before its answer": true} {
		t.Run(name, func(t *testing.T) {
			db := newDatabase(t, "create table log (n bigint)")
			var cuts atomic.Int32
			e := db.open(Config{Tables: []TableConfig{{Name: "log", Topics: []string{"o"}, Strategy: Append, Guard: "none"}}}, func(cfg *pgxpool.Config) {
				dial := cfg.ConnConfig.DialFunc
				cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := dial(ctx, network, addr)
					return &beginCutter{c, &cuts, answered}, err
				}
			})
			e.claim("o", 0)
			cuts.Store(2)
			e.write(e.upTo(10, 0)...)
			db.want("10", "select count(*) from log")
			if n := cuts.Load(); n > 0 {
				t.Errorf("%d cuts have not fired", n)
			}
		})
	}
}

// beginCutter breaks a connection at BEGIN, as often as cuts says.
type beginCutter struct {
	net.Conn
	cuts   *atomic.Int32
	passes bool // the server gets it
}

func (c *beginCutter) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte("begin isolation level")) || c.cuts.Add(-1) < 0 {
		return c.Conn.Write(b)
	}
	defer c.Close()
	if c.passes {
		return c.Conn.Write(b)
	}
	return 0, errCut
}
