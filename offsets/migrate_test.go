package offsets_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/oncesink/oncesink/offsets"
)

// A component's tables are brought from an older version to this one, once, by
// however many processes start at the same time, and their rows stay.
func TestMigrate(t *testing.T) {
	r := newRig(t)
	first := []string{`create table oncesink.sample (n int)`}
	r.must(offsets.Migrate(t.Context(), r.admin, "sample", first))
	r.exec(`insert into oncesink.sample values (7)`)
	second := append(first, `alter table oncesink.sample add column doubled int; update oncesink.sample set doubled = 2 * n`)
	var wg sync.WaitGroup
	for range 10 {
		conn := r.connect("psql")
		wg.Go(func() {
			if err := offsets.Migrate(t.Context(), conn, "sample", second); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := value[int](r, `select doubled from oncesink.sample`); got != 14 {
		t.Errorf("doubled is %d, want 14", got)
	}
	// A newer schema, of a rolling upgrade, is left alone.
	r.must(offsets.Migrate(t.Context(), r.admin, "sample", first))
	if got := value[int](r, `select version from oncesink.schema_version where component = 'sample'`); got != 2 {
		t.Errorf("version %d, want 2", got)
	}
}

// A ledger that is older than the program, or missing, is named as such.
func TestCheckOldLedger(t *testing.T) {
	r := newRig(t)
	r.must(offsets.Check(t.Context(), r.admin))
	r.exec(`update oncesink.schema_version set version = 0`)
	if err := offsets.Check(t.Context(), r.admin); !errors.Is(err, offsets.ErrNoLedger) || !strings.Contains(err.Error(), "oncesink init") {
		t.Errorf("an older ledger: %v", err)
	}
	r.exec(`drop schema oncesink cascade`)
	if err := offsets.Check(t.Context(), r.admin); !errors.Is(err, offsets.ErrNoLedger) {
		t.Errorf("no ledger: %v", err)
	}
}

// Rule 9: a claim under another mapping is refused until it is accepted; then the
// processes with the older one are refused. A table that is added later is fed, and
// said to be fed, since the position of that time.
func TestMappingIsPartOfThePosition(t *testing.T) {
	r := newRig(t)
	orders := partitions(1)[0]
	mapping := func(target, fingerprint string) offsets.Mapping {
		return offsets.Mapping{Topic: orders.Topic, Target: target, Fingerprint: fingerprint}
	}
	older := r.process(offsets.Options{Mappings: []offsets.Mapping{mapping("a", "1")}})
	c := older.claim(1)[0]
	r.must(older.advance(step(c, 10)))

	newer := r.process(offsets.Options{Mappings: []offsets.Mapping{mapping("a", "2"), mapping("b", "1")}})
	refused := func(p *process) {
		t.Helper()
		got, err := p.Claim(t.Context(), r.wants(orders))
		r.must(err)
		var m *offsets.MappingError
		if !errors.As(got[0].Err, &m) || m.Target != "a" {
			t.Fatalf("claim under another mapping: %v", got[0].Err)
		}
	}
	refused(newer)
	r.must(offsets.AcceptMappings(t.Context(), r.admin, newer.Group(), []offsets.Mapping{mapping("a", "2"), mapping("b", "1")}))
	r.fenced(older.advance(step(at(c, 10), 5)), orders)
	refused(older)
	newer.claim(1)
	history, err := newer.History(t.Context())
	r.must(err)
	if len(history) != 1 || history[0].Target != "b" || history[0].Since != 10 {
		t.Errorf("history %+v, want table b since 10", history)
	}
}

// Who waits for a lock, beside the pool, is noticed to have vanished as the pool's connections are.
func TestWaitingConnectionIsKeptAlive(t *testing.T) {
	r := newRig(t)
	p := r.process()
	conn, err := p.Connect(t.Context())
	r.must(err)
	defer conn.Close(context.Background())
	const settings = `select format('%s %s %s %s', current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'),
		current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout'))`
	var got, want string
	r.must(conn.QueryRow(t.Context(), settings).Scan(&got))
	r.must(p.pool.QueryRow(t.Context(), settings).Scan(&want))
	if got != want || want == value[string](r, settings) {
		t.Errorf("%q, in the pool %q", got, want)
	}
}
