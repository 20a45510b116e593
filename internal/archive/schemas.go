package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"reflect"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/sink"
)

// Records of some formats only name their schema. Beside the records' files lies what it was, in a file for each schema, whose name has the SHA-256 of what is in it.

// schemas is where they lie, within the place: below it SPACE/ID/SHA256.json.
const schemas = ".schemas"

// maxSchema bounds such a file, in bytes.
const maxSchema = 16 << 20

// keptSchema is what is in it.
type keptSchema struct {
	Registry string     `json:"registry"` // where it was read
	Space    string     `json:"space"`    // which of a registry's names id is
	ID       string     `json:"id"`
	Schema   schemaText `json:"schema"`
}

type schemaText struct {
	Name       string       `json:"name,omitempty"` // by which another one refers to it
	Type       string       `json:"type"`
	Text       string       `json:"text"`
	References []schemaText `json:"references,omitempty"`
}

func textOf(name string, s event.Schema) schemaText {
	t := schemaText{Name: name, Type: s.Type, Text: s.Text}
	for _, r := range s.References {
		t.References = append(t.References, textOf(r.Name, r.Schema))
	}
	return t
}

func (t *schemaText) schema() event.Schema {
	s := event.Schema{Type: t.Type, Text: t.Text}
	for i := range t.References {
		s.References = append(s.References, event.Reference{Name: t.References[i].Name, Schema: t.References[i].schema()})
	}
	return s
}

// KeepSchema puts a schema beside the records that refer to it, unless it is there. The registry is for people.
func (a *Archive) KeepSchema(ctx context.Context, registry string, ref event.SchemaRef, s event.Schema) error {
	text, err := json.Marshal(keptSchema{registry, ref.Space, ref.ID, textOf("", s)})
	if err != nil {
		return err
	}
	return a.put(ctx, schemaName(ref, text), text)
}

// missing is the name of a file that says that a schema is still to be had.
const missing = "missing"

// MissSchema notes that records refer to a schema that could not be had. The note stays, and is of no account once there is the schema.
func (a *Archive) MissSchema(ctx context.Context, ref event.SchemaRef) error {
	return a.put(ctx, path.Join(schemas, ref.Space, ref.ID, missing), []byte("a record refers to this schema, which could not be had from its registry\n"))
}

// MissingSchemas are those that were noted so, and did not come since.
func (a *Archive) MissingSchemas(ctx context.Context) (refs []event.SchemaRef, err error) {
	objects, err := a.place.list(ctx, schemas)
	if err != nil {
		return nil, fmt.Errorf("list the archive %s: %w", a.location, err)
	}
	there := map[string]bool{}
	for _, o := range objects {
		there[path.Dir(o.name)] = there[path.Dir(o.name)] || path.Base(o.name) != missing
	}
	for _, o := range objects {
		if of := path.Dir(o.name); !there[of] {
			refs = append(refs, event.SchemaRef{Space: path.Base(path.Dir(of)), ID: path.Base(of)})
		}
	}
	return refs, nil
}

// put writes a file, unless it is there.
func (a *Archive) put(ctx context.Context, name string, text []byte) error {
	d, err := a.place.begin(ctx)
	if err == nil {
		defer d.discard()
		if _, err = d.Write(text); err == nil {
			err = d.publish(ctx, name)
		}
	}
	if err != nil && !errors.Is(err, errExists) {
		return fmt.Errorf("write %s into the archive %s: %w", name, a.location, err)
	}
	return nil
}

// Schema returns a schema that records of the archive refer to. Where there is none it is an [*event.NoSchema]; where it can't be told, or is damaged, a [*sink.HaltError].
func (a *Archive) Schema(ctx context.Context, ref event.SchemaRef) (found event.Schema, err error) {
	objects, err := a.place.list(ctx, path.Join(schemas, ref.Space, ref.ID))
	if err != nil {
		return found, fmt.Errorf("list the archive %s: %w", a.location, err)
	}
	any := false
	for _, o := range objects {
		if !strings.HasSuffix(o.name, ".json") {
			continue
		}
		s, err := a.readSchema(ctx, o)
		var damage *DamagedError
		switch {
		case errors.As(err, &damage):
			return found, &sink.HaltError{Err: err}
		case err != nil:
			return found, err
		case any && !reflect.DeepEqual(s, found):
			return found, &sink.HaltError{Err: fmt.Errorf("the archive %s has two schemas for %s, as registries that each had it: move those of the other one away from %s", a.location, ref, a.place.path(path.Join(schemas, ref.Space, ref.ID)))}
		}
		found, any = s, true
	}
	if !any {
		return found, &event.NoSchema{Ref: ref, Asked: "nothing: the archive has it neither"}
	}
	return found, nil
}

// readSchema reads one, and holds it to its name.
func (a *Archive) readSchema(ctx context.Context, o object) (s event.Schema, err error) {
	in, err := a.place.open(ctx, o.name, 0)
	if err != nil {
		return s, fmt.Errorf("read %s: %w", a.place.path(o.name), err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxSchema))
	if err != nil {
		return s, fmt.Errorf("read %s: %w", a.place.path(o.name), err)
	}
	s, ok := parseSchema(o.name, text)
	if !ok {
		return s, &DamagedError{File: a.place.path(o.name), Problem: "its SHA-256 is not the one that its name has"}
	}
	return s, nil
}

// parseSchema is what is in a file of that name, within the place; not ok if it is not what the name says.
func parseSchema(name string, text []byte) (s event.Schema, ok bool) {
	sum := sha256.Sum256(text)
	var kept keptSchema
	if strings.TrimSuffix(path.Base(name), ".json") != hex.EncodeToString(sum[:]) || json.Unmarshal(text, &kept) != nil || path.Join(schemas, kept.Space, kept.ID) != path.Dir(name) {
		return s, false
	}
	return kept.Schema.schema(), true
}

// schemaName is the name of the file of a schema, within the place.
func schemaName(ref event.SchemaRef, text []byte) string {
	sum := sha256.Sum256(text)
	return path.Join(schemas, ref.Space, ref.ID, hex.EncodeToString(sum[:])+".json")
}

// VerifySchemas reads all of them, and returns how many there are, and what is wrong with each that is damaged.
func (a *Archive) VerifySchemas(ctx context.Context) (n int, damaged []error, err error) {
	objects, err := a.place.list(ctx, schemas)
	if err != nil {
		return 0, nil, fmt.Errorf("list the archive %s: %w", a.location, err)
	}
	for _, o := range objects {
		if path.Base(o.name) == missing {
			continue
		}
		_, err := a.readSchema(ctx, o)
		var damage *DamagedError
		switch {
		case errors.As(err, &damage):
			damaged = append(damaged, damage)
		case err != nil:
			return n, damaged, err
		}
		n++
	}
	return n, damaged, nil
}
