package engine

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/sink"
)

// A connection that is lost while BEGIN is on its way halts nothing: the same is sent again on another one. So
// it is for the transaction of the rows, and for one that asks how PostgreSQL spells a key.
func TestLostInBegin(t *testing.T) {
	for _, tt := range []struct {
		name   string
		table  sink.TableConfig
		column string // of the form of one value
	}{
		{"rows", sink.TableConfig{Name: "log", Topics: []string{"o"}, Strategy: sink.Append, Guard: "none"}, "n=%d"},
		{"keys", sink.TableConfig{Name: "spelled", Topics: []string{"o"}, Key: []string{"at"}, Guard: "none"}, "at=2026010%d"},
	} {
		for when, passes := range map[string]bool{"before the server has it": false, "before its answer": true} {
			t.Run(tt.name+" "+when, func(t *testing.T) {
				db := newDatabase(t, "create table log (n bigint)", "create table spelled (at timestamptz primary key)")
				var cuts atomic.Int32
				e := db.open(sink.Config{Tables: []sink.TableConfig{tt.table}}, func(cfg *pgxpool.Config) {
					dial := cfg.ConnConfig.DialFunc
					cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
						c, err := dial(ctx, network, addr)
						return &beginCutter{c, &cuts, passes}, err
					}
				})
				e.claim("o", 0)
				var events []ev
				for n := range int64(9) {
					events = append(events, ev{offset: n, cols: fmt.Sprintf(tt.column, n+1)})
				}
				cuts.Store(2)
				e.write(e.part("o", 0, events...))
				db.Want("9", "select count(*) from "+tt.table.Name)
				if n := cuts.Load(); n > 0 {
					t.Errorf("%d cuts have not fired", n)
				}
			})
		}
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
