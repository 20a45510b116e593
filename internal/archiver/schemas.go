package archiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/schemaid"
)

// Schemas puts beside the records of an archive the schemas that they only name. It is safe for concurrent use.
type Schemas struct {
	Archive  *archive.Archive
	Source   event.SchemaSource // of the registry
	Registry string             // what it is called, for people
	// Values and Keys say of which topics the records' values, and keys, name schemas.
	Values, Keys map[string]bool
	Logger       *slog.Logger

	mu   sync.Mutex
	seen map[schemaid.ID]bool // whether it is kept, or nobody has it
	told map[schemaid.ID]bool // the archive knows that it is missing
}

// schemaPatience bounds how long a file waits for the schemas of its records.
const schemaPatience = 15 * time.Second

// of says whether records of a topic are to be looked at.
func (s *Schemas) of(topic string) bool { return s != nil && (s.Values[topic] || s.Keys[topic]) }

// begin takes up what an earlier run could not have.
func (s *Schemas) begin(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.seen, s.told = map[schemaid.ID]bool{}, map[schemaid.ID]bool{}
	refs, err := s.Archive.MissingSchemas(ctx)
	for _, ref := range refs {
		if id, err := schemaid.Of(ref); err == nil {
			s.seen[id], s.told[id] = false, true
		}
	}
	return err
}

// see notes which schemas records name.
func (s *Schemas) see(records []*kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		note := func(doc []byte, key bool) {
			if id, _, _, _, err := schemaid.Cut(doc, headers(r.Headers), key); err == nil && !s.seen[id] {
				s.seen[id] = false
			}
		}
		if s.Values[r.Topic] {
			note(r.Value, false)
		}
		if s.Keys[r.Topic] {
			note(r.Key, true)
		}
	}
}

// keep archives what was noted. What can't be had is noted in the archive, and tried again with the next call and by the next run, unless the registry says that there is none.
func (s *Schemas) keep(ctx context.Context) error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, schemaPatience)
	defer cancel()
	s.mu.Lock()
	var open []schemaid.ID
	for id, kept := range s.seen {
		if !kept {
			open = append(open, id)
		}
	}
	s.mu.Unlock()
	var failed []string
	var why error
	for _, id := range open {
		ref := id.Ref()
		schema, err := s.Source.Schema(ctx, ref)
		if err == nil {
			err = s.Archive.KeepSchema(ctx, s.Registry, ref, schema)
		}
		var none *event.NoSchema
		switch {
		case errors.As(err, &none):
			s.Logger.Warn("a record names a schema that the registry does not have", "schema", ref.String())
		case err != nil:
			failed, why = append(failed, ref.String()), errors.Join(err, s.tell(ctx, id))
			continue
		default:
			s.Logger.Info("archived a schema", "schema", ref.String())
		}
		s.mu.Lock()
		s.seen[id] = true
		s.mu.Unlock()
	}
	if len(failed) == 0 {
		return nil
	}
	slices.Sort(failed)
	return fmt.Errorf("schemas that archived records name are not in the archive: %s: %w", strings.Join(failed, ", "), why)
}

// tell notes in the archive that a schema is missing, once.
func (s *Schemas) tell(ctx context.Context, id schemaid.ID) error {
	s.mu.Lock()
	told := s.told[id]
	s.mu.Unlock()
	if told {
		return nil
	}
	err := s.Archive.MissSchema(ctx, id.Ref())
	if err == nil {
		s.mu.Lock()
		s.told[id] = true
		s.mu.Unlock()
	}
	return err
}

// headers are those of a record; the last one of a name counts.
type headers []kgo.RecordHeader

// Header implements [event.Headers].
func (h headers) Header(name string) ([]byte, bool) {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].Key == name {
			return h[i].Value, true
		}
	}
	return nil, false
}
