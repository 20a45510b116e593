package bind

import (
	"slices"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// Sets are events by the set of columns that they have a field for. The zero value is ready to use. Its buffers are
// reused: what it returned is good until the next Split or Forget.
type Sets struct{ groups map[string]*[]Event }

// Names of the sets of events that delete their row, without a version of their own and with one. The other sets are named by a mark for
// each column: see [statement.ShapeOf].
const (
	Tombstones       = "-"
	VersionedDeletes = "="
)

// maxGroups bounds the sets whose buffers are kept.
const maxGroups = 32

// Split groups events of a table; their order stays.
func (s *Sets) Split(t *tables.Table, events []Event) {
	if s.groups == nil || len(s.groups) > maxGroups {
		s.groups = map[string]*[]Event{}
	}
	for _, group := range s.groups {
		*group = (*group)[:0]
	}
	marks := make([]byte, len(t.Columns))
	for i := range events {
		name := marks
		if events[i].Deletes(t) {
			name = []byte(Tombstones)
			if events[i].Versioned() {
				name = []byte(VersionedDeletes)
			}
		} else {
			for k := range marks {
				switch x := events[i].Cell(k); {
				case x.Given():
					marks[k] = statement.Present
				case x.Len == decode.CellUnavailable:
					marks[k] = statement.Withheld
				default:
					marks[k] = statement.Absent
				}
			}
		}
		group := s.groups[string(name)]
		if group == nil {
			group = new([]Event)
			s.groups[string(name)] = group
		}
		*group = append(*group, events[i])
	}
}

// Names returns the sets that have events, without those that delete: the fullest first, always in the same order.
func (s *Sets) Names() []string {
	var names []string
	for name, group := range s.groups {
		if name != Tombstones && name != VersionedDeletes && len(*group) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names
}

// Of returns the events of a set, in the order in which they were split.
func (s *Sets) Of(name string) []Event {
	if group := s.groups[name]; group != nil {
		return *group
	}
	return nil
}

// Forget lets go of the events, and of the parts that they are in.
func (s *Sets) Forget() {
	for _, group := range s.groups {
		clear((*group)[:cap(*group)])
		*group = (*group)[:0]
	}
}
