package avro

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/twmb/avro"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
)

// kind is how a value is written.
type kind uint8

const (
	null kind = iota
	boolean
	integer // 32 bits
	long
	float
	double
	text
	octets
	fixed
	enum
	record
	array
	mapping
	union
)

var kinds = map[string]kind{ // it never changes
	"null": null, "boolean": boolean, "int": integer, "long": long, "float": float, "double": double, "string": text, "bytes": octets,
	"fixed": fixed, "enum": enum, "record": record, "error": record, "array": array, "map": mapping, "union": union,
}

// typ is a type of a schema. It is immutable once it is built, and may lead back to itself.
type typ struct {
	kind kind
	// as and scale are what a scalar becomes.
	as    event.Kind
	scale int32
	size  int    // of a fixed
	name  []byte // full, of what has one
	// means is what Kafka Connect says that the values are, beyond what they are for Avro.
	means connect.Type
	// said is what people call it, and shape what columns may know beyond what values need.
	said     string
	shape    event.Shape
	fields   []field
	symbols  [][]byte
	elements *typ   // of an array or a map
	branches []*typ // of a union
}

// field is a field of a record.
type field struct {
	name   string
	member []byte // its name as JSON has it, with the comma before and the colon behind
	typ    *typ
}

// parse compiles a schema's text, and all that it refers to.
func parse(s *event.Schema) (*typ, error) {
	if s.Type != "" && s.Type != "AVRO" {
		return nil, fmt.Errorf("it is a schema of type %s: it says AVRO for records that are read with `format: avro`", s.Type)
	}
	b := builder{seen: map[string]bool{}, named: map[string]*avro.SchemaNode{}, types: map[string]*typ{}}
	if err := b.references(s); err != nil {
		return nil, err
	}
	root, err := b.add(s.Text)
	if err != nil {
		return nil, fmt.Errorf("read its text: %w", err)
	}
	return b.build(root, "")
}

type builder struct {
	cache avro.SchemaCache
	seen  map[string]bool // texts of references
	named map[string]*avro.SchemaNode
	types map[string]*typ // of named
}

// references reads what a schema refers to, before the schema itself.
func (b *builder) references(s *event.Schema) error {
	for i := range s.References {
		r := &s.References[i]
		if b.seen[r.Schema.Text] {
			continue
		}
		b.seen[r.Schema.Text] = true
		if err := b.references(&r.Schema); err != nil {
			return err
		}
		if _, err := b.add(r.Schema.Text); err != nil {
			return fmt.Errorf("read the schema %s, which it refers to: %w", r.Name, err)
		}
	}
	return nil
}

// add reads one text. Names are not held to Avro's rules: producers in other languages don't keep them either.
func (b *builder) add(text string) (*avro.SchemaNode, error) {
	s, err := b.cache.Parse(text, avro.WithLaxNames(nil))
	if err != nil {
		return nil, err
	}
	root := s.Root()
	b.name(root)
	return root, nil
}

// name finds the definitions below a node.
func (b *builder) name(n *avro.SchemaNode) {
	switch kinds[n.Type] {
	case enum, fixed:
		b.named[fullName(n)] = n
	case record:
		b.named[fullName(n)] = n
		for i := range n.Fields {
			b.name(&n.Fields[i].Type)
		}
	case union:
		for i := range n.Branches {
			b.name(&n.Branches[i])
		}
	case array:
		b.name(n.Items)
	case mapping:
		b.name(n.Values)
	}
}

func fullName(n *avro.SchemaNode) string {
	if n.Namespace == "" || strings.Contains(n.Name, ".") {
		return n.Name
	}
	return n.Namespace + "." + n.Name
}

// refer finds what a name means within a namespace: what is of the same namespace comes first.
func (b *builder) refer(name, namespace string) *avro.SchemaNode {
	if namespace != "" && !strings.Contains(name, ".") {
		if n := b.named[namespace+"."+name]; n != nil {
			return n
		}
	}
	return b.named[name]
}

