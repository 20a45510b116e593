// Package avro reads records of Avro, by the schema that each was written with: the bytes become values at once, and
// nothing is built in between. A field that the schema lacks is absent, whatever its default would be for a
// reader: so no other version of a schema can change a row.
package avro

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/schemaid"
)

// Options say how records are framed.
type Options struct {
	// Key: they are records' keys, whose ids are in headers of their own.
	Key bool
	// Schema of all records, which then name none: there is nothing before their bytes.
	Schema *event.Schema
	// Ref is the same of a schema that a registry has.
	Ref event.SchemaRef
	// Placeholder is what stands in place of values that are unavailable, nil if nothing does.
	Placeholder *connect.Placeholder
}

type format struct{ Options }

// New returns the format of Avro's records.
func New(o Options) event.Format { return format{o} }

// Plan compiles paths.
func (f format) Plan(paths []string) (event.Plan, error) { return f.PlanWatched(paths, nil) }

// PlanWatched compiles paths, of which one may ask for what a judge has said of the schema.
func (f format) PlanWatched(paths []string, judge func(*event.Shape) int64) (event.Plan, error) {
	p := &plan{Options: f.Options, judge: judge, judged: slices.Index(paths, event.NewFields)}
	var err error
	if p.tree, p.named, err = grow(paths); err != nil {
		return nil, err
	}
	p.known.Store(&map[schemaid.ID]*program{})
	switch {
	case f.Schema != nil:
		if p.always, err = p.compile(f.Schema); err != nil {
			return nil, fmt.Errorf("use the schema that is given: %w", err)
		}
	case f.Ref != (event.SchemaRef{}):
		if p.bare, err = schemaid.Of(f.Ref); err != nil {
			return nil, err
		}
	}
	return p, nil
}

type plan struct {
	Options
	tree   *tree
	named  []int
	judge  func(*event.Shape) int64 // of schemas; nil if nobody asks
	judged int                      // the path that asks
	always *program                 // of all records, if not nil
	bare   schemaid.ID              // of all records, if it is one
	learn  sync.Mutex
	known  atomic.Pointer[map[schemaid.ID]*program] // never written to
}

func (p *plan) compile(s *event.Schema) (*program, error) {
	t, err := parse(s)
	if err != nil {
		return nil, err
	}
	g := &program{typ: t, root: placer{}.place(t, p.tree), named: p.named}
	if p.judge != nil {
		g.verdict = p.judge(shaper{}.shape(t))
	}
	return g, nil
}

func (p *plan) Learn(ref event.SchemaRef, schema event.Schema) error {
	id, err := schemaid.Of(ref)
	if err != nil {
		return err
	}
	if (*p.known.Load())[id] != nil {
		return nil
	}
	g, err := p.compile(&schema)
	if err != nil {
		return err
	}
	p.learn.Lock()
	defer p.learn.Unlock()
	known := maps.Clone(*p.known.Load())
	known[id] = g
	p.known.Store(&known)
	return nil
}

func (p *plan) Read(doc []byte, headers event.Headers, values []event.Value, arena *[]byte) error {
	clear(values)
	g, id, payload := p.always, p.bare, doc
	if g == nil {
		if id == (schemaid.ID{}) {
			var err error
			if id, payload, _, _, err = schemaid.Cut(doc, headers, p.Key); err != nil {
				return err
			}
		}
		if g = (*p.known.Load())[id]; g == nil {
			return &event.UnknownSchema{Ref: id.Ref()}
		}
	}
	r := reader{doc: payload, values: values, arena: arena, placeholder: p.Placeholder, budget: freeBudget + len(payload), began: len(*arena)}
	if r.all(g) {
		if p.judge != nil {
			values[p.judged] = event.Value{Kind: event.Int, N: g.verdict}
		}
		return nil
	}
	if g != p.always {
		r.where += " (schema " + id.Ref().String() + ")"
	}
	var refusal *event.Refusal
	if !errors.As(r.why, &refusal) {
		return &event.Refusal{Code: malformed, Message: fmt.Sprintf("read Avro%s: %v", r.where, r.why)}
	}
	return &event.Refusal{Code: refusal.Code, Message: "read Avro" + r.where + ": " + refusal.Message, Plain: refusal.Plain}
}
