package connect

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// JSON is the format of JSON documents, with or without the schema that Kafka Connect's JsonConverter writes into each:
// {"schema": ..., "payload": ...}. Which it is each document says. Paths lead into the payload, and values are what their
// schemas say; without a schema they are those of [fields.JSON]. Where the payload is null, the path "" is null, and
// all others are absent. The five bytes before a document that a serializer of JSON Schema writes are skipped.
type JSON struct {
	// Placeholder is what stands in place of values that are unavailable, nil if nothing does.
	Placeholder *Placeholder
}

// Plan compiles paths, as [fields.JSON] does.
func (f JSON) Plan(paths []string) (event.Plan, error) { return f.PlanWatched(paths, nil) }

// PlanWatched compiles paths, of which one may ask for what a judge has said of the schema; of a document without one it is the document.
func (f JSON) PlanWatched(paths []string, judge func(*event.Shape) int64) (event.Plan, error) {
	judged := slices.Index(paths, event.NewFields)
	if judged >= 0 {
		paths = slices.Clone(paths)
		paths[judged] = event.SchemaName // which no document has
	}
	set, err := fields.JSON{}.Plan(paths)
	if err != nil {
		return nil, err
	}
	outer, err := fields.JSON{}.Plan(around)
	if err != nil {
		return nil, err
	}
	p := &plan{paths: slices.Clone(paths), names: make([][]string, len(paths)), set: set, outer: outer, placeholder: f.Placeholder, judge: judge, judged: judged}
	for i, path := range paths {
		if path != "" {
			p.names[i], _ = fields.Split(path) // the set has split it, too
		}
	}
	p.schemas.Store(&[]*compiled{})
	return p, nil
}

// around are the paths of what stands around a payload, and of all.
var around = []string{"schema", "payload", ""} // it never changes

type plan struct {
	paths       []string
	names       [][]string // of the paths
	set, outer  event.Plan // of the paths; of the envelope
	placeholder *Placeholder
	judge       func(*event.Shape) int64 // of schemas; nil if nobody asks
	judged      int                      // the path that asks
	// schemas are those of the last records, the newest last. What it points to never changes.
	schemas atomic.Pointer[[]*compiled]
}

// compiled is a schema, and what it says of the values at the paths; nil where values are left as they are.
type compiled struct {
	text []byte
	at   []*schema
	// verdict is the judge's of the schema.
	verdict int64
}

// How many schemas a plan keeps, and how long they are: nearly always there is one to a topic, or one to a table.
const (
	maxSchemas    = 32
	maxSchemaText = 1 << 20
)

// opening and then stand around the schema, as JsonConverter writes it.
const (
	opening = `{"schema":`
	then    = `,"payload":`
)

// framing is how long a magic byte and the id of a schema are.
const framing = 5

func (p *plan) Read(doc []byte, headers event.Headers, values []event.Value, arena *[]byte) error {
	if len(doc) > framing && doc[0] == 0 {
		doc = doc[framing:]
	}
	if c, payload := p.known(doc); c != nil && p.set.Read(payload, headers, values, arena) == nil {
		return p.finish(c, values, arena)
	}
	if mayHaveSchema(doc) {
		if c, payload := p.apart(doc); c != nil {
			if err := p.set.Read(payload, headers, values, arena); err != nil {
				return err
			}
			if err := p.finish(c, values, arena); err != nil {
				return err
			}
			if p.judge != nil && c.text == nil { // it says that there is none
				values[p.judged] = fields.Document(payload)
			}
			return nil
		}
	}
	if err := p.set.Read(doc, headers, values, arena); err != nil {
		return err
	}
	p.withheld(values)
	if p.judge != nil {
		values[p.judged] = fields.Document(doc)
	}
	return nil
}

// known finds the schema of a document that begins with one of the last: its bytes are the same in record after record. Where
// the rest is no payload alone, reading that fails.
func (p *plan) known(doc []byte) (c *compiled, payload []byte) {
	if !bytes.HasPrefix(doc, []byte(opening)) {
		return nil, nil
	}
	rest := doc[len(opening):]
	all := *p.schemas.Load()
	for i := len(all) - 1; i >= 0; i-- {
		c, n := all[i], len(all[i].text)
		if len(rest) <= n+len(then) || string(rest[n:n+len(then)]) != then || !bytes.Equal(rest[:n], c.text) {
			continue
		}
		end := len(rest)
		for end > 0 && isSpace(rest[end-1]) {
			end--
		}
		if rest[end-1] != '}' {
			return nil, nil
		}
		return c, rest[n+len(then) : end-1]
	}
	return nil, nil
}

func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

