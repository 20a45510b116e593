package offsets_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

const group = "orders-sink"

// rig is a database with a ledger and a target table, and a connection of
// somebody who is no process of ours.
type rig struct {
	*testing.T
	url     string
	admin   *pgx.Conn
	topicID offsets.Token
}

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	r := &rig{T: t, url: testpg.URLLike(t, "ledger", offsets.Init), topicID: offsets.NewToken()}
	r.admin = r.connect("psql")
	r.exec(`create table target (n bigint)`)
	return r
}

// connect opens a connection under an application name.
func (r *rig) connect(application string) *pgx.Conn {
	r.Helper()
	cfg, err := pgx.ParseConfig(r.url)
	r.must(err)
	cfg.RuntimeParams["application_name"] = application
	conn, err := pgx.ConnectConfig(r.Context(), cfg)
	r.must(err)
	r.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// process is what a process has: a pool with an instance name, and the ledger.
type process struct {
	*offsets.Ledger
	rig  *rig
	pool *pgxpool.Pool
}

func (r *rig) process(opts ...offsets.Options) *process {
	r.Helper()
	return r.processAt(r.url, opts...)
}

func (r *rig) processAt(url string, opts ...offsets.Options) *process {
	r.Helper()
	pool, _, err := offsets.NewPool(r.Context(), url, 8)
	r.must(err)
	r.Cleanup(pool.Close)
	o := offsets.Options{ClusterID: "cluster-1"}
	if len(opts) > 0 {
		o = opts[0]
	}
	return &process{offsets.New(pool, group, o), r, pool}
}

// partitions are the first n of a topic.
func partitions(n int) []offsets.Partition {
	ps := make([]offsets.Partition, n)
	for i := range ps {
		ps[i] = offsets.Partition{Topic: "orders", Partition: int32(i)}
	}
	return ps
}

func (r *rig) wants(ps ...offsets.Partition) []offsets.Want {
	wants := make([]offsets.Want, len(ps))
	for i, p := range ps {
		wants[i] = offsets.Want{Partition: p, TopicID: r.topicID, Start: &offsets.Position{Epoch: -1}}
	}
	return wants
}

// claim claims the first n partitions, which must be won.
func (p *process) claim(n int) []offsets.Claim {
	p.rig.Helper()
	claimed, err := p.Claim(p.rig.Context(), p.rig.wants(partitions(n)...))
	p.rig.must(err)
	claims := make([]offsets.Claim, n)
	for i, c := range claimed {
		p.rig.must(c.Err)
		claims[i] = c.Claim
	}
	return claims
}

// advance is a transaction that writes one row for each step.
func (p *process) advance(steps ...offsets.Step) error {
	tx, err := p.pool.Begin(p.rig.Context())
	p.rig.must(err)
	defer tx.Rollback(context.Background())
	if err := p.Advance(p.rig.Context(), tx, steps); err != nil {
		return err
	}
	for _, s := range steps {
		if _, err := tx.Exec(p.rig.Context(), `insert into target values ($1)`, s.To.Next); err != nil {
			return err
		}
	}
	return tx.Commit(p.rig.Context())
}

// step reads n records on from a claim.
func step(c offsets.Claim, n int64) offsets.Step {
	return offsets.Step{Claim: c, To: offsets.Position{Next: c.Position.Next + n, Epoch: 0}}
}

// at is the claim at another position.
func at(c offsets.Claim, next int64) offsets.Claim {
	c.Position.Next = next
	return c
}

// holding is an open transaction in which the steps are advanced and a row is written.
func (p *process) holding(steps ...offsets.Step) (*pgx.Conn, pgx.Tx) {
	p.rig.Helper()
	conn, err := p.pool.Acquire(p.rig.Context())
	p.rig.must(err)
	own := conn.Hijack()
	p.rig.Cleanup(func() { own.Close(context.Background()) })
	tx, err := own.Begin(p.rig.Context())
	p.rig.must(err)
	p.rig.must(p.Advance(p.rig.Context(), tx, steps))
	_, err = tx.Exec(p.rig.Context(), `insert into target values (1)`)
	p.rig.must(err)
	return own, tx
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) exec(sql string, args ...any) {
	r.Helper()
	if _, err := r.admin.Exec(r.Context(), sql, args...); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
}

// value is the result of a query for one value.
func value[T any](r *rig, sql string, args ...any) (v T) {
	r.Helper()
	if err := r.admin.QueryRow(r.Context(), sql, args...).Scan(&v); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return v
}

// position is where the ledger stands.
func (r *rig) position(p offsets.Partition) int64 {
	r.Helper()
	return value[int64](r, `select next_offset from oncesink.offsets where sink_group = $1 and topic = $2 and partition = $3`,
		group, p.Topic, p.Partition)
}

// stands checks the position of orders/0 and the number of rows in the target.
func (r *rig) stands(position, rows int64) {
	r.Helper()
	if got := r.position(partitions(1)[0]); got != position {
		r.Errorf("position %d, want %d", got, position)
	}
	if got := value[int64](r, `select count(*) from target`); got != rows {
		r.Errorf("%d rows in the target, want %d", got, rows)
	}
}

// until waits for a condition of the database.
func (r *rig) until(sql string, args ...any) {
	r.Helper()
	testenv.Eventually(r, 20*time.Second, fmt.Sprintf("%s %v", sql, args), func() bool { return value[bool](r, sql, args...) })
}

// untilWaiting waits until n sessions of this database wait for a lock.
func (r *rig) untilWaiting(n int) {
	r.Helper()
	r.until(`select count(*) >= $1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`, n)
}

func (r *rig) alive(pid uint32) bool {
	r.Helper()
	return value[bool](r, `select exists (select from pg_stat_activity where pid = $1)`, int64(pid))
}

// gone waits until a session has ended: its locks are released a moment before it disappears.
func (r *rig) gone(pid uint32) {
	r.Helper()
	r.until(`select not exists (select from pg_stat_activity where pid = $1)`, int64(pid))
}

// fenced checks that err is a *FencedError of exactly these partitions.
func (r *rig) fenced(err error, want ...offsets.Partition) {
	r.Helper()
	var f *offsets.FencedError
	if !errors.As(err, &f) {
		r.Fatalf("got %v, want a FencedError", err)
	}
	if len(f.Partitions) != len(want) {
		r.Fatalf("fenced %v, want %v", f.Partitions, want)
	}
	for i := range want {
		if f.Partitions[i] != want[i] {
			r.Fatalf("fenced %v, want %v", f.Partitions, want)
		}
	}
}

// state is the SQLSTATE of an error.
func state(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
