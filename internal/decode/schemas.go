package decode

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/sink"
)

// SchemaOf is a schema that a topic's records refer to, in their values or in their keys.
type SchemaOf struct {
	Topic string
	Key   bool
	Ref   event.SchemaRef
}

func (s SchemaOf) String() string {
	what := "values"
	if s.Key {
		what = "keys"
	}
	return fmt.Sprintf("schema %v of the %s of topic %s", s.Ref, what, s.Topic)
}

// MissingSchema asks for a schema that a record can't be read without. Once it is learnt, see [Plan.Learn], the same record
// is read again.
type MissingSchema struct{ SchemaOf }

func (e *MissingSchema) Error() string { return e.String() + " is not known yet" }

// SchemaError says that records can't be read by a schema, whatever they hold: it is no record's fault.
type SchemaError struct {
	SchemaOf
	Err error
}

func (e *SchemaError) Error() string { return fmt.Sprintf("use %v: %v", e.SchemaOf, e.Err) }
func (e *SchemaError) Unwrap() error { return e.Err }

// Schemas are those that were learnt, for all plans of a sink: one that is compiled when a table was altered, or
// one that such a plan has taken over from, finds here what it lacks. It is safe for concurrent use.
type Schemas struct {
	mu    sync.RWMutex
	known map[SchemaOf]event.Schema
	// refused are those that nobody has: what refers to them can't be read.
	refused map[SchemaOf]refused
	// overlooked are new fields, by the table's title and their names, that nothing is done about any more.
	overlooked map[string]map[string]bool
}

// refused is why records are refused, and until when: then it is asked again.
type refused struct {
	why   *event.Refusal
	until time.Time
}

// refusedFor is how long nobody is asked again for a schema that nobody has.
const refusedFor = 30 * time.Second

// maxRefused bounds how many are remembered.
const maxRefused = 10_000

// Refuse says that nobody has a schema: records that refer to it are to blame, for a while.
func (s *Schemas) Refuse(of SchemaOf, why *event.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil || len(s.refused) >= maxRefused {
		s.refused = map[SchemaOf]refused{}
	}
	s.refused[of] = refused{why, time.Now().Add(refusedFor)}
}

// refusal is why a schema's records are refused, nil if they aren't.
func (s *Schemas) refusal(of SchemaOf) *event.Refusal {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r, ok := s.refused[of]; ok && time.Now().Before(r.until) {
		return r.why
	}
	return nil
}

// Any reports whether any schema of a topic's values, or keys, was learnt.
func (s *Schemas) Any(topic string, key bool) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for of := range s.known {
		if of.Topic == topic && of.Key == key {
			return true
		}
	}
	return false
}

func (s *Schemas) add(of SchemaOf, schema event.Schema) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[SchemaOf]event.Schema{}
	}
	s.known[of] = schema
}

func (s *Schemas) get(of SchemaOf) (event.Schema, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	schema, ok := s.known[of]
	return schema, ok
}

// Learn takes a schema that Add or Redecode asked for; a second time it changes nothing. An error is a *[SchemaError].
func (dp *Plan) Learn(of SchemaOf, schema event.Schema) error {
	if d := dp.Decoders[of.Topic]; d != nil {
		r := &d.values
		if of.Key {
			r = &d.keys
		}
		if err := r.plan.Learn(of.Ref, schema); err != nil {
			return &SchemaError{of, err}
		}
	}
	dp.schemas.add(of, schema)
	return nil
}

// reader reads what records of a topic have as their values, or as their keys.
type reader struct {
	topic   string
	key     bool
	plan    event.Plan
	schemas *Schemas
}

// again reads what could not be read, because of err. What the plan lacks and another one has learnt it learns. The error is a
// *[MissingSchema] or a *[SchemaError].
func (r *reader) again(err error, doc []byte, rec *sink.Record, values []event.Value, arena *[]byte) (*pgtext.Refusal, error) {
	var learnt event.SchemaRef
	for {
		var unknown *event.UnknownSchema
		if !errors.As(err, &unknown) {
			return pgtext.RefusalOf(err), nil
		}
		of := SchemaOf{r.topic, r.key, unknown.Ref}
		schema, ok := r.schemas.get(of)
		switch {
		case !ok:
			if r := r.schemas.refusal(of); r != nil {
				return pgtext.RefusalOf(r), nil
			}
			return nil, &MissingSchema{of}
		case of.Ref == learnt:
			return nil, &SchemaError{of, errors.New("it was learnt, and is asked for again")}
		}
		if err = r.plan.Learn(of.Ref, schema); err != nil {
			return nil, &SchemaError{of, err}
		}
		learnt = of.Ref
		if err = r.plan.Read(doc, (*headers)(rec), values, arena); err == nil {
			return nil, nil
		}
	}
}

// headers are a record's, as formats see them: a pointer, so that nothing is allocated for it.
type headers sink.Record

func (h *headers) Header(name string) (value []byte, ok bool) {
	return lastHeader((*sink.Record)(h), name)
}

// lastHeader returns the value of the last header of a name.
func lastHeader(r *sink.Record, name string) (value []byte, ok bool) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == name {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}
