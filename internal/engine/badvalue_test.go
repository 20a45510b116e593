package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/sink"
)

// executed counts the statements that a client of PostgreSQL executes with parameters.
type executed struct {
	net.Conn
	n     *atomic.Int64
	begun bool
	left  []byte
}

// Write implements [net.Conn].
func (c *executed) Write(p []byte) (int, error) {
	c.left = append(c.left, p...)
	for {
		head := 5 // a message's type and length; the first ones have no type
		if !c.begun {
			head = 4
		}
		if len(c.left) < head {
			break
		}
		size := head - 4 + int(binary.BigEndian.Uint32(c.left[head-4:]))
		if len(c.left) < size {
			break
		}
		if c.begun && c.left[0] == 'E' {
			c.n.Add(1)
		}
		c.begun = c.begun || binary.BigEndian.Uint32(c.left[4:]) == 3<<16 // and not a request for encryption
		c.left = c.left[size:]
	}
	return c.Conn.Write(p)
}

// The server is asked about the values that are in doubt, in groups if there are many, each text once; of a type that Go reads, hardly any is.
func TestDoubtsAreFew(t *testing.T) {
	const n = 5000
	for _, tt := range []struct {
		name, typ, good, bad string // how the n-th good value is made
		poisons              int
		first, next, after   int64 // statements: of the batch that meets it first, the next one, and one that has none
	}{
		{"dates", "timestamptz", "2026-01-02T03:04:05.%06dZ", "2026-02-30", n / 100, 300, 240, 20},
		{"numbers", "smallint", "%d", "%d000", n / 100, 400, 330, 20},
		{"one of a type that is not known here", "interval", "%ds", "%dsoon", 1, 260, 250, 190},
		{"a hundredth of them", "interval", "%ds", "%dsoon", n / 100, 1960, 1950, 190},
		{"of few texts", "mood", "good", "bad", n / 100, 220, 150, 30},
		{"columns that limit what a cast cuts off", "bit(13)", "%013b", "%012b", n / 100, 1960, 1950, 190},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "create type mood as enum ('good', 'better')", "create table q (id int primary key, v "+tt.typ+")")
			var count atomic.Int64
			e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}},
				DeadLetters: sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1}}, func(c *pgxpool.Config) {
				dial := c.ConnConfig.DialFunc
				c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					return &executed{Conn: conn, n: &count}, err
				}
			})
			at, dead := 0, 0
			for batch, most := range []int64{tt.first, tt.next, tt.after} {
				poisons := tt.poisons
				if batch == 2 {
					poisons = 0
				}
				var evs []ev
				for i := range n {
					form, k := tt.good, i
					if poisons > 0 && i%(n/poisons) == n/poisons/2 {
						form, k = tt.bad, 20+i/2
					}
					v := form
					if strings.Contains(form, "%") {
						v = fmt.Sprintf(form, k)
					}
					evs = append(evs, ev{offset: int64(at), cols: fmt.Sprintf("id=%d v=%s", at, v)})
					at++
				}
				count.Store(0)
				e.write(e.received("o", 0, evs...))
				dead += poisons
				db.Want(fmt.Sprintf("%d|%d", at-dead, dead), "select count(*), (select count(*) from oncesink.dead_letters where column_name = 'v') from q")
				got := count.Load()
				t.Logf("batch %d: %d statements", batch, got)
				if got == 0 || got > most {
					t.Errorf("batch %d has %d statements, want %d at most", batch, got, most)
				}
			}
		})
	}
}
