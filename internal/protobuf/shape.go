package protobuf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncesink/oncesink/internal/event"
)

// Shape returns what a schema says of the values of its messages: of the one that is named, or of its only one. An error says that the schema
// can't be used, or that it has several and none is named.
func Shape(s event.Schema, message string) (*event.Shape, error) {
	file, err := compile(s)
	if err != nil {
		return nil, err
	}
	if message != "" {
		md, err := byName(file, message)
		if err != nil {
			return nil, err
		}
		return shaper{}.message(md), nil
	}
	var names []string
	for i := range file.Messages().Len() {
		names = append(names, string(file.Messages().Get(i).FullName()))
	}
	switch len(names) {
	case 0:
		return nil, errors.New("the schema has no message")
	case 1:
		return shaper{}.message(file.Messages().Get(0)), nil
	}
	slices.Sort(names)
	return nil, fmt.Errorf("the schema has several messages: name the topic's as `message:`, one of %s", strings.Join(names, ", "))
}

// shaper makes each message's shape once: they may lead to themselves.
type shaper map[protoreflect.FullName]*event.Shape

func (all shaper) message(md protoreflect.MessageDescriptor) *event.Shape {
	if s := all[md.FullName()]; s != nil {
		return s
	}
	s := &event.Shape{Kind: event.Object, Said: string(md.FullName())}
	all[md.FullName()] = s
	switch wellKnownOf(md) {
	case ordinary:
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			f := event.ShapeField{Name: string(fd.Name()), Shape: all.field(fd)}
			if fd.JSONName() != f.Name {
				f.Alias = fd.JSONName()
			}
			s.Fields = append(s.Fields, f)
		}
	case timestamp:
		s.Kind = event.TimestampTZ
	case duration:
		s.Kind, s.Sense = event.Text, event.IntervalText
	case wrapper:
		*s = *all.scalar(md.Fields().Get(0))
	case fieldMask:
		s.Kind = event.Text
	case day:
		s.Kind = event.Date
	case timeOfDay:
		s.Kind = event.Time
	case decimalText, decimal, oldDecimal:
		s.Kind = event.Decimal
	case list:
		s.Kind = event.Array
	case anyValue:
		s.Kind, s.Sense = event.Text, event.JSONText
	}
	return s
}

func (all shaper) field(fd protoreflect.FieldDescriptor) *event.Shape {
	one := all.scalar
	if fd.IsMap() {
		values := all.field(fd.MapValue())
		return &event.Shape{Kind: event.Object, Element: values, Said: "map of " + values.Said}
	}
	if fd.Message() != nil {
		one = func(fd protoreflect.FieldDescriptor) *event.Shape { return all.message(fd.Message()) }
	}
	s := one(fd)
	if fd.IsList() {
		return &event.Shape{Kind: event.Array, Element: s, Said: "repeated " + s.Said}
	}
	return s
}

func (all shaper) scalar(fd protoreflect.FieldDescriptor) *event.Shape {
	s := &event.Shape{Said: fd.Kind().String()}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		s.Kind = event.Bool
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		s.Kind, s.Bits = event.Int, 32
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		s.Kind, s.Bits = event.Int, 64
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		s.Kind, s.Bits = event.Uint, 32
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		s.Kind, s.Bits = event.Uint, 64
	case protoreflect.FloatKind:
		s.Kind, s.Bits = event.Float, 32
	case protoreflect.DoubleKind:
		s.Kind, s.Bits = event.Float, 64
	case protoreflect.StringKind:
		s.Kind = event.Text
	case protoreflect.BytesKind:
		s.Kind = event.Bytes
	case protoreflect.EnumKind:
		s.Kind, s.Said = event.Text, "enum "+string(fd.Enum().Name())
	}
	return s
}
