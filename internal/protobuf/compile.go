package protobuf

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// numbers finds fields by their numbers.
type numbers struct {
	few  []int16 // by number, -1 where no field is
	many map[protowire.Number]int
}

const fewNumbers = 128

func (n *numbers) add(num protowire.Number, i int) {
	if num >= fewNumbers || i > 1<<15-1 {
		if n.many == nil {
			n.many = map[protowire.Number]int{}
		}
		n.many[num] = i
		return
	}
	for int(num) >= len(n.few) {
		n.few = append(n.few, -1)
	}
	n.few[num] = int16(i)
}

func (n *numbers) find(num protowire.Number) int {
	if int(num) < len(n.few) {
		if i := n.few[num]; i >= 0 || n.many == nil {
			return int(i)
		}
	}
	if n.many == nil {
		return -1
	}
	if i, ok := n.many[num]; ok {
		return i
	}
	return -1
}

// node is a place in a document that a path names or leads through.
type node struct {
	wants    []int32 // paths that end here
	names    []string
	children []*node // by names
}

func (n *node) child(name string) *node {
	if i := slices.Index(n.names, name); i >= 0 {
		return n.children[i]
	}
	child := &node{}
	n.names, n.children = append(n.names, name), append(n.children, child)
	return child
}

// merge adds what another node wants.
func (n *node) merge(o *node) {
	n.wants = append(n.wants, o.wants...)
	for i, name := range o.names {
		n.child(name).merge(o.children[i])
	}
}

// inner appends the paths below a node, and which paths want them.
func (n *node) inner(prefix string, paths []string, wants [][]int32) ([]string, [][]int32) {
	for i, name := range n.names {
		path, child := prefix+fields.Escape(name), n.children[i]
		if len(child.wants) > 0 {
			paths, wants = append(paths, path), append(wants, child.wants)
		}
		paths, wants = child.inner(path+".", paths, wants)
	}
	return paths, wants
}

// types compiles the types of a schema. It is not safe for concurrent use, but what it has compiled is.
type types struct {
	file  protoreflect.FileDescriptor
	known map[protoreflect.FullName]*jsonMessage
	any   map[protoreflect.FullName]*jsonMessage // all there are, once an Any was seen
}

// message compiles a type at a place.
func (c *types) message(md protoreflect.MessageDescriptor, n *node) (*message, error) {
	m := &message{}
	places := map[protowire.Number]*node{} // a field may go by two names
	for i, name := range n.names {
		fd := fieldOf(md, name)
		if fd == nil {
			continue // it is absent
		}
		if places[fd.Number()] == nil {
			places[fd.Number()] = &node{}
		}
		places[fd.Number()].merge(n.children[i])
	}
	oneofs := map[int]int{}
	for i := range md.Fields().Len() {
		if fd := md.Fields().Get(i); places[fd.Number()] != nil && oneofOf(fd) >= 0 {
			if _, ok := oneofs[oneofOf(fd)]; !ok {
				oneofs[oneofOf(fd)] = len(oneofs)
			}
		}
	}
	m.oneofs = len(oneofs)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		place := places[fd.Number()]
		oneof, ok := oneofs[oneofOf(fd)]
		if !ok {
			oneof = -1
			if place == nil {
				continue
			}
		}
		if place == nil {
			place = &node{}
		}
		f, err := c.field(m, fd, place)
		if err != nil {
			return nil, err
		}
		f.oneof = oneof
		m.byNum.add(fd.Number(), len(m.fields))
		m.fields = append(m.fields, f)
	}
	return m, nil
}

// fieldOf finds a field by its name, or by that which it has in JSON.
func fieldOf(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByName(protoreflect.Name(name)); fd != nil {
		return fd
	}
	return md.Fields().ByJSONName(name)
}

// oneofOf is the index of the oneof that a field is a member of, or -1.
func oneofOf(fd protoreflect.FieldDescriptor) int {
	if of := fd.ContainingOneof(); of != nil && !of.IsSynthetic() {
		return of.Index()
	}
	return -1
}

