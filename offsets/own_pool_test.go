package offsets_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/offsets"
)

// unnamed is a process with a pool that somebody else made, and named.
func (r *rig) unnamed() *process {
	r.Helper()
	cfg, err := pgxpool.ParseConfig(r.url)
	r.must(err)
	cfg.ConnConfig.RuntimeParams["application_name"] = "shop"
	pool, err := pgxpool.NewWithConfig(r.Context(), cfg)
	r.must(err)
	r.Cleanup(pool.Close)
	return &process{offsets.New(pool, group, offsets.Options{ClusterID: "cluster-1"}), r, pool}
}

// Rule 1: the session of a stopped process is recognised on a pool that is none of NewPool's, too, by processes on
// any kind of pool; and only while the transaction lasts is it named otherwise than its owner wants.
func TestRule1StoppedOwnerOnAPoolOfItsOwn(t *testing.T) {
	for how := range stops {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			zombie, other := r.unnamed(), r.unnamed()
			if zombie.Instance() == "" || zombie.Instance() == other.Instance() {
				t.Errorf("instances %q and %q", zombie.Instance(), other.Instance())
			}
			old := zombie.claim(1)
			r.must(zombie.advance(step(old[0], 2)))
			if got := value[string](r, `select string_agg(distinct application_name, ' ') from pg_stat_activity
				where datname = current_database() and application_name not in ('psql', '')`); got != "shop" {
				t.Errorf("between transactions its sessions are %q", got)
			}
			pid := zombie.stopped(how, step(at(old[0], 2), 1))
			for _, owner := range []*process{other, r.process()} {
				claimed, err := owner.Claim(t.Context(), r.wants(partitions(1)...))
				r.must(err)
				r.must(claimed[0].Err)
				if claimed[0].Position.Next != 2 {
					t.Errorf("claimed at %d", claimed[0].Position.Next)
				}
			}
			r.gone(pid)
		})
	}
}

// Rule 6: a resolution on such a pool ends its own old session.
func TestRule6ResolveOnAPoolOfItsOwn(t *testing.T) {
	r := newRig(t)
	p := r.unnamed()
	c := p.claim(1)[0]
	pid := p.stopped("between statements", step(c, 1))
	got, err := p.Resolve(t.Context(), []offsets.Step{step(c, 1)}, pid)
	r.must(err)
	if got.Committed || !got.Partitions[0].Ours || !got.Partitions[0].AsExpected {
		t.Errorf("resolved as %+v", got)
	}
	r.gone(pid)
}
