package offsets_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/oncesink/oncesink/offsets"
)

// mapping is one of topic orders.
func mapping(target, fingerprint string) offsets.Mapping {
	return offsets.Mapping{Topic: "orders", Target: target, Fingerprint: fingerprint}
}

// Rule 9: a claim is compared with every table that is fed from the partition,
// and a refused one changes nothing.
func TestRule9MappingIsCompared(t *testing.T) {
	for name, s := range map[string]struct {
		mappings []offsets.Mapping
		target   string // that the refusal names; empty: claimed
		dropped  bool
	}{
		"the same":         {[]offsets.Mapping{mapping("a", "1"), mapping("b", "1")}, "", false},
		"in another order": {[]offsets.Mapping{mapping("b", "1"), mapping("a", "1")}, "", false},
		"a new table":      {[]offsets.Mapping{mapping("a", "1"), mapping("b", "1"), mapping("c", "1")}, "", false},
		"another topic's":  {[]offsets.Mapping{mapping("a", "1"), mapping("b", "1"), {Topic: "items", Target: "a", Fingerprint: "2"}}, "", false},
		"another mapping":  {[]offsets.Mapping{mapping("a", "1"), mapping("b", "2")}, "b", false},
		"one dropped":      {[]offsets.Mapping{mapping("a", "1")}, "b", true},
		"from another topic instead": {
			[]offsets.Mapping{mapping("a", "1"), {Topic: "items", Target: "b", Fingerprint: "1"}}, "b", true},
		"all dropped": {nil, "a", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.process(offsets.Options{Mappings: []offsets.Mapping{mapping("a", "1"), mapping("b", "1")}})
			old := p.claim(2)
			r.must(p.advance(step(old[0], 10)))
			const recorded = `select string_agg(m::text, ';' order by m::text) from oncesink.mappings m`
			before := value[string](r, ledgerText) + value[string](r, recorded)

			claimed, err := r.process(offsets.Options{Mappings: s.mappings}).Claim(t.Context(), r.wants(partitions(2)...))
			r.must(err)
			for _, c := range claimed {
				if s.target == "" {
					r.must(c.Err)
					continue
				}
				var m *offsets.MappingError
				if !errors.As(c.Err, &m) || m.Target != s.target || m.Dropped != s.dropped || m.Partition != c.Partition {
					t.Errorf("%s: got %v, want %s refused, dropped %v", c.Partition, c.Err, s.target, s.dropped)
				}
			}
			if s.target == "" {
				r.fenced(p.advance(step(at(old[0], 10), 1)), old[0].Partition)
				return
			}
			if after := value[string](r, ledgerText) + value[string](r, recorded); after != before {
				t.Errorf("a refused claim changed\n%s\nto\n%s", before, after)
			}
			r.must(p.advance(step(at(old[0], 10), 1)))
		})
	}
}

// Rule 9: accepted mappings are all that the group has: what is missing is no
// longer fed, what is new is fed since now, what changed keeps its history.
func TestRule9AcceptMappings(t *testing.T) {
	r := newRig(t)
	p := r.process(offsets.Options{Mappings: []offsets.Mapping{mapping("a", "1"), mapping("b", "1")}})
	c := p.claim(2)
	r.must(p.advance(step(c[0], 10), step(c[1], 20)))
	r.exec(`insert into oncesink.offsets (sink_group, topic, partition, next_offset, first_offset) values ('other', 'orders', 0, 4, 0)`)
	r.exec(`insert into oncesink.mappings values ('other', 'orders', 0, 'b', '1', 0)`)

	accepted := []offsets.Mapping{mapping("a", "2"), mapping("c", "1")}
	r.must(offsets.AcceptMappings(t.Context(), r.admin, group, accepted))
	got := value[string](r, `select string_agg(concat_ws(' ', sink_group, partition, target, fingerprint, since), ', ' order by sink_group, partition, target) from oncesink.mappings`)
	want := "orders-sink 0 a 2 0, orders-sink 0 c 1 10, orders-sink 1 a 2 0, orders-sink 1 c 1 20, other 0 b 1 0"
	if got != want {
		t.Errorf("mappings\n%s\nwant\n%s", got, want)
	}
	if got := value[int64](r, `select fence_count from oncesink.offsets where sink_group = 'other'`); got != 0 {
		t.Error("the other group is fenced")
	}
	r.fenced(p.advance(step(at(c[0], 10), 1), step(at(c[1], 20), 1)), partitions(2)...)
	for _, c := range r.process(offsets.Options{Mappings: accepted}).claim(2) {
		if c.Position.Next != 10+10*int64(c.Partition.Partition) {
			t.Errorf("%s: claimed at %d", c.Partition, c.Position.Next)
		}
	}
}

// Rule 9: the history names, per partition, what a table that was added later
// lacks, until a rewind or a new topic brings it.
func TestRule9History(t *testing.T) {
	r := newRig(t)
	p := r.process(offsets.Options{ClusterID: "cluster-1", Mappings: []offsets.Mapping{mapping("a", "1")}})
	wants := r.wants(partitions(2)...)
	wants[0].Start.Next = 100 // the table has all that the group has
	claimed, err := p.Claim(t.Context(), wants)
	r.must(err)
	r.must(p.advance(step(claimed[0].Claim, 10), step(claimed[1].Claim, 20)))

	p = r.process(offsets.Options{ClusterID: "cluster-1", Mappings: []offsets.Mapping{mapping("a", "1"), mapping("b", "1")}})
	lacks := func(want ...offsets.TableHistory) {
		t.Helper()
		got, err := p.History(t.Context())
		r.must(err)
		if !slices.Equal(got, want) {
			t.Errorf("history %+v, want %+v", got, want)
		}
	}
	lacks()
	c := p.claim(2)
	ps := partitions(2)
	first, second := offsets.TableHistory{Partition: ps[0], Target: "b", Since: 110}, offsets.TableHistory{Partition: ps[1], Target: "b", Since: 20}
	lacks(first, second)
	r.must(p.advance(step(c[0], 5), step(c[1], 5)))
	p.claim(2)
	lacks(first, second)
	r.exec(`select oncesink.rewind($1, 'orders', 0, 112)`, group) // above: the table still lacks what lies below 110
	lacks(first, second)
	r.exec(`select oncesink.rewind($1, 'orders', 0, 105)`, group)
	first.Since = 105
	lacks(first, second)
	r.exec(`select oncesink.rewind($1, 'orders', 0, 50)`, group) // before the group's beginning
	lacks(second)
	r.exec(`select oncesink.adopt($1, 'orders', gen_random_uuid())`, group)
	lacks()
}
