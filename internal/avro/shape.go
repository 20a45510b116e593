package avro

import (
	"cmp"
	"fmt"

	"github.com/twmb/avro"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
)

// Shape returns what a schema says of the values that are written with it. An error says that the schema can't be used.
func Shape(s event.Schema) (*event.Shape, error) {
	t, err := parse(&s)
	if err != nil {
		return nil, err
	}
	return shaper{}.shape(t), nil
}

// told notes what a node says for people, and for columns, that values don't need.
func (t *typ) told(n *avro.SchemaNode) {
	switch {
	case n.LogicalType == "decimal" && t.as == event.Decimal:
		t.said = fmt.Sprintf("decimal(%d,%d)", n.Precision, n.Scale)
	case n.LogicalType == "uuid" && (t.kind == text || t.as == uuid):
		t.said, t.shape.Sense = "uuid", event.UUIDText
	case t.as == duration:
		t.said, t.shape.Sense = "duration", event.IntervalText
	case t.kind == enum || t.kind == fixed && n.LogicalType == "":
		t.said = n.Type + " " + n.Name
	default:
		t.said = cmp.Or(n.LogicalType, n.Type)
	}
	if t.kind == record {
		t.said = n.Type + " " + n.Name
	}
	name, _ := n.Props["connect.name"].(string)
	if s, ok := connect.ShapeOf(name, connectParameters(n)); ok {
		t.shape, t.said = s, name
	}
}

// shaper makes each type's shape once.
type shaper map[*typ]*event.Shape

func (all shaper) shape(t *typ) *event.Shape {
	if s := all[t]; s != nil {
		return s
	}
	s := &event.Shape{Kind: t.shape.Kind, Sense: t.shape.Sense, Said: t.said}
	all[t] = s // before what is in it, which may lead back
	if s.Kind != event.Absent {
		return s // by its name
	}
	switch s.Kind = t.as; {
	case t.kind == integer && t.as == event.Int:
		s.Bits = 32
	case t.kind == long && t.as == event.Int:
		s.Bits = 64
	case t.as == event.Float:
		s.Bits = t.scale
	case t.as == uuid || t.as == duration:
		s.Kind = event.Text
	case t.kind == record:
		s.Kind = event.Object
		for i := range t.fields {
			s.Fields = append(s.Fields, event.ShapeField{Name: t.fields[i].name, Shape: all.shape(t.fields[i].typ)})
		}
	case t.kind == array:
		s.Kind, s.Element = event.Array, all.shape(t.elements)
		s.Said = "array of " + s.Element.Said
	case t.kind == mapping:
		s.Kind, s.Element = event.Object, all.shape(t.elements)
		s.Said = "map of " + s.Element.Said
	case t.kind == union:
		// With one branch beside null it is that of the branch, which may still be in the making.
		var merged *event.Shape
		for _, b := range t.branches {
			switch of := all.shape(b); {
			case of.Kind == event.Null:
			case merged == nil:
				merged = of
			default:
				merged = event.Merge(merged, of)
			}
		}
		if merged == nil {
			merged = &event.Shape{Kind: event.Null, Said: "null"}
		}
		all[t], s = merged, merged
	}
	return s
}