// build makes the type of a node, which stands within a namespace.
func (b *builder) build(n *avro.SchemaNode, namespace string) (t *typ, err error) {
	k, ok := kinds[n.Type]
	if !ok {
		if n = b.refer(n.Type, namespace); n == nil {
			return nil, errors.New("it refers to a type that nothing defines")
		}
		k = kinds[n.Type]
	}
	t = &typ{kind: k}
	switch k {
	case record, enum, fixed:
		name := fullName(n)
		if known, ok := b.types[name]; ok {
			return known, nil
		}
		t.name = []byte(name)
		namespace = name[:max(strings.LastIndexByte(name, '.'), 0)]
		b.types[name] = t // before its fields, which may lead back to it
	}
	t.scalar(n)
	t.told(n)
	t.connect(n)
	for i := range n.Fields {
		f := field{name: n.Fields[i].Name}
		if f.member, err = jsontext.AppendQuote([]byte(","), f.name); err != nil {
			return nil, fmt.Errorf("a field of %s: %w", t.name, err)
		}
		f.member = append(f.member, ':')
		if f.typ, err = b.build(&n.Fields[i].Type, namespace); err != nil {
			return nil, err
		}
		t.fields = append(t.fields, f)
	}
	for i := range n.Branches {
		branch, err := b.build(&n.Branches[i], namespace)
		if err != nil {
			return nil, err
		}
		t.branches = append(t.branches, branch)
	}
	switch k {
	case array:
		t.elements, err = b.build(n.Items, namespace)
	case mapping:
		t.elements, err = b.build(n.Values, namespace)
	}
	return t, err
}

// scalar says what values of a type become, if they are no containers.
func (t *typ) scalar(n *avro.SchemaNode) {
	t.size = n.Size
	for _, s := range n.Symbols {
		t.symbols = append(t.symbols, []byte(s))
	}
	switch t.kind {
	case null:
		t.as = event.Null
	case boolean:
		t.as = event.Bool
	case integer, long:
		t.as = event.Int
	case float:
		t.as, t.scale = event.Float, 32
	case double:
		t.as, t.scale = event.Float, 64
	case text, enum:
		t.as = event.Text
	case octets, fixed:
		t.as = event.Bytes
	}
	// What logical types don't belong to is what it is without them: Avro's specification says so.
	switch logical := n.LogicalType; {
	case logical == "decimal" && t.as == event.Bytes:
		t.as, t.scale = event.Decimal, int32(n.Scale)
	case logical == "uuid" && t.kind == fixed && t.size == 16:
		t.as = uuid
	case logical == "duration" && t.kind == fixed && t.size == 12:
		t.as = duration
	case logical == "date" && t.kind == integer:
		t.as = event.Date
	case logical == "time-millis" && t.kind == integer:
		t.as, t.scale = event.Time, 3
	case logical == "time-micros" && t.kind == long:
		t.as, t.scale = event.Time, 6
	case t.kind == long:
		kind := event.TimestampTZ
		if local, ok := strings.CutPrefix(logical, "local-"); ok {
			kind, logical = event.Timestamp, local
		}
		if scale, ok := map[string]int32{"timestamp-millis": 3, "timestamp-micros": 6, "timestamp-nanos": 9}[logical]; ok {
			t.as, t.scale = kind, scale
		}
	}
}

// What becomes texts, and is written in another way. They are no kinds that values have.
const (
	uuid event.Kind = iota + 128
	duration
)

// connect says what values mean for Kafka Connect, if it knows more of them. That comes before Avro's logical type, which
// has no wall time, nor nanoseconds in older schemas.
func (t *typ) connect(n *avro.SchemaNode) {
	name, _ := n.Props["connect.name"].(string)
	if name == "" {
		return
	}
	means, ok := connect.TypeOf(name, connectParameters(n))
	if !ok || means.Same() {
		return
	}
	t.means = means
	switch t.kind { // as it is written: what it means is said once
	case integer, long:
		t.as, t.scale = event.Int, 0
	case octets, fixed:
		t.as, t.scale = event.Bytes, 0
	}
}

// connectParameters are those of a type of Kafka Connect's.
func connectParameters(n *avro.SchemaNode) map[string]string {
	given, _ := n.Props["connect.parameters"].(map[string]any)
	parameters := make(map[string]string, len(given))
	for k, v := range given {
		parameters[k] = fmt.Sprint(v)
	}
	return parameters
}

// converted reports whether Kafka Connect says of anything below a type that it means more.
func (t *typ) converted(seen map[*typ]bool) bool {
	if t == nil || seen[t] {
		return false
	}
	seen[t] = true
	if !t.means.Same() || t.elements.converted(seen) {
		return true
	}
	for i := range t.fields {
		if t.fields[i].typ.converted(seen) {
			return true
		}
	}
	return slices.ContainsFunc(t.branches, func(b *typ) bool { return b.converted(seen) })
}
