package mapping

import (
	"slices"
	"strings"
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// Kind of a [Change].
type Kind string

// The kinds.
const (
	NewTable     Kind = "new"
	DroppedTable Kind = "dropped"
	Changed      Kind = "changed"
)

// Change is what becomes of a topic's mapping into a table when a group goes over to another configuration.
type Change struct {
	Topic string `json:"topic"`
	Table string `json:"table"`
	Kind  Kind   `json:"kind"`
	Difference
	// Partitions of the topic that have the mapping of before, of those that the table is, or was, written from.
	Partitions int `json:"partitions"`
	Of         int `json:"of"`
	// Until is set where it is accepted already that both run side by side: how long partitions may go back.
	Until *time.Time `json:"back_until,omitempty"`
}

// Changes returns how the mappings of a configuration differ from those that the partitions of a group have, by topic and table; none where they have
// these.
func Changes(group []offsets.GroupMapping, now []offsets.Mapping, beside []offsets.Beside) ([]Change, error) {
	type place struct{ topic, table string }
	changes := map[place]*Change{}
	find := func(m offsets.Mapping) int {
		return slices.IndexFunc(now, func(n offsets.Mapping) bool { return n.Topic == m.Topic && n.Target == m.Target })
	}
	written, read := map[place]int{}, map[string]bool{}
	for _, g := range group {
		read[g.Topic] = true
		at, p := find(g.Mapping), place{g.Topic, g.Target}
		if g.Fingerprint != "" || at >= 0 {
			written[p] += len(g.Partitions)
		}
		if at < 0 && g.Fingerprint == "" || at >= 0 && now[at].Fingerprint == g.Fingerprint {
			continue
		}
		c := changes[p]
		if c == nil {
			c = &Change{Topic: g.Topic, Table: g.Target}
			changes[p] = c
		}
		c.Partitions += len(g.Partitions)
		switch {
		case at < 0:
			c.Kind = DroppedTable
		case g.Fingerprint == "":
			if c.Kind == "" {
				c.Kind = NewTable
			}
		default:
			c.Kind = Changed
			d, err := Compare(g.Definition, now[at].Definition)
			if err != nil {
				return nil, err
			}
			c.merge(d)
		}
	}
	for _, m := range now {
		if _, ok := written[place{m.Topic, m.Target}]; !ok && read[m.Topic] { // a topic that nobody has read has no mapping yet
			changes[place{m.Topic, m.Target}] = &Change{Topic: m.Topic, Table: m.Target, Kind: NewTable}
		}
	}
	var all []Change
	for p, c := range changes {
		c.Of = written[p]
		for _, b := range beside {
			at := find(offsets.Mapping{Topic: b.Topic, Target: b.Target})
			if (place{b.Topic, b.Target}) == p && (at < 0 && b.Newer == "" || at >= 0 && now[at].Fingerprint == b.Newer) {
				c.Until = &b.Until
			}
		}
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.Table+"\x00"+a.Topic, b.Table+"\x00"+b.Topic) })
	return all, nil
}

// Apart says of which tables, and why, processes of both mappings must not write beside each other; empty: they may. What was accepted
// already counts no more.
func Apart(changes []Change) string {
	var why []string
	for _, c := range changes {
		if c.AtOnce != "" && c.Until == nil {
			why = append(why, c.Table+": "+c.AtOnce)
		}
	}
	return strings.Join(slices.Compact(why), "; ")
}

// merge adds how another partition's mapping differs.
func (d *Difference) merge(other Difference) {
	for _, what := range other.What {
		if !slices.Contains(d.What, what) {
			d.What = append(d.What, what)
		}
	}
	if d.AtOnce == "" {
		d.AtOnce = other.AtOnce
	}
}
