package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	reflection "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/oncesink/oncesink/docs"
)

var update = flag.Bool("update", false, "write docs/oncesink.schema.json and golden files")

// generateSchema reads the types and their doc comments.
func generateSchema(t *testing.T) []byte {
	t.Helper()
	r := &reflection.Reflector{
		FieldNameTag:   "yaml",
		ExpandedStruct: true,
		Anonymous:      true,
		Mapper:         mapType,
	}
	if err := r.AddGoComments("github.com/oncesink/oncesink/internal/config", ".", reflection.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	for name, comment := range r.CommentMap {
		r.CommentMap[name] = strings.Join(strings.Fields(comment), " ")
	}
	s := r.Reflect(&Config{})
	s.ID = "https://github.com/oncesink/oncesink/blob/main/docs/oncesink.schema.json"
	s.Title = "oncesink configuration"
	// A column is a text or a map. Its default needs no quotes, nor does null.
	column := *s.Definitions["Column"]
	byDefault, _ := column.Properties.Get("default")
	*byDefault = reflection.Schema{Description: byDefault.Description, OneOf: []*reflection.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
	defaultFor, _ := column.Properties.Get("default_for")
	*defaultFor = reflection.Schema{Description: defaultFor.Description, OneOf: []*reflection.Schema{{Type: "string", Enum: defaultFor.Enum}, {Type: "null"}}}
	s.Definitions["Column"] = &reflection.Schema{
		Description: column.Description,
		OneOf:       []*reflection.Schema{{Type: "string", MinLength: ptr(uint64(1))}, &column},
	}
	// So is an input.
	input := *s.Definitions["Input"]
	s.Definitions["Input"] = &reflection.Schema{
		Description: input.Description,
		OneOf:       []*reflection.Schema{{Type: "string", MinLength: ptr(uint64(1))}, &input},
	}
	// A condition is a value, a list of them or a map; and a value needs no quotes.
	value := &reflection.Schema{OneOf: []*reflection.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
	list := &reflection.Schema{Type: "array", Items: value}
	condition := *s.Definitions["Condition"]
	for _, name := range []string{"in", "not"} {
		p, _ := condition.Properties.Get(name)
		*p = reflection.Schema{Description: p.Description, OneOf: append(slices.Clone(value.OneOf), list)}
	}
	s.Definitions["Condition"] = &reflection.Schema{Description: condition.Description, OneOf: append(slices.Clone(value.OneOf), list, &condition)}
	// An envelope is the name of one or a map, whose lists may be one value.
	envelope := *s.Definitions["Envelope"]
	for _, name := range []string{"upsert", "delete", "ignore", "truncate"} {
		p, _ := envelope.Properties.Get(name)
		*p = reflection.Schema{Description: p.Description, OneOf: append(slices.Clone(value.OneOf), list)}
	}
	named, _ := envelope.Properties.Get("like")
	s.Definitions["Envelope"] = &reflection.Schema{Description: envelope.Description, OneOf: []*reflection.Schema{{Type: "string", Enum: named.Enum}, &envelope}}
	// "tls:" alone is a section with its defaults.
	tls := *s.Definitions["TLS"]
	s.Definitions["TLS"] = &reflection.Schema{Description: tls.Description, OneOf: []*reflection.Schema{{Type: "null"}, &tls}}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func ptr[T any](v T) *T { return &v }

// Every value may come from the environment.
const fromEnvironment = `\$\{`

func mapType(t reflect.Type) *reflection.Schema {
	pattern := func(p string) *reflection.Schema {
		return &reflection.Schema{Type: "string", Pattern: "^(" + p + ")$|" + fromEnvironment}
	}
	switch t {
	case reflect.TypeFor[Fields]():
		return &reflection.Schema{Type: "object", MinProperties: ptr(uint64(1)), AdditionalProperties: &reflection.Schema{Type: "string", MinLength: ptr(uint64(1))}}
	case reflect.TypeFor[Secret]():
		return &reflection.Schema{Type: "string"}
	case reflect.TypeFor[Duration]():
		return pattern(`([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+`)
	case reflect.TypeFor[Size]():
		return &reflection.Schema{OneOf: []*reflection.Schema{{Type: "integer", Minimum: "0"}, pattern(`[0-9]+ *([KMG]iB)?`)}}
	case reflect.TypeFor[Start]():
		return pattern(`earliest|latest|committed|[0-9]{4}-[0-9]{2}-[0-9]{2}T.+`)
	case reflect.TypeFor[int]():
		return &reflection.Schema{OneOf: []*reflection.Schema{{Type: "integer", Minimum: "1"}, {Type: "string", Pattern: fromEnvironment}}}
	}
	return nil
}

func TestSchemaIsCurrent(t *testing.T) {
	want := generateSchema(t)
	if *update {
		if err := os.WriteFile("../../docs/oncesink.schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if docs.ConfigSchema != string(want) {
		t.Error("docs/oncesink.schema.json is out of date: run go test ./internal/config -run TestSchemaIsCurrent -update")
	}
}

// TestSchemaAgrees holds the schema and the parser against each other: what one
// accepts the other accepts.
func TestSchemaAgrees(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(generateSchema(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("oncesink.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("oncesink.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(t *testing.T, data []byte) error {
		t.Helper()
		asJSON, err := yaml.YAMLToJSON(data)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	for _, file := range globs(t, "../../examples/*.yaml", "testdata/valid/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data := read(t, file)
			if err := validate(t, data); err != nil {
				t.Errorf("the schema refuses it: %v", err)
			}
			if _, err := Parse(file, data, environment); err != nil {
				t.Errorf("the parser refuses it: %v", err)
			}
		})
	}
	// Mistakes that an editor should show.
	for _, file := range []string{"unknown-keys", "wrong-types", "enums", "empty-column"} {
		t.Run(file, func(t *testing.T) {
			data := read(t, "testdata/broken/"+file+".yaml")
			if validate(t, data) == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

func globs(t *testing.T, patterns ...string) []string {
	t.Helper()
	var out []string
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s (%v)", p, err)
		}
		out = append(out, files...)
	}
	return out
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
