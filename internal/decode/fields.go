package decode

import (
	"fmt"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/tables"
)

// NewField is a field of rows that no column takes.
type NewField struct {
	Name string
	// Shape is what the schema says of it; nil: it was met in a document without one.
	Shape *event.Shape
}

// NewFields says that no column of a table takes some fields, of a record or of the schema that it was written with, and that the
// table does not ignore that. Once something was done about it the same record is read again.
type NewFields struct {
	Topic  string
	Table  *tables.Table
	Fields []NewField
	// By is the plan that has no columns for them.
	By *Plan
}

func (e *NewFields) Error() string {
	return fmt.Sprintf("no column of table %s takes %s of topic %s", e.Table.Title(), e.Names(), e.Topic)
}

// Names says which fields they are.
func (e *NewFields) Names() string {
	names := make([]string, len(e.Fields))
	for i := range e.Fields {
		names[i] = fmt.Sprintf("%q", e.Fields[i].Name)
	}
	what := "field "
	if len(names) > 1 {
		what = "fields "
	}
	return what + strings.Join(names, ", ")
}

// Older reports whether a plan goes by other tables than the one that has no columns for the fields: it may have some.
func (e *NewFields) Older(now *Plan) bool { return e.By.catalog != now.catalog }

// maxOverlooked is of how many fields of a table it is remembered that they are overlooked. Where there are more an object is used as a
// map, and all are.
const maxOverlooked = 1000

// Overlook has fields of a table taken for known, in all plans. It returns those that were not before.
func (s *Schemas) Overlook(e *NewFields) (fresh []NewField) {
	s.mu.Lock()
	defer s.mu.Unlock()
	title := e.Table.Title()
	if s.overlooked == nil {
		s.overlooked = map[string]map[string]bool{}
	}
	if s.overlooked[title] == nil {
		s.overlooked[title] = map[string]bool{}
	}
	for _, f := range e.Fields {
		if len(s.overlooked[title]) < maxOverlooked && !s.overlooked[title][f.Name] {
			s.overlooked[title][f.Name] = true
			fresh = append(fresh, f)
		}
	}
	return fresh
}

func (s *Schemas) overlooks(title, field string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.overlooked[title]
	return all[field] || len(all) >= maxOverlooked
}
