package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

const fenceTable = "create table q (id int primary key, n int)"

func fenceConfig() sink.Config {
	return sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}}}
}

// Rule 2: a process that lost its partition writes nothing: no row, no dead
// letter, no position.
func TestZombieWritesNothing(t *testing.T) {
	db := newDatabase(t, fenceTable)
	e := db.open(fenceConfig())
	zombie := e.part("o", 0, ev{offset: 0, cols: "id=1 n=1"}, ev{offset: 1, cols: "id=x"})
	e.claim("o", 0) // somebody else, as far as the zombie's claim goes
	out := e.Write(t.Context(), []*decode.Part{zombie})
	var fenced *offsets.FencedError
	if !errors.As(out[0].Err, &fenced) {
		t.Fatalf("got %v, want a *FencedError", out[0].Err)
	}
	db.Want("0|0|0", "select (select count(*) from q), (select count(*) from oncesink.dead_letters), next_offset from oncesink.offsets")
	// The same goes for a position that is not where the part begins (rule 2: fence and expected offset).
	ahead := e.part("o", 0, ev{offset: 7, cols: "id=1 n=1"})
	ahead.Claim.Position.Next = 5
	if out := e.Write(t.Context(), []*decode.Part{ahead}); !errors.As(out[0].Err, &fenced) {
		t.Fatalf("got %v, want a *FencedError", out[0].Err)
	}
	db.Want("0", "select count(*) from q")
}

// Rule 2: the server itself raises. Whatever is sent behind the advance in one
// pipeline, a COMMIT included, has no effect.
func TestFenceFailsInServer(t *testing.T) {
	db := newDatabase(t, fenceTable)
	e := db.open(fenceConfig())
	zombie := e.claim("o", 0)
	e.claim("o", 0)
	var b pgx.Batch
	b.Queue("begin")
	b.Queue(`select oncesink.advance($1::text, array['o'], array[0], array[$2::uuid], array[0::bigint], array[1::bigint], array[0], array[null::timestamptz])`, "g", zombie.Fence.String())
	b.Queue("insert into q values (1, 1)")
	b.Queue("commit")
	if err := db.SendBatch(t.Context(), &b).Close(); pgerr.SQLState(err) != "OS001" {
		t.Errorf("got %v, want SQLSTATE OS001", err)
	}
	db.Do("rollback")
	db.Want("0", "select count(*) from q")
}

// Rule 4: if some partitions of a transaction are fenced, the others are written
// without them.
func TestFencedSubset(t *testing.T) {
	db := newDatabase(t, fenceTable)
	e := db.open(fenceConfig())
	var parts []*decode.Part
	for p := range int32(5) {
		parts = append(parts, e.part("o", p, ev{offset: 0, cols: fmt.Sprintf("id=%d n=1", p)}))
	}
	e.claim("o", 1)
	e.claim("o", 3)
	for i, o := range e.Write(t.Context(), parts) {
		var fenced *offsets.FencedError
		want := i == 1 || i == 3
		if errors.As(o.Err, &fenced) != want || !want && o.Err != nil {
			t.Errorf("partition %d: %v", i, o.Err)
		}
		if want && !slices.Equal(fenced.Partitions, []offsets.Partition{{Topic: "o", Partition: int32(i)}}) {
			t.Errorf("partition %d: fenced %v", i, fenced.Partitions)
		}
	}
	db.Want("0\n2\n4", "select id from q order by 1")
	db.Want("1\n0\n1\n0\n1", "select next_offset from oncesink.offsets order by partition")
}

// An operator's rewind while a transaction is under way fences it.
func TestRewindFences(t *testing.T) {
	db := newDatabase(t, fenceTable)
	e := db.open(fenceConfig())
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 n=1"}))
	p := e.part("o", 0, ev{offset: 1, cols: "id=2 n=1"})
	db.Do("select oncesink.rewind('g', 'o', 0, 0)")
	var fenced *offsets.FencedError
	if out := e.Write(t.Context(), []*decode.Part{p}); !errors.As(out[0].Err, &fenced) {
		t.Fatalf("got %v, want a *FencedError", out[0].Err)
	}
	db.Want("1", "select id from q")
}

