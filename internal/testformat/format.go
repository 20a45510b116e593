// Package testformat has a format for tests: one that has types, withholds values and needs schemas, as JSON does not.
package testformat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// Format reads records that are the id of their schema in four bytes, and then for each field of the schema a byte, = for a
// value, 0 for null or ? for a value that is withheld, and after = the length of the value in one byte, and the value. A
// schema is a list such as "id:int note:text". The id may be in header schema instead. See [Record].
type Format struct{}

// Formats are those of a topic whose values and keys are of [Format].
func Formats(string) (values, keys event.Format) { return Format{}, Format{} }

// Ref refers to the schema of an id.
func Ref(id int) event.SchemaRef { return event.SchemaRef{Space: "id", ID: fmt.Sprint(id)} }

// Record is a record of the schema of an id, with what [Value] made of a value, [Null] or [Withheld] for each field.
func Record(id int, fields ...string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(id)), strings.Join(fields, "")...)
}

// Fields of a record.
const (
	Null     = "0"
	Withheld = "?"
)

// Value is a field that has a value.
func Value(v string) string { return "=" + string([]byte{byte(len(v))}) + v }

// Int is a field that has a number.
func Int(n int64) string { return Value(string(binary.BigEndian.AppendUint64(nil, uint64(n)))) }

// Plan compiles paths.
func (Format) Plan(paths []string) (event.Plan, error) {
	p := &plan{paths: make([][]string, len(paths))}
	for i, path := range paths {
		var err error
		if path == "" {
			return nil, errors.New("records have no value as a whole")
		}
		if p.paths[i], err = fields.Split(path); err != nil {
			return nil, err
		}
	}
	p.known.Store(&map[uint32][]field{})
	return p, nil
}

type plan struct {
	paths [][]string
	learn sync.Mutex
	known atomic.Pointer[map[uint32][]field] // never written to
}

// field is a field of a schema, and the paths that it fills: whole, or an element x or y of a point.
type field struct {
	typ  string
	want map[string][]int // by element; "" is the field as a whole
}

func (p *plan) Learn(ref event.SchemaRef, schema event.Schema) error {
	var id uint32
	if _, err := fmt.Sscan(ref.ID, &id); err != nil || ref.Space != "id" {
		return fmt.Errorf("no schema has the reference %v", ref)
	}
	var list []field
	for text := range strings.FieldsSeq(schema.Text) {
		name, typ, ok := strings.Cut(text, ":")
		if !ok {
			return fmt.Errorf("read schema %v: %q is no field", ref, text)
		}
		f := field{typ, map[string][]int{}}
		for i, path := range p.paths {
			if path[0] == name {
				f.want[strings.Join(path[1:], ".")] = append(f.want[strings.Join(path[1:], ".")], i)
			}
		}
		list = append(list, f)
	}
	p.learn.Lock()
	defer p.learn.Unlock()
	known := maps.Clone(*p.known.Load())
	known[id] = list
	p.known.Store(&known)
	return nil
}

func (p *plan) Read(doc []byte, headers event.Headers, values []event.Value, arena *[]byte) error {
	cut := &event.Refusal{Code: "ONS21", Message: "the record ends too early"}
	id, ok := headers.Header("schema")
	if !ok {
		if len(doc) < 4 {
			return cut
		}
		id, doc = doc[:4], doc[4:]
	}
	schema, ok := (*p.known.Load())[binary.BigEndian.Uint32(id)]
	if !ok {
		return &event.UnknownSchema{Ref: event.SchemaRef{Space: "id", ID: fmt.Sprint(binary.BigEndian.Uint32(id))}}
	}
	clear(values)
	for _, f := range schema {
		if len(doc) == 0 {
			return cut
		}
		state := doc[0]
		doc = doc[1:]
		var whole event.Value
		switch state {
		case '0':
			whole.Kind = event.Null
		case '?':
			whole.Kind = event.Unavailable
		case '=':
			if len(doc) == 0 || len(doc)-1 < int(doc[0]) {
				return cut
			}
			raw := doc[1 : 1+int(doc[0])]
			doc = doc[1+len(raw):]
			if f.typ == "point" { // two bytes
				x, y := event.Value{Kind: event.Int, N: int64(raw[0])}, event.Value{Kind: event.Int, N: int64(raw[1])}
				for _, i := range f.want["x"] {
					values[i] = x
				}
				for _, i := range f.want["y"] {
					values[i] = y
				}
				if len(f.want[""]) > 0 {
					start := len(*arena)
					*arena = append(*arena, `{"x":`...)
					*arena, _ = x.AppendJSON(*arena)
					*arena = append(*arena, `,"y":`...)
					*arena, _ = y.AppendJSON(*arena)
					*arena = append(*arena, '}')
					whole = event.Value{Kind: event.Object, Raw: (*arena)[start:len(*arena):len(*arena)]}
				}
				break
			}
			whole = value(f.typ, raw)
		default:
			return &event.Refusal{Code: "ONS21", Message: fmt.Sprintf("a field that begins with %q", state)}
		}
		for _, i := range f.want[""] {
			values[i] = whole
		}
	}
	return nil
}

// value reads a scalar of up to eight bytes, or of any number.
func value(typ string, raw []byte) event.Value {
	eight := make([]byte, 8)
	copy(eight[max(8-len(raw), 0):], raw)
	n := int64(binary.BigEndian.Uint64(eight))
	switch typ {
	case "int":
		return event.Value{Kind: event.Int, N: n}
	case "text":
		return event.Value{Kind: event.Text, Raw: raw}
	case "bytes":
		return event.Value{Kind: event.Bytes, Raw: raw}
	case "cents":
		return event.Value{Kind: event.Decimal, Scale: 2, Raw: raw}
	case "millis":
		return event.Value{Kind: event.TimestampTZ, Scale: 3, N: n}
	case "day":
		return event.Value{Kind: event.Date, N: n}
	case "forever":
		return event.Value{Kind: event.Infinity, N: 1}
	case "list":
		return event.Value{Kind: event.Array, Raw: raw}
	}
	panic("no type " + typ)
}
