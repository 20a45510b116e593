package archive

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/sink"
)

// A schema comes back as it was kept, with what it refers to; kept twice it is there once; one that nobody kept is not there. What is missing is told until it comes.
func TestSchemas(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		five := event.SchemaRef{Space: "id", ID: "5"}
		want := event.Schema{Type: "PROTOBUF", Text: "message", References: []event.Reference{{Name: "a.proto", Schema: event.Schema{Type: "PROTOBUF", Text: "other",
			References: []event.Reference{{Name: "b.proto", Schema: event.Schema{Type: "PROTOBUF", Text: "third"}}}}}}}
		var none *event.NoSchema
		if _, err := r.a.Schema(ctx, five); !errors.As(err, &none) {
			t.Fatalf("nothing is there: %v", err)
		}
		r.must(r.a.MissSchema(ctx, five))
		r.must(r.a.MissSchema(ctx, five))
		if refs, err := r.a.MissingSchemas(ctx); err != nil || !reflect.DeepEqual(refs, []event.SchemaRef{five}) {
			t.Errorf("missing: %v, %v", refs, err)
		}
		if _, err := r.a.Schema(ctx, five); !errors.As(err, &none) {
			t.Errorf("it is missing: %v", err)
		}
		for _, registry := range []string{"one", "one", "another that has the same"} {
			r.must(r.a.KeepSchema(ctx, registry, five, want))
		}
		if got, err := r.a.Schema(ctx, five); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
		if refs, err := r.a.MissingSchemas(ctx); err != nil || len(refs) > 0 {
			t.Errorf("missing: %v, %v", refs, err)
		}
		if _, err := r.a.Schema(ctx, event.SchemaRef{Space: "id", ID: "51"}); !errors.As(err, &none) {
			t.Errorf("another one: %v", err)
		}
		if n, damaged, err := r.a.VerifySchemas(ctx); n != 2 || len(damaged) > 0 || err != nil {
			t.Errorf("%d, %v, %v", n, damaged, err)
		}
		if all, err := r.a.All(ctx, ""); len(all) > 0 || err != nil {
			t.Errorf("as records: %+v, %v", all, err)
		}
		// Two registries that have different ones: which of them is meant nobody knows.
		var halt *sink.HaltError
		r.must(r.a.KeepSchema(ctx, "third", five, event.Schema{Type: "AVRO", Text: `"string"`}))
		if _, err := r.a.Schema(ctx, five); !errors.As(err, &halt) || !strings.Contains(err.Error(), "two schemas for id 5") {
			t.Errorf("two: %v", err)
		}
	})
}

// A flipped bit of a schema is found, and so is one under another's name.
func TestDamagedSchema(t *testing.T) {
	r := newRig(t, t.TempDir(), Options{})
	ref := event.SchemaRef{Space: "id", ID: "5"}
	r.must(r.a.KeepSchema(t.Context(), "one", ref, event.Schema{Type: "AVRO", Text: `"string"`}))
	var path string
	r.must(filepath.WalkDir(r.a.String(), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path = p
		}
		return err
	}))
	whole, err := os.ReadFile(path)
	r.must(err)
	r.must(os.Chmod(path, 0o644))
	var halt *sink.HaltError
	for i := range len(whole) * 8 {
		text := append([]byte{}, whole...)
		text[i/8] ^= 1 << (i % 8)
		r.must(os.WriteFile(path, text, 0o644))
		if s, err := r.a.Schema(t.Context(), ref); !errors.As(err, &halt) || !strings.Contains(err.Error(), path) {
			t.Fatalf("bit %d: %+v, %v", i, s, err)
		}
	}
	if n, damaged, err := r.a.VerifySchemas(t.Context()); n != 1 || len(damaged) != 1 || err != nil {
		t.Errorf("%d, %v, %v", n, damaged, err)
	}
	r.must(os.WriteFile(path, whole, 0o644))
	other := filepath.Join(filepath.Dir(filepath.Dir(path)), "6")
	r.must(os.Mkdir(other, 0o755))
	r.must(os.Rename(path, filepath.Join(other, filepath.Base(path))))
	if _, err := r.a.Schema(t.Context(), event.SchemaRef{Space: "id", ID: "6"}); !errors.As(err, &halt) {
		t.Errorf("under another name: %v", err)
	}
}

// Whatever a schema's file has in it: under its own name it is read as what can be written and read again as the same, or not at all; under the
// name of another text, or another schema, it is not.
func FuzzSchema(f *testing.F) {
	five := event.SchemaRef{Space: "id", ID: "5"}
	for _, kept := range []keptSchema{
		{Registry: "one", Space: "id", ID: "5", Schema: schemaText{Type: "AVRO", Text: `"string"`}},
		{Registry: "one", Space: "id", ID: "5", Schema: schemaText{Type: "PROTOBUF", Text: "message", References: []schemaText{{Name: "a.proto", Type: "PROTOBUF", Text: "other", References: []schemaText{{Name: "b.proto"}}}}}},
		{Registry: "one", Space: "..", ID: "id/5"},
	} {
		text, err := json.Marshal(kept)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"space":"id","id":"5","schema":{"references":[{},{"references":[{"name":"\ud800"}]}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, ok := parseSchema(schemaName(five, text), text)
		for name, other := range map[string]string{"another text's": schemaName(five, append([]byte(" "), text...)), "another schema's": schemaName(event.SchemaRef{Space: "id", ID: "6"}, text)} {
			if _, is := parseSchema(other, text); is && (ok || name == "another text's") {
				t.Errorf("it is read under %s name", name)
			}
		}
		if !ok {
			return
		}
		again, err := json.Marshal(keptSchema{"two", five.Space, five.ID, textOf("", s)})
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := parseSchema(schemaName(five, again), again); !ok || !reflect.DeepEqual(back, s) {
			t.Errorf("written and read again: %+v, %v; it was %+v", back, ok, s)
		}
	})
}
