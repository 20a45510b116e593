// Package protobuf reads Protobuf messages: the values at the wanted paths straight from the bytes, by a plan that it makes of the
// schema, which is the text of a .proto file as registries have it.
//
// What is no field of the schema is absent, and what is not set and has presence is null; what has none has its default. What no
// path wants is jumped over.
package protobuf

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/schemaid"
)

// Options say how messages are found.
type Options struct {
	// Key says that these are the keys of records, whose schema has headers of its own.
	Key bool
	// Message is the name of the message, full or short. "" is the one that a record names, and in a schema of one's own
	// its only one.
	Message string
	// Schema is the schema of records that are a message and nothing else; nil is the one that a record names.
	Schema *event.Schema
	// Ref is the same of a schema that a registry has.
	Ref event.SchemaRef
	// Placeholder is what stands in place of values that are unavailable, nil if nothing does.
	Placeholder *connect.Placeholder
}

// Format is the format of Protobuf messages.
type Format struct{ options Options }

// New returns the format of messages that are found by the options.
func New(options Options) event.Format { return Format{options} }

// Plan compiles paths. They name fields as the schema does, or as JSON does where this is no other field's name.
func (f Format) Plan(paths []string) (event.Plan, error) { return f.PlanWatched(paths, nil) }

// PlanWatched compiles paths, of which one may ask for what a judge has said of the message.
func (f Format) PlanWatched(paths []string, judge func(*event.Shape) int64) (event.Plan, error) {
	p := &plan{options: f.options, n: len(paths), limit: maxJSON, judge: judge}
	for i, path := range paths {
		at := &p.root
		switch path {
		case "":
		case event.SchemaName:
			p.named = append(p.named, int32(i))
			continue
		case event.NewFields:
			p.judged = append(p.judged, int32(i))
			continue
		default:
			names, err := fields.Split(path)
			if err != nil {
				return nil, fmt.Errorf("parse path %q: %w", path, err)
			}
			for _, name := range names {
				at = at.child(name)
			}
		}
		at.wants = append(at.wants, int32(i))
	}
	p.scratches.New = func() any { return new(scratch) }
	p.schemas.Store(&map[schemaid.ID]*schema{})
	var err error
	switch o := f.options; {
	case o.Schema != nil:
		if p.own, err = p.compile(*o.Schema); err != nil {
			return nil, fmt.Errorf("use the schema that is given: %w", err)
		}
	case o.Ref != event.SchemaRef{}:
		if p.bare, err = schemaid.Of(o.Ref); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// plan reads the paths it was compiled from.
type plan struct {
	options   Options
	n         int
	limit     int // maxJSON, but for tests
	root      node
	named     []int32 // paths that want the message's name
	judge     func(*event.Shape) int64
	judged    []int32     // paths that want what the judge says
	own       *schema     // of all records, if not nil
	bare      schemaid.ID // of all records, if it is one
	scratches sync.Pool
	mu        sync.Mutex
	schemas   atomic.Pointer[map[schemaid.ID]*schema] // the map is never written to
}

// schema is a schema that was learnt.
type schema struct {
	called   string // in what is said of a record
	types    types  // guarded by the plan's lock
	pinned   *top
	messages atomic.Pointer[map[string]*top] // by what records name them with; the map is never written to
}

// top is the message that a record is.
type top struct {
	*message
	name    string
	initial []event.Value
	whole   *jsonMessage // nil if nobody wants it
	wants   []int32      // the paths that want it
}

// Read fills the values.
func (p *plan) Read(doc []byte, headers event.Headers, values []event.Value, arena *[]byte) error {
	s, m, payload, err := p.find(doc, headers)
	if err == nil {
		if err = p.read(m, payload, values, arena); err == nil {
			return nil
		}
	}
	refusal, ok := err.(*event.Refusal)
	if !ok || s == nil {
		return err
	}
	what := "read Protobuf"
	if m != nil {
		what += " " + m.name
	}
	return &event.Refusal{Code: refusal.Code, Message: what + s.called + ": " + refusal.Message, Plain: refusal.Plain}
}

// find finds a record's schema, its message, and where this begins.
func (p *plan) find(doc []byte, headers event.Headers) (s *schema, m *top, payload []byte, err error) {
	if p.own != nil {
		return p.own, p.own.pinned, doc, nil
	}
	if p.bare != (schemaid.ID{}) {
		if s = (*p.schemas.Load())[p.bare]; s == nil {
			return nil, nil, nil, &event.UnknownSchema{Ref: p.bare.Ref()}
		}
		return s, s.pinned, doc, nil
	}
	id, body, rest, inHeader, err := schemaid.Cut(doc, headers, p.options.Key)
	if err != nil {
		return nil, nil, nil, err
	}
	if s = (*p.schemas.Load())[id]; s == nil {
		return nil, nil, nil, &event.UnknownSchema{Ref: id.Ref()}
	}
	if inHeader {
		m, err = p.inHeader(s, rest, headers)
		return s, m, body, err
	}
	m, payload, err = p.before(s, body)
	return s, m, payload, err
}

func (p *plan) read(m *top, payload []byte, values []event.Value, arena *[]byte) error {
	sc := p.scratches.Get().(*scratch)
	sc.limit = p.limit
	err := sc.top(m, payload, values, arena)
	sc.release()
	p.scratches.Put(sc)
	if p.options.Placeholder != nil {
		for i := range values {
			if p.options.Placeholder.Is(&values[i]) {
				values[i] = event.Value{Kind: event.Unavailable}
			}
		}
	}
	return err
}

// top reads the message that a record is.
func (s *scratch) top(m *top, payload []byte, values []event.Value, arena *[]byte) error {
	copy(values, m.initial)
	s.values, s.arena, s.start = values, arena, len(*arena)
	err := s.read(m.message, payload, 0, 1)
	if err != nil || m.whole == nil {
		return err
	}
	start := len(*arena)
	if err = s.json(m.whole, payload, 0, 1); err != nil {
		return err
	}
	v := fields.Document((*arena)[start:len(*arena):len(*arena)])
	for _, path := range m.wants {
		values[path] = v
	}
	return nil
}

// Learn compiles a schema.
func (p *plan) Learn(ref event.SchemaRef, text event.Schema) error {
	id, err := schemaid.Of(ref)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if (*p.schemas.Load())[id] != nil {
		return nil
	}
	s, err := p.compile(text)
	if err != nil {
		return err
	}
	s.called = " (schema " + ref.String() + ")"
	known := maps.Clone(*p.schemas.Load())
	known[id] = s
	p.schemas.Store(&known)
	return nil
}

func (p *plan) compile(text event.Schema) (*schema, error) {
	file, err := compile(text)
	if err != nil {
		return nil, err
	}
	s := &schema{types: types{file: file, known: map[protoreflect.FullName]*jsonMessage{}}}
	s.messages.Store(&map[string]*top{})
	var md protoreflect.MessageDescriptor
	switch name := p.options.Message; {
	case name != "":
		md, err = byName(file, name)
	case p.options.Schema != nil || p.bare != (schemaid.ID{}): // records don't name it
		if md = byIndexes(file, []int{0}); md == nil {
			err = errors.New("the schema has no message")
		} else if byIndexes(file, []int{1}) != nil {
			err = errors.New("the schema has several messages, and records don't say which one they are: name the message for the topic")
		}
	default:
		return s, nil
	}
	if err == nil {
		s.pinned, err = p.top(s, md)
	}
	return s, err
}
