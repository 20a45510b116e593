package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// scissors cut connections at a COMMIT.
type scissors struct {
	mu    sync.Mutex
	cut   func() cut // asked at every COMMIT
	fired map[cut]int
}

type cut int

const (
	noCut        cut = iota
	cutBefore        // the server never gets COMMIT
	cutAfter         // the server got COMMIT and answered; the answer is lost
	cutBetween       // COMMIT is on its way when the connection breaks
	cutBlackHole     // the server got COMMIT, and nothing comes back ever
)

// install makes a pool's connections go through the scissors.
func (s *scissors) install(cfg *pgxpool.Config) {
	s.fired = map[cut]int{}
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &cutConn{Conn: c, s: s}, nil
	}
}

func (s *scissors) next() cut {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut == nil {
		return noCut
	}
	c := s.cut()
	s.fired[c]++
	return c
}

type cutConn struct {
	net.Conn
	s    *scissors
	hole bool
}

var errCut = errors.New("the test cut the connection")

func (c *cutConn) Write(b []byte) (int, error) {
	if !bytes.HasSuffix(b, []byte("commit\x00")) {
		return c.Conn.Write(b)
	}
	switch c.s.next() {
	case cutBefore:
		_ = c.Conn.Close()
		return 0, errCut
	case cutAfter:
		n, err := c.Conn.Write(b)
		if err != nil {
			return n, err
		}
		_, _ = c.Conn.Read(make([]byte, 1024)) // wait until the server answers
		_ = c.Conn.Close()
		return n, nil
	case cutBetween:
		n, err := c.Conn.Write(b)
		_ = c.Conn.Close()
		return n, err
	case cutBlackHole:
		n, err := c.Conn.Write(b)
		c.hole = true
		return n, err
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.hole {
			return n, err
		}
	}
}

// Rule 6: a COMMIT of unknown outcome is resolved in the ledger, and neither
// repeated blindly nor taken for a failure. The rows are inserted into a table
// without any key and counted by a handler, so that nothing hides a repetition.
func TestUnknownCommit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cuts  []cut
		every bool // the resolutions' own commits as well
	}{
		{"before", []cut{cutBefore}, false},
		{"after", []cut{cutAfter}, false},
		{"between", []cut{cutBetween}, false},
		{"black hole", []cut{noCut, noCut, cutBlackHole}, false},
		{"anything, resolutions too", []cut{noCut, noCut, noCut, noCut, noCut, cutBefore, cutAfter, cutBetween}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &scissors{}
			db := newDatabase(t, "create table log (n bigint)", "create table counter (n int)", "insert into counter values (0)")
			e := db.open(sink.Config{
				Tables: []sink.TableConfig{{Name: "log", Topics: []string{"o"}, Strategy: sink.Append, Guard: "none"}},
				Handlers: []sink.Handler{func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
					_, err := tx.Exec(ctx, "update counter set n = n + $1", len(records))
					return err
				}},
				StatementTimeout: time.Second,
			}, s.install)
			e.shortSlack(100 * time.Millisecond)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 1))
			armed, first := false, true
			s.cut = func() cut {
				if !tt.every && !armed {
					return noCut
				}
				armed = false
				if first { // so that one fires
					first = false
					return tt.cuts[len(tt.cuts)-1]
				}
				return tt.cuts[r.IntN(len(tt.cuts))]
			}
			const batches, size = 12, 10
			e.claim("o", 0)
			e.claim("o", 1)
			for b := range int64(batches) {
				for {
					parts := e.upTo((b+1)*size, 0, 1)
					if len(parts) == 0 {
						break
					}
					s.mu.Lock()
					armed = true
					s.mu.Unlock()
					before := s.count()
					fence := parts[0].Claim.Fence
					for _, o := range e.Write(t.Context(), parts) {
						var fenced *offsets.FencedError
						switch {
						case errors.As(o.Err, &fenced) && tt.every:
							// The answer of a resolution was lost: what the row says of the
							// fence is no proof any more, and the ledger is read again.
							e.claim("o", o.Claim.Partition.Partition)
						case o.Err != nil:
							t.Fatal(o.Err)
						default:
							e.claims[o.Claim.Partition] = o.Claim
							if s.count() > before && o.Claim.Partition.Partition == 0 && o.Claim.Fence == fence {
								t.Error("a resolution draws new fences, so that a delayed COMMIT can't arrive")
							}
						}
					}
				}
			}
			s.mu.Lock()
			s.cut = nil
			s.mu.Unlock()
			db.Want(fmt.Sprintf("%d|%d", batches*size, 2*batches*size), "select count(distinct n), count(*) from log")
			db.Want(fmt.Sprint(2*batches*size), "select n from counter")
			db.Want(fmt.Sprintf("%d\n%[1]d", batches*size), "select next_offset from oncesink.offsets")
			t.Logf("fired %v", s.fired)
			if s.count() == 0 {
				t.Error("no cut fired")
			}
		})
	}
}

// upTo builds parts of what lies between the partitions' positions and end.
func (e *engine) upTo(end int64, partitions ...int32) []*decode.Part {
	var parts []*decode.Part
	for _, p := range partitions {
		var evs []ev
		for n := e.claims[offsets.Partition{Topic: "o", Partition: p}].Position.Next; n < end; n++ {
			evs = append(evs, ev{offset: n, cols: fmt.Sprintf("n=%d", n)})
		}
		if len(evs) > 0 {
			parts = append(parts, e.part("o", p, evs...))
		}
	}
	return parts
}

// count is how many connections were cut.
func (s *scissors) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c, k := range s.fired {
		if c != noCut {
			n += k
		}
	}
	return n
}

// shortSlack makes a test's black holes short.
func (e *engine) shortSlack(d time.Duration) { e.slack = d }