// When ctx ends, the transaction is rolled back, the connection is given back,
// and the outcome is the context's error.
func TestContextEnds(t *testing.T) {
	db := newDatabase(t, fenceTable)
	e := db.open(fenceConfig())
	p := e.part("o", 0, ev{offset: 0, cols: "id=1 n=1"})
	db.Do("begin; lock table q")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var out []Outcome
	wg.Go(func() { out = e.Write(ctx, []*decode.Part{p}) })
	other := databaseAt(t, db.URL)
	waitUntil(t, func() bool {
		return other.Lines("select count(*) from pg_locks where not granted") == "1"
	})
	cancel()
	wg.Wait()
	if out[0].Err != context.Canceled {
		t.Errorf("got %v, want context.Canceled", out[0].Err)
	}
	db.Do("commit")
	db.Want("0", "select count(*) from q")
	waitUntil(t, func() bool { return e.pool.Stat().AcquiredConns() == 0 })
	e.claim("o", 0)
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 n=1"}))
}

// Transient errors are outlasted: a lock on the target for longer than the lock
// timeout, and a server that ends the session, again and again.
func TestTransientErrors(t *testing.T) {
	db := newDatabase(t, fenceTable)
	cfg := fenceConfig()
	cfg.LockTimeout = 50 * time.Millisecond
	e := db.open(cfg)
	p := e.part("o", 0, ev{offset: 0, cols: "id=1 n=1"})
	db.Do("begin; lock table q")
	var wg sync.WaitGroup
	var out []Outcome
	wg.Go(func() { out = e.Write(t.Context(), []*decode.Part{p}) })
	waitUntil(t, func() bool { return e.warnings() >= 2 })
	db.Do("rollback")
	wg.Wait()
	if out[0].Err != nil {
		t.Fatal(out[0].Err)
	}
	e.claims[p.Claim.Partition] = out[0].Claim
	db.Want("1|1", "select id, next_offset from q, oncesink.offsets")

	db.Do(`create function f() returns trigger language plpgsql as $$ begin
		if (select count(*) from tries) < 3 then
			perform pg_terminate_backend(pg_backend_pid());
		end if; return null; end $$`)
	db.Do("create sequence s")
	db.Do("create view tries as select generate_series(1, nextval('s'))")
	db.Do("create trigger f after insert on q execute function f()")
	e.write(e.part("o", 0, ev{offset: 1, cols: "id=2 n=1"}))
	db.Want("2", "select count(*) from q")
}

// Rule 18: an error that should pass and repeats with the same text is told as what the partition is stuck at,
// in the log and in the ledger, and no longer when it has passed.
func TestStuck(t *testing.T) {
	db := newDatabase(t, fenceTable)
	cfg := fenceConfig()
	cfg.LockTimeout = 20 * time.Millisecond
	var log syncBuffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	e := db.open(cfg)
	e.stuckAfter = 100 * time.Millisecond
	p := e.part("o", 0, ev{offset: 0, cols: "id=1 n=1"})
	db.Do("begin; lock table q")
	var wg sync.WaitGroup
	wg.Go(func() { e.write(p) })
	other := db.pool()
	waitUntil(t, func() bool {
		var stuck string
		err := other.QueryRow(t.Context(), "select coalesce(stuck, '') from oncesink.status").Scan(&stuck)
		return err == nil && strings.Contains(stuck, "SQLSTATE 55P03") && strings.Contains(stuck, "again and again since")
	})
	db.Do("rollback")
	wg.Wait()
	db.Want("1|-", "select id, (select stuck from oncesink.status) from q")
	if !strings.Contains(log.String(), "writing is stuck") {
		t.Errorf("the log does not say so: %s", log.String())
	}
}

// Only the position moves: control records, or records that are all tombstones
// to be ignored.
func TestPositionAlone(t *testing.T) {
	db := newDatabase(t, fenceTable)
	e := db.open(fenceConfig())
	p := e.part("o", 0)
	p.To = offsets.Position{Next: 3, Epoch: 1}
	e.write(p)
	db.Want("3|1", "select next_offset, leader_epoch from oncesink.offsets")
	// A part that moves nothing is no transaction, and no error.
	p = e.part("o", 0)
	p.To = offsets.Position{Next: 3, Epoch: 1}
	e.write(p)
}

// Records below the position were applied: they are not applied again, whatever
// the part holds.
func TestRecordsBelowThePosition(t *testing.T) {
	db := newDatabase(t, "create table log (n int)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "log", Topics: []string{"o"}, Strategy: sink.Append, Guard: "none"}}})
	e.write(e.part("o", 0, ev{offset: 0, cols: "n=0"}, ev{offset: 1, cols: "n=1"}))
	e.write(e.part("o", 0, ev{offset: 0, cols: "n=0"}, ev{offset: 1, cols: "n=1"}, ev{offset: 2, cols: "n=2"}))
	db.Want("0\n1\n2", "select n from log order by n")
}
