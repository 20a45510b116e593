package event

// Shape is what a schema says of the values at a place, in no format's own words. It is immutable once it is made, and may
// lead back to itself.
type Shape struct {
	// Kind that the values have, which is that of a typed scalar, or Bool, Object, Array. Null: they are never anything else. Absent:
	// they are of several kinds, or nobody knows.
	Kind Kind
	// Bits of Int, Uint and Float.
	Bits int32
	// Sense is what texts are beyond their kind.
	Sense Sense
	// Said is what the schema calls it, for people.
	Said string
	// Fields of an Object, in the schema's order; none: it may have any.
	Fields []ShapeField
	// Element of an Array, and what an Object has that is a map.
	Element *Shape
}

// ShapeField is a field of objects.
type ShapeField struct {
	Name string
	// Alias is another name by which paths may have it, where no field is called so; "" if there is none.
	Alias string
	Shape *Shape
}

// Sense is what a text says.
type Sense uint8

// The senses of texts.
const (
	AnyText Sense = iota
	UUIDText
	IntervalText
	JSONText // of any JSON value, whatever its kind is
	ZonedTimeText
	PointText
	SearchText // a text search vector
)

// At follows names of fields, and of the keys of maps. It is nil where the schema has nothing.
func (s *Shape) At(names ...string) *Shape {
	for _, name := range names {
		switch f := s.Field(name); {
		case f != nil:
			s = f.Shape
		case s != nil && s.Kind == Object && len(s.Fields) == 0:
			s = s.Element
		default:
			return nil
		}
	}
	return s
}

// Field finds a field by its name, or by its alias; nil if there is none.
func (s *Shape) Field(name string) *ShapeField {
	if s == nil {
		return nil
	}
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return &s.Fields[i]
		}
	}
	for i := range s.Fields {
		if a := s.Fields[i].Alias; a != "" && a == name {
			return &s.Fields[i]
		}
	}
	return nil
}

// Merge is the shape of values that have the one or the other. Where both are whole numbers, or fractions, it is that of the wider ones;
// containers of different kinds are JSON; of anything else nobody can say.
func Merge(a, b *Shape) *Shape {
	switch {
	case a.Kind == Null:
		return b
	case b.Kind == Null, a == b:
		return a
	case a.Kind == b.Kind && (a.Kind == Int || a.Kind == Uint || a.Kind == Float):
		if a.Bits >= b.Bits {
			return a
		}
		return b
	case a.Kind == Object && b.Kind == Object && a.Sense == b.Sense:
		if len(a.Fields) == len(b.Fields) && sameFields(a, b) {
			return a
		}
		return &Shape{Kind: Object, Sense: a.Sense, Said: a.Said + " or " + b.Said}
	case a.container() && b.container():
		return &Shape{Kind: Object, Said: a.Said + " or " + b.Said}
	case a.Kind == b.Kind && a.Sense == b.Sense && !a.container() && a.Kind != Absent:
		return a
	}
	return &Shape{Said: a.Said + " or " + b.Said}
}

func (s *Shape) container() bool { return (s.Kind == Object || s.Kind == Array) && s.Sense == AnyText }

// sameFields reports whether two objects have the same fields; what these are is not looked at: they may lead back.
func sameFields(a, b *Shape) bool {
	for i := range a.Fields {
		if a.Fields[i].Name != b.Fields[i].Name || a.Fields[i].Shape.Kind != b.Fields[i].Shape.Kind {
			return false
		}
	}
	return true
}

// NewFields is the path of what the judge of a [Watching] format has said of a value's schema: an Int. Where a value has no schema the document
// stands there instead. No field has this path.
const NewFields = ".new"

// Watching is a Format whose values have schemas that can be looked at.
type Watching interface {
	Format
	// PlanWatched is Plan with a judge, who is shown each schema once, or a few times, when it is met first, in any goroutine.
	PlanWatched(paths []string, judge func(*Shape) int64) (Plan, error)
}
