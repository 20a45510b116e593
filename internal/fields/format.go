package fields

import (
	"errors"

	"github.com/oncesink/oncesink/internal/event"
)

// JSON is the format of JSON documents. Values are slices of the document.
type JSON struct{}

// Plan compiles paths as [New] does, with "" for the document as a whole.
func (JSON) Plan(paths []string) (event.Plan, error) {
	s, err := compile(paths, func(path string) ([]string, error) {
		switch path {
		case "":
			return nil, nil
		case event.SchemaName:
			return []string{"\xff"}, nil // which is in no document
		}
		return Split(path)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Read is [Set.Extract] as [event.Plan] has it.
func (s *Set) Read(doc []byte, _ event.Headers, values []event.Value, _ *[]byte) error {
	if err := s.Extract(doc, values); err != nil {
		return &event.Refusal{Code: sqlState(err), Message: err.Error(), Plain: quotesNothing(err)}
	}
	return nil
}

// Learn refuses: no document asks for a schema.
func (s *Set) Learn(event.SchemaRef, event.Schema) error {
	return errors.New("JSON is read without a schema")
}
