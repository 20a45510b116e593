package connect

import (
	"encoding/json"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// Written is a schema as JsonConverter writes it.
type Written struct {
	Type       string            `json:"type"`
	Name       string            `json:"name"`
	Parameters map[string]string `json:"parameters"`
	Field      string            `json:"field"`
	Fields     []Written         `json:"fields"`
	Items      *Written          `json:"items"`
	Keys       *Written          `json:"keys"`
	Values     *Written          `json:"values"`
}

// schema says what becomes of JSON values.
type schema struct {
	base base
	// typ is what the schema's name says; nothing for most.
	typ Type
	// inside: within a container a value is left as it is.
	inside       bool
	fields       map[string]*schema // of a struct
	items        *schema            // of an array
	keys, values *schema            // of a map
}

type base uint8

const (
	scalar base = iota
	octets
	array
	mapping
	structure
)

var bases = map[string]base{ // it never changes
	"boolean": scalar, "int8": scalar, "int16": scalar, "int32": scalar, "int64": scalar, "float": scalar, "double": scalar, "string": scalar,
	"bytes": octets, "array": array, "map": mapping, "struct": structure,
}

// parse reads a schema. It is nil if the text is none.
func parse(text []byte) *schema {
	var w Written
	if json.Unmarshal(text, &w) != nil {
		return nil
	}
	return w.schema()
}

func (w *Written) schema() *schema {
	if w == nil {
		return nil
	}
	base, ok := bases[w.Type]
	if !ok {
		return nil
	}
	s := &schema{base: base}
	s.typ, _ = TypeOf(w.Name, w.Parameters)
	s.inside = s.typ.Same()
	switch base {
	case array:
		s.items = w.Items.schema()
		if s.items == nil {
			return nil
		}
		s.inside = s.inside && s.items.inside
	case mapping:
		s.keys, s.values = w.Keys.schema(), w.Values.schema()
		if s.keys == nil || s.values == nil {
			return nil
		}
		s.inside = s.inside && s.keys.inside && s.values.inside
	case structure:
		s.fields = make(map[string]*schema, len(w.Fields))
		for i := range w.Fields {
			field := w.Fields[i].schema()
			if field == nil {
				return nil
			}
			s.fields[w.Fields[i].Field] = field
			s.inside = s.inside && field.inside
		}
	}
	return s
}

// at follows a path. It is nil where the schema has nothing.
func (s *schema) at(names []string) *schema {
	for _, name := range names {
		switch s.base {
		case structure:
			s = s.fields[name]
		case mapping:
			s = s.values
		default:
			return nil
		}
		if s == nil {
			return nil
		}
	}
	return s
}

// same reports whether values are left as they are.
func (s *schema) same() bool { return s == nil || s.inside && s.base != octets }

// value makes of a value what the schema says.
func (s *schema) value(v *event.Value, p *Placeholder, arena *[]byte) error {
	switch {
	case s.same() || v.Kind == event.Null || v.Kind == event.Absent:
		return nil
	case !s.typ.Same():
		return s.typ.Value(v, arena)
	case s.base == octets:
		b, err := bytesOf(v, arena)
		if err == nil {
			*v = event.Value{Kind: event.Bytes, Raw: b}
		}
		return err
	case v.Kind != event.Object && v.Kind != event.Array:
		return nil // not what the schema says: the column finds out
	}
	start := len(*arena)
	dst, err := s.append(*arena, v, p)
	if err != nil {
		return err
	}
	*arena = dst
	*v = event.Value{Kind: v.Kind, Raw: dst[start:len(dst):len(dst)]}
	return nil
}

// append appends a container with what its members mean.
func (s *schema) append(dst []byte, v *event.Value, p *Placeholder) ([]byte, error) {
	var err error
	if v.Kind == event.Array {
		dst = append(dst, '[')
		i := 0
		for element := range fields.Elements(v.Raw) {
			if i++; i > 1 {
				dst = append(dst, ',')
			}
			if s.base == mapping { // an array of pairs: keys are no strings
				dst, err = s.pair(dst, &element, p)
			} else {
				dst, err = s.items.member(dst, &element, p)
			}
			if err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	}
	dst = append(dst, '{')
	i := 0
	for name, m := range fields.Members(v.Raw) {
		if i++; i > 1 {
			dst = append(dst, ',')
		}
		if dst, err = (event.Value{Kind: event.Text, Raw: name}).AppendJSON(dst); err != nil {
			return dst, err
		}
		of := s.values
		if s.base == structure {
			of = s.fields[string(name)]
		}
		if dst, err = of.member(append(dst, ':'), &m, p); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// pair appends a key and its value.
func (s *schema) pair(dst []byte, v *event.Value, p *Placeholder) ([]byte, error) {
	if v.Kind != event.Array {
		return append(dst, v.Raw...), nil
	}
	dst = append(dst, '[')
	i := 0
	var err error
	for element := range fields.Elements(v.Raw) {
		of := s.keys
		if i++; i > 1 {
			dst, of = append(dst, ','), s.values
		}
		if dst, err = of.member(dst, &element, p); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// member appends a member of a container. A placeholder stays one there: the container is not withheld.
func (s *schema) member(dst []byte, v *event.Value, p *Placeholder) ([]byte, error) {
	switch {
	case s == nil || s.inside || v.Kind == event.Null || p.Is(v):
		return append(dst, v.Raw...), nil
	case s.typ.Same() && s.base == octets:
		return append(dst, v.Raw...), nil
	case s.typ.Same() && (v.Kind == event.Object || v.Kind == event.Array):
		return s.append(dst, v, p)
	case s.typ.Same():
		return append(dst, v.Raw...), nil
	}
	// What the type makes on the way stands where the JSON will stand.
	start := len(dst)
	if err := s.typ.Value(v, &dst); err != nil {
		return dst, err
	}
	made := len(dst)
	dst, err := v.AppendJSON(dst)
	if err != nil {
		return dst, err
	}
	n := copy(dst[start:], dst[made:])
	return dst[:start+n], nil
}

// Plain reports whether values are left as they are.
func (w *Written) Plain() bool { return w.schema().same() }

// Member is the schema of a struct's field, nil if there is none.
func (w *Written) Member(name string) *Written {
	if w == nil {
		return nil
	}
	for i := range w.Fields {
		if w.Fields[i].Field == name {
			return &w.Fields[i]
		}
	}
	return nil
}
