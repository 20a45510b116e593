package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/sink"
)

// shelf is another source: it has schemas, and fails for some.
type shelf struct {
	has   map[event.SchemaRef]string
	fails map[event.SchemaRef]error
}

func (s shelf) Schema(_ context.Context, ref event.SchemaRef) (event.Schema, error) {
	if err := s.fails[ref]; err != nil {
		return event.Schema{}, err
	}
	if text, ok := s.has[ref]; ok {
		return event.Schema{Type: "AVRO", Text: text}, nil
	}
	return event.Schema{}, &event.NoSchema{Ref: ref}
}

// What the registry has is the registry's. The other source is asked where the registry does not know a schema, and where it can't be asked; it decides nothing
// while the registry may come back.
func TestBeside(t *testing.T) {
	halt := &sink.HaltError{Err: errors.New("two of them")}
	other := shelf{has: map[event.SchemaRef]string{id(1): `"long"`, id(9): `"int"`}, fails: map[event.SchemaRef]error{id(11): halt}}
	known := open(t, Config{URLs: []string{fake(t).URL()}})
	away := open(t, Config{URLs: []string{failing(t, http.StatusServiceUnavailable, "")}})
	known.Beside(other)
	away.Beside(other)
	for _, c := range []struct {
		what  string
		r     *Registry
		n     int
		want  string // text
		fails string
		halts bool
	}{
		{"the registry has it", known, 1, address, "", false},
		{"the registry does not know it", known, 9, `"int"`, "", false},
		{"nobody knows it", known, 10, "", "does not know it (404)", false},
		{"it can't be told which is meant", known, 11, "", "two of them", true},
		{"the registry is away", away, 9, `"int"`, "", false},
		{"the registry is away, and nobody else has it", away, 10, "", "503", false},
		{"the registry is away, and it can't be told which is meant", away, 11, "", "two of them", false},
	} {
		got, err := c.r.Schema(t.Context(), id(c.n))
		var halts *sink.HaltError
		switch {
		case c.fails == "" && (err != nil || got.Text != c.want):
			t.Errorf("%s: %+v, %v", c.what, got, err)
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails) || errors.As(err, &halts) != c.halts):
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
