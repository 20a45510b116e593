package connect

import "github.com/oncesink/oncesink/internal/event"

// shapes are what values are that have types of a name, as in [types].
var shapes = map[string]event.Shape{ // it never changes
	"kafka.data.Decimal": {Kind: event.Decimal}, "kafka.data.Date": {Kind: event.Date},
	"kafka.data.Time": {Kind: event.Time}, "kafka.data.Timestamp": {Kind: event.TimestampTZ},

	"data.VariableScaleDecimal": {Kind: event.Decimal}, "data.Json": {Kind: event.Text, Sense: event.JSONText}, "data.Bits": {Kind: event.Bits},
	"data.Uuid": {Kind: event.Text, Sense: event.UUIDText}, "data.Tsvector": {Kind: event.Text, Sense: event.SearchText}, "data.TsVector": {Kind: event.Text, Sense: event.SearchText},
	"data.SparseVector": {Kind: event.Text}, "data.geometry.Point": {Kind: event.Text, Sense: event.PointText},
	"data.geometry.Geometry": {Kind: event.Text}, "data.geometry.Geography": {Kind: event.Text},

	"time.Date": {Kind: event.Date}, "time.Time": {Kind: event.Time}, "time.MicroTime": {Kind: event.Time}, "time.NanoTime": {Kind: event.Time},
	"time.Timestamp": {Kind: event.Timestamp}, "time.MicroTimestamp": {Kind: event.Timestamp}, "time.NanoTimestamp": {Kind: event.Timestamp},
	"time.ZonedTimestamp": {Kind: event.TimestampTZ}, "time.ZonedTime": {Kind: event.Text, Sense: event.ZonedTimeText}, "time.Interval": {Kind: event.Text, Sense: event.IntervalText},
	"time.IsoDate": {Kind: event.Date}, "time.IsoTime": {Kind: event.Time}, "time.IsoTimestamp": {Kind: event.Timestamp},
	"data.IsoDate": {Kind: event.Date}, "data.IsoTime": {Kind: event.Time}, "data.IsoTimestamp": {Kind: event.Timestamp},
	"time.MicroDuration": {Kind: event.Text, Sense: event.IntervalText}, "time.NanoDuration": {Kind: event.Text, Sense: event.IntervalText},
	"time.StructuredDate": {Kind: event.Date}, "time.StructuredTime": {Kind: event.Time}, "time.StructuredTimestamp": {Kind: event.Timestamp},
	"time.StructuredZonedTime": {Kind: event.Text, Sense: event.ZonedTimeText}, "time.StructuredZonedTimestamp": {Kind: event.TimestampTZ},
	"time.StructuredDuration": {Kind: event.Text, Sense: event.IntervalText},
}

// ShapeOf returns what values are whose schema has a name. It is not ok where the name says no more than their type does.
func ShapeOf(name string, parameters map[string]string) (event.Shape, bool) {
	short, known := shortOf(name)
	if !known {
		return event.Shape{}, false
	}
	s, ok := shapes[short]
	if _, readable := TypeOf(name, parameters); !ok || !readable {
		return event.Shape{}, false
	}
	s.Said = name
	return s, true
}

// plain are the shapes of what has no name.
var plain = map[string]event.Shape{ // it never changes
	"boolean": {Kind: event.Bool}, "int8": {Kind: event.Int, Bits: 8}, "int16": {Kind: event.Int, Bits: 16}, "int32": {Kind: event.Int, Bits: 32}, "int64": {Kind: event.Int, Bits: 64},
	"float": {Kind: event.Float, Bits: 32}, "double": {Kind: event.Float, Bits: 64}, "string": {Kind: event.Text}, "bytes": {Kind: event.Bytes},
	"array": {Kind: event.Array}, "map": {Kind: event.Object}, "struct": {Kind: event.Object},
}

// Shape is what the schema says of values.
func (w *Written) Shape() *event.Shape {
	if w == nil {
		return &event.Shape{}
	}
	if s, ok := ShapeOf(w.Name, w.Parameters); ok {
		return &s
	}
	s := plain[w.Type]
	s.Said = w.Type
	switch w.Type {
	case "array":
		s.Element = w.Items.Shape()
		s.Said = "array of " + s.Element.Said
	case "map":
		s.Element = w.Values.Shape()
		s.Said = "map of " + s.Element.Said
	case "struct":
		for i := range w.Fields {
			s.Fields = append(s.Fields, event.ShapeField{Name: w.Fields[i].Field, Shape: w.Fields[i].Shape()})
		}
	}
	return &s
}