// field compiles a field of a message that is being compiled.
func (c *types) field(m *message, fd protoreflect.FieldDescriptor, n *node) (field, error) {
	whole := c.jsonField(fd)
	f := field{shape: whole.shape, wire: whole.wire, scalar: whole.scalar, chain: -1, wants: n.wants, mismatch: whole.mismatch}
	if whole.shape == mapped {
		f.scalar = nil
	}
	m.preset(&m.unset, n.wants, event.Value{Kind: event.Null})
	m.preset(&m.set, n.wants, whole.zero(fd))
	if f.shape == single && f.scalar != nil || len(n.wants) == 0 && (len(n.names) == 0 || f.shape == repeated) {
		return f, nil // a path through it is absent
	}
	f.chain = m.chains
	m.chains++
	inJSON := f.shape == mapped || f.shape == single && whole.message.is.isJSON()
	if len(n.wants) > 0 || inJSON {
		f.whole = &whole
	}
	switch {
	case len(n.names) == 0 || f.shape == repeated:
		return f, nil
	case inJSON:
		var paths []string
		var err error
		paths, f.inWants = n.inner("", nil, nil)
		f.inner, err = fields.New(paths)
		return f, err
	}
	var err error
	if f.through, err = c.message(fd.Message(), n); err != nil {
		return f, err
	}
	m.unset = append(m.unset, f.through.unset...)
	m.set = append(m.set, f.through.unset...)
	return f, nil
}

func (m *message) preset(to *[]preset, paths []int32, v event.Value) {
	for _, path := range paths {
		*to = append(*to, preset{path, v})
	}
}

// zero is the value of a field that is not there, in a message that is.
func (f *jsonField) zero(fd protoreflect.FieldDescriptor) event.Value {
	switch {
	case f.shape == repeated:
		return event.Value{Kind: event.Array, Raw: f.unset}
	case f.shape == mapped:
		return event.Value{Kind: event.Object, Raw: f.unset}
	case fd.HasPresence():
		return event.Value{Kind: event.Null}
	}
	return f.scalar.zero()
}

// json compiles a type as JSON. Types may lead to themselves.
func (c *types) json(md protoreflect.MessageDescriptor) *jsonMessage {
	if m := c.known[md.FullName()]; m != nil {
		return m
	}
	m := &jsonMessage{is: wellKnownOf(md)}
	c.known[md.FullName()] = m
	oneofs := map[int]int{}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		f := c.jsonField(fd)
		if of := oneofOf(fd); of >= 0 {
			if _, ok := oneofs[of]; !ok {
				oneofs[of] = len(oneofs)
			}
			f.oneof = oneofs[of]
		}
		m.byNum.add(fd.Number(), i)
		m.fields = append(m.fields, f)
	}
	m.oneofs = len(oneofs)
	if m.is == anyMessage {
		m.types = c.all()
	}
	return m
}

func (c *types) jsonField(fd protoreflect.FieldDescriptor) jsonField {
	f := jsonField{wire: wireOf(fd.Kind()), oneof: -1, name: []byte(`"` + string(fd.Name()) + `":`), mismatch: mismatch(fd.Name())}
	of := fd
	switch {
	case fd.IsMap():
		f.shape, f.key, of, f.unset = mapped, scalarOf(fd.MapKey()), fd.MapValue(), []byte("{}")
	case fd.IsList():
		f.shape, f.unset = repeated, []byte("[]")
	case fd.HasPresence():
		f.unset = []byte("null")
	}
	if of.Message() != nil {
		f.message = c.json(of.Message())
		return f
	}
	f.scalar = scalarOf(of)
	if f.unset == nil {
		f.unset, _ = f.scalar.zero().AppendJSON(nil) // a zero has JSON
	}
	return f
}

// all are the types that an Any may be of: those of the file, and of what it imports.
func (c *types) all() map[protoreflect.FullName]*jsonMessage {
	if c.any != nil {
		return c.any
	}
	c.any = map[protoreflect.FullName]*jsonMessage{}
	files := map[string]bool{}
	var messages func(mds protoreflect.MessageDescriptors)
	messages = func(mds protoreflect.MessageDescriptors) {
		for i := range mds.Len() {
			if md := mds.Get(i); !md.IsMapEntry() {
				c.any[md.FullName()] = c.json(md)
				messages(md.Messages())
			}
		}
	}
	var file func(fd protoreflect.FileDescriptor)
	file = func(fd protoreflect.FileDescriptor) {
		if files[fd.Path()] {
			return
		}
		files[fd.Path()] = true
		messages(fd.Messages())
		for i := range fd.Imports().Len() {
			file(fd.Imports().Get(i).FileDescriptor)
		}
	}
	file(c.file)
	return c.any
}