// mayHaveSchema reports whether the first name of an object is schema or payload.
func mayHaveSchema(doc []byte) bool {
	i := skip(doc, 0)
	if i == len(doc) || doc[i] != '{' {
		return false
	}
	rest := doc[skip(doc, i+1):]
	return bytes.HasPrefix(rest, []byte(`"schema"`)) || bytes.HasPrefix(rest, []byte(`"payload"`))
}

func skip(doc []byte, i int) int {
	for i < len(doc) && isSpace(doc[i]) {
		i++
	}
	return i
}

// apart takes a document apart that no schema is known of. It is nil if the document is not a schema and a payload.
func (p *plan) apart(doc []byte) (c *compiled, payload []byte) {
	text, payload := cut(p.outer, doc)
	switch text.Kind {
	case event.Null:
		return p.compile(nil, nil), payload
	case event.Object:
		return p.learn(text.Raw), payload
	}
	return nil, nil
}

// cut returns what stands at schema, absent if the document is not a schema and a payload.
func cut(outer event.Plan, doc []byte) (text event.Value, payload []byte) {
	values := make([]event.Value, 3)
	if outer.Read(doc, nil, values, nil) != nil {
		return event.Value{}, nil // and so it is without one
	}
	members := 0
	for range fields.Members(values[2].Raw) {
		members++
	}
	if members != 2 || values[1].Kind == event.Absent {
		return event.Value{}, nil
	}
	return values[0], values[1].Raw
}

// Apart takes a document apart as [JSON] does: into its payload and the schema, which is nil if the document says null or has
// none. Without a schema beside it the payload is the document, but for the five bytes before one. It is not ok
// if plain JSON is not read so: paths of columns lead elsewhere then.
func Apart(doc []byte) (payload []byte, schema *Written, ok bool) {
	if len(doc) > framing && doc[0] == 0 {
		payload, schema, _ = Apart(doc[framing:])
		return payload, schema, true
	}
	outer, err := fields.JSON{}.Plan(around)
	if err != nil || !mayHaveSchema(doc) {
		return doc, nil, false
	}
	text, payload := cut(outer, doc)
	switch text.Kind {
	case event.Null:
		return payload, nil, true
	case event.Object:
		schema = new(Written)
		if json.Unmarshal(text.Raw, schema) == nil && schema.schema() != nil {
			return payload, schema, true
		}
	}
	return doc, nil, false
}

// learn compiles a schema and keeps it, instead of the oldest one if there are many. It is nil if the text is no schema.
func (p *plan) learn(text []byte) *compiled {
	if c := find(*p.schemas.Load(), text); c != nil {
		return c
	}
	s := parse(text)
	if s == nil {
		return nil
	}
	c := p.compile(bytes.Clone(text), s)
	if len(text) > maxSchemaText {
		return c
	}
	for {
		old := p.schemas.Load()
		list := *old
		if other := find(list, text); other != nil {
			return other
		}
		if len(list) == maxSchemas {
			list = list[1:]
		}
		list = append(slices.Clip(list), c)
		if p.schemas.CompareAndSwap(old, &list) {
			return c
		}
	}
}

func find(list []*compiled, text []byte) *compiled {
	for _, c := range list {
		if bytes.Equal(c.text, text) {
			return c
		}
	}
	return nil
}

func (p *plan) compile(text []byte, s *schema) *compiled {
	c := &compiled{text: text, at: make([]*schema, len(p.names))}
	if s == nil {
		return c
	}
	if p.judge != nil {
		var w Written
		_ = json.Unmarshal(text, &w) // as it was parsed
		c.verdict = p.judge(w.Shape())
	}
	for i, names := range p.names {
		if at := s.at(names); !at.same() {
			c.at[i] = at
		}
	}
	return c
}

// finish makes of values what their schemas say.
func (p *plan) finish(c *compiled, values []event.Value, arena *[]byte) error {
	p.withheld(values)
	for i, s := range c.at {
		v := &values[i]
		if s == nil || v.Kind == event.Unavailable {
			continue
		}
		if err := s.value(v, p.placeholder, arena); err != nil {
			var r *event.Refusal
			if !errors.As(err, &r) {
				return err
			}
			where := "the payload"
			if p.paths[i] != "" {
				where = "field " + p.paths[i]
			}
			return &event.Refusal{Code: r.Code, Message: where + ": " + r.Message, Plain: r.Plain}
		}
	}
	if p.judge != nil {
		values[p.judged] = event.Value{Kind: event.Int, N: c.verdict}
	}
	return nil
}

// withheld marks what stands in place of values that are unavailable.
func (p *plan) withheld(values []event.Value) {
	if p.placeholder == nil {
		return
	}
	for i := range values {
		if p.placeholder.Is(&values[i]) {
			values[i] = event.Value{Kind: event.Unavailable}
		}
	}
}

// Learn refuses: the schemas stand in the documents.
func (p *plan) Learn(event.SchemaRef, event.Schema) error {
	return errors.New("JSON is read without a schema")
}
