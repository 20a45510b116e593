package offsets_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// sideBySide is a group that writes a and b by an old mapping, and a and c by the new one that was accepted beside it.
func sideBySide(t *testing.T, window time.Duration) (r *rig, older, newer *process) {
	r = newRig(t)
	was := []offsets.Mapping{mapping("a", "1"), mapping("b", "1")}
	is := []offsets.Mapping{mapping("a", "2"), mapping("c", "1")}
	older, newer = r.process(offsets.Options{Mappings: was}), r.process(offsets.Options{Mappings: is})
	for i, c := range older.claim(2) {
		r.must(older.advance(step(c, 10*int64(i+1))))
	}
	r.must(offsets.AcceptMappingsBeside(t.Context(), r.admin, group, is, window))
	return r, older, newer
}

// mappings is what the partitions have: partition, table, fingerprint, since.
func (r *rig) mappings() string {
	r.Helper()
	return value[string](r, `select string_agg(concat_ws(' ', partition, target, fingerprint, since), ', ' order by partition, target) from oncesink.mappings where fingerprint <> ''`)
}

// refused claims one partition, and says which table is in the way; empty: claimed.
func (r *rig) refused(p *process, n int32) string {
	r.Helper()
	got, err := p.Claim(r.Context(), r.wants(partitions(2)[n]))
	r.must(err)
	var m *offsets.MappingError
	if errors.As(got[0].Err, &m) {
		return m.Target
	}
	r.must(got[0].Err)
	return ""
}

// Rule 9: accepting a mapping beside another one stops nobody; a partition goes over when it is claimed, at its position, and others stay.
func TestRule9SideBySide(t *testing.T) {
	r, older, newer := sideBySide(t, time.Hour)
	old := older.claim(2)
	r.must(older.advance(step(old[0], 5), step(old[1], 5)))
	if target := r.refused(newer, 1); target != "" {
		t.Fatalf("the new mapping is refused because of %s", target)
	}
	if got, want := r.mappings(), "0 a 1 0, 0 b 1 0, 1 a 2 0, 1 c 1 25"; got != want {
		t.Errorf("mappings %s, want %s", got, want)
	}
	r.fenced(older.advance(step(at(old[1], 25), 1)), old[1].Partition) // that is the new one's
	r.must(older.advance(step(at(old[0], 15), 1)))                     // this one is still its own

	// Within the window it may go back, and c misses what is written meanwhile.
	if target := r.refused(older, 1); target != "" {
		t.Fatalf("the old mapping is refused because of %s", target)
	}
	if got, want := r.mappings(), "0 a 1 0, 0 b 1 0, 1 a 1 0, 1 b 1 25"; got != want {
		t.Errorf("mappings %s, want %s", got, want)
	}
	back := older.claim(2)
	r.must(older.advance(step(back[1], 7)))
	newer.claim(2)
	if got, want := r.mappings(), "0 a 2 0, 0 c 1 16, 1 a 2 0, 1 c 1 32"; got != want {
		t.Errorf("mappings %s, want %s", got, want)
	}
	history, err := newer.History(t.Context())
	r.must(err)
	if len(history) != 2 || history[0].Target != "c" || history[0].Since != 16 || history[1].Since != 32 {
		t.Errorf("history %+v", history)
	}
}

// Rule 9: after the window a partition that went over does not go back; one that did not may still go over.
func TestRule9WindowEnds(t *testing.T) {
	r, older, newer := sideBySide(t, 0)
	if target := r.refused(newer, 1); target != "" {
		t.Fatalf("the new mapping is refused because of %s", target)
	}
	if target := r.refused(older, 1); target != "a" {
		t.Errorf("the old mapping took back what had gone over: %q", target)
	}
	if target := r.refused(older, 0); target != "" {
		t.Errorf("the old mapping lost what had not gone over, because of %s", target)
	}
	newer.claim(2)
}

// Rule 9: what was not accepted is refused beside two that are; a later one ends what was accepted before; and one for all at once ends both.
func TestRule9NoThirdMapping(t *testing.T) {
	r, older, newer := sideBySide(t, time.Hour)
	newer.Claim(t.Context(), r.wants(partitions(2)[1]))
	third := []offsets.Mapping{mapping("a", "3"), mapping("b", "1")}
	other := r.process(offsets.Options{Mappings: third})
	for n := range int32(2) {
		if target := r.refused(other, n); target != "a" {
			t.Errorf("a third mapping is refused for %q", target)
		}
	}
	r.must(offsets.AcceptMappingsBeside(t.Context(), r.admin, group, third, time.Hour))
	if target := r.refused(newer, 0); target != "a" {
		t.Errorf("what went before the last one takes a partition that it did not have: %q", target)
	}
	other.claim(2)
	if target := r.refused(newer, 1); target != "" {
		t.Errorf("a partition may not go back: %s", target)
	}
	r.must(offsets.AcceptMappings(t.Context(), r.admin, group, third))
	for _, p := range []*process{older, newer} {
		if target := r.refused(p, 0); target != "a" {
			t.Errorf("after one was accepted for all, another is refused for %q", target)
		}
	}
	other.claim(2)
}

// Rule 9: a partition that comes while both run, and one of a group that nobody has claimed so far, is whose claim comes first.
func TestRule9SideBySideNewPartition(t *testing.T) {
	r, older, newer := sideBySide(t, time.Hour)
	for _, p := range []*process{older, newer, older, newer} {
		p.claim(3)
	}
	if got := value[string](r, `select string_agg(concat(target, ' ', fingerprint), ', ' order by target) from oncesink.mappings where partition = 2 and fingerprint <> ''`); got != "a 2, c 1" {
		t.Errorf("the new partition has %s", got)
	}
}

// What a fingerprint stands for is kept, and told for each partition.
func TestGroupMappings(t *testing.T) {
	r := newRig(t)
	define := func(m offsets.Mapping, text string) offsets.Mapping {
		m.Definition = text
		return m
	}
	was := []offsets.Mapping{define(mapping("a", "1"), `{"key": ["id"]}`), mapping("b", "3")}
	is := []offsets.Mapping{define(mapping("a", "2"), `{"key": ["no"]}`), mapping("b", "3")}
	r.process(offsets.Options{Mappings: was}).claim(3)
	r.must(offsets.AcceptMappingsBeside(t.Context(), r.admin, group, is, time.Hour))
	r.process(offsets.Options{Mappings: is}).claim(1)
	found, err := offsets.GroupMappings(t.Context(), r.admin, group)
	r.must(err)
	var got strings.Builder
	for _, g := range found {
		fmt.Fprintln(&got, g.Target, g.Fingerprint, g.Definition, g.Partitions)
	}
	if want := `a 2 {"key": ["no"]} [0]` + "\n" + `a 1 {"key": ["id"]} [1 2]` + "\n" + `b 3  [0 1 2]` + "\n"; got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
