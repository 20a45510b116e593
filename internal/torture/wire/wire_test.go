package wire_test

import (
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/torture/wire"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// connect returns a connection through a new proxy, and one past it.
func connect(t *testing.T) (p *wire.Proxy, through, past *pgx.Conn) {
	t.Helper()
	u, err := url.Parse(testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	if past, err = pgx.Connect(t.Context(), u.String()); err != nil {
		t.Fatal(err)
	}
	if p, err = wire.Listen(u.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	u.Host = p.Addr()
	if through, err = pgx.Connect(t.Context(), u.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := past.Exec(t.Context(), "create table t (n int)"); err != nil {
		t.Fatal(err)
	}
	return p, through, past
}

// A trap at COMMIT springs once, before the server gets it or after it has done it, and the client is told nothing.
func TestTrap(t *testing.T) {
	for _, after := range []bool{false, true} {
		p, through, past := connect(t)
		var sprung atomic.Int32
		p.Shape(wire.Shape{Slice: 1}) // messages come in pieces
		p.Set(&wire.Trap{Text: "commit", Whole: true, After: after, Do: func() { sprung.Add(1) }})
		tx, err := through.Begin(t.Context())
		if err == nil {
			_, err = tx.Exec(t.Context(), "insert into t values ($1)", 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(t.Context()); err == nil || sprung.Load() != 1 {
			t.Errorf("after %v: COMMIT says %v, sprung %d times", after, err, sprung.Load())
		}
		var n int
		if err := past.QueryRow(t.Context(), "select count(*) from t").Scan(&n); err != nil || (n == 1) != after {
			t.Errorf("after %v: %d rows, %v", after, n, err)
		}
	}
}

// A hole holds what is sent, and lets it pass when it heals.
func TestHole(t *testing.T) {
	p, through, _ := connect(t)
	if n := p.Hole(); n != 1 {
		t.Fatalf("it holds %d connections", n)
	}
	done := make(chan error, 1)
	go func() { _, err := through.Exec(t.Context(), "insert into t values (1)"); done <- err }()
	select {
	case err := <-done:
		t.Fatalf("it passed: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if p.Heal() == 0 {
		t.Error("it has kept nothing")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
