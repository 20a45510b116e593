package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	reflection "github.com/invopop/jsonschema"
)

const referenceFile = "../../docs/reference/configuration.md"

// The reference of the configuration is the types and their doc comments, with an example of each key that the parser and the schema
// have accepted: from the examples, and the valid files of the tests.
func TestReferenceIsCurrent(t *testing.T) {
	r := &reference{t: t, examples: map[string]string{}, written: map[reflect.Type]string{}}
	comments := &reflection.Reflector{}
	if err := comments.AddGoComments("github.com/oncesink/oncesink/internal/config", ".", reflection.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	r.comments = comments.CommentMap
	for _, file := range globs(t, "../../examples/orders.yaml", "../../examples/debezium.yaml", "testdata/valid/everything.yaml", "testdata/valid/*.yaml", "../../examples/*.yaml") {
		parsed, err := parser.ParseBytes(read(t, file), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range parsed.Docs {
			r.collect("", doc.Body, reflect.TypeFor[Config]())
		}
	}
	r.b.WriteString(`# The configuration

<!-- Made from the types: go test ./internal/config -run TestReferenceIsCurrent -update -->

One YAML file, named by ` + "`-c FILE`, by `ONCESINK_CONFIG`, or `oncesink.yaml`" + `. Each key is here with its type, its default and an example.
` + "`NAME`" + ` in a key stands for a name of yours, ` + "`[]`" + ` for each entry of a list. [oncesink.schema.json](../oncesink.schema.json) says the same to
editors. ` + "`oncesink config validate` looks at a file, and `oncesink config show`" + ` prints what is in effect, and where each value comes from.

` + "`${NAME}`" + ` in a value is an environment variable, ` + "`${NAME:-TEXT}`" + ` has a default, ` + "`${file:PATH}`" + ` is what a file has in it, ` + "`$${`" + ` stands for itself.
They are put in after the YAML was read, so no value can change what the file says otherwise. Unknown and repeated keys are errors, with line and column. No message contains a secret, or a part of one:
a connection string that can be read in two ways, such as one with an ` + "`@` or `/`" + ` of the password that is not percent-encoded, is refused, with how to write it and
without a word of it.

A duration is a number with a unit, such as ` + "`500ms`, `30s` or `1m30s`" + `. A size is a number of bytes, or one with ` + "`KiB`, `MiB` or `GiB`" + `.

`)
	r.section("", reflect.TypeFor[Config]())
	text := strings.TrimRight(r.b.String(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(referenceFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(referenceFile); err != nil || string(got) != text {
		t.Errorf("docs/reference/configuration.md is out of date: run go test ./internal/config -run TestReferenceIsCurrent -update (%v)", err)
	}
}

// reference writes the page.
type reference struct {
	t        *testing.T
	comments map[string]string       // of types and their fields
	examples map[string]string       // by key, as YAML in one line
	written  map[reflect.Type]string // where a section that several have was written first
	b        strings.Builder
}

// shape is what stands at a key: a section's type, and how its keys are written on.
func shape(typ reflect.Type) (section reflect.Type, suffix string) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch {
	case typ.Kind() == reflect.Struct && typ.NumField() > 0 && typ.Field(0).Tag.Get("yaml") != "":
		return typ, ""
	case typ.Kind() == reflect.Slice && typ != reflect.TypeFor[Fields]():
		section, suffix = shape(typ.Elem())
		return section, "[]" + suffix
	case typ.Kind() == reflect.Map:
		section, suffix = shape(typ.Elem())
		return section, ".NAME" + suffix
	}
	return nil, ""
}

// collect keeps the first example of each key.
func (r *reference) collect(path string, node ast.Node, typ reflect.Type) {
	values, ok := node.(*ast.MappingNode)
	if !ok {
		return
	}
	for _, v := range values.Values {
		name := v.Key.String()
		field, ok := fieldOf(typ, name)
		if !ok {
			continue
		}
		key := strings.TrimPrefix(path+"."+name, ".")
		if r.examples[key] == "" {
			var value any
			if err := yaml.NodeToValue(v.Value, &value, yaml.UseOrderedMap()); err != nil {
				r.t.Fatal(err)
			}
			line, err := yaml.MarshalWithOptions(yaml.MapSlice{{Key: name, Value: value}}, yaml.Flow(true))
			if err != nil {
				r.t.Fatal(err)
			}
			text := strings.TrimSpace(string(line))
			if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") {
				text = text[1 : len(text)-1]
			}
			if !strings.Contains(text, "\n") {
				r.examples[key] = text
			}
		}
		section, suffix := shape(field.Type)
		if section == nil {
			continue
		}
		for _, node := range inner(v.Value, suffix) {
			r.collect(key+suffix, node, section)
		}
	}
}

// inner are the sections in a list or map of them.
func inner(node ast.Node, suffix string) []ast.Node {
	var out []ast.Node
	switch n := node.(type) {
	case *ast.SequenceNode:
		if rest, ok := strings.CutPrefix(suffix, "[]"); ok {
			for _, v := range n.Values {
				out = append(out, inner(v, rest)...)
			}
			return out
		}
	case *ast.MappingNode:
		if rest, ok := strings.CutPrefix(suffix, ".NAME"); ok {
			for _, v := range n.Values {
				out = append(out, inner(v.Value, rest)...)
			}
			return out
		}
		return []ast.Node{n}
	}
	return nil
}

func fieldOf(typ reflect.Type, key string) (reflect.StructField, bool) {
	for f := range typ.Fields() {
		if tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); tag == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// section writes the keys of a section as a table, then the sections in it.
func (r *reference) section(path string, typ reflect.Type) {
	r.written[typ] = path
	head := "| key | what it does | default | example |\n|---|---|---|---|\n"
	var below []reflect.StructField
	for f := range typ.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if tag == "" {
			continue
		}
		if section, _ := shape(f.Type); section != nil {
			below = append(below, f)
			continue
		}
		text, byDefault := cutDefault(r.sentence(typ, f, tag))
		if options != "omitempty" {
			byDefault = "required"
		}
		key := strings.TrimPrefix(path+"."+tag, ".")
		cell := strings.NewReplacer("|", `\|`)
		fmt.Fprintf(&r.b, "%s| `%s` | %s *%s.* | %s | `%s` |\n", head, key, cell.Replace(text), cell.Replace(kind(f)), cell.Replace(byDefault), cell.Replace(r.example(key)))
		head = ""
	}
	if head == "" {
		r.b.WriteString("\n")
	}
	for _, f := range below {
		tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		section, suffix := shape(f.Type)
		key := strings.TrimPrefix(path+"."+tag, ".") + suffix
		level := "##"
		if path != "" {
			level = "###"
		}
		fmt.Fprintf(&r.b, "%s %s\n\n%s\n\n", level, key, r.sentence(typ, f, tag))
		if first, ok := r.written[section]; ok {
			fmt.Fprintf(&r.b, "Its keys are those of [`%s`](#%s).\n\n", first, anchor(first))
			continue
		}
		if of := prose(r.comments[section.PkgPath()+"."+section.Name()]); strings.Contains(of, "or a map") {
			fmt.Fprintf(&r.b, "%s\n\n", of)
		}
		r.section(key, section)
	}
}

func (r *reference) example(key string) string {
	text, ok := r.examples[key]
	if !ok || strings.Contains(text, "`") {
		r.t.Errorf("no file has an example of the key %s in one line: put one into testdata/valid/everything.yaml or beside it", key)
	}
	return text
}

// sentence is what the field's comment says, of the key.
func (r *reference) sentence(typ reflect.Type, f reflect.StructField, tag string) string {
	text := prose(r.comments[typ.PkgPath()+"."+typ.Name()+"."+f.Name])
	if text == "" {
		r.t.Errorf("%s.%s has no comment", typ.Name(), f.Name)
	}
	if rest, ok := strings.CutPrefix(text, f.Name); ok {
		text = "`" + tag + "`" + rest
	}
	return text
}

// prose is a comment in one line, in which Markdown finds nothing of its own.
func prose(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		if i%2 == 0 {
			part = special.ReplaceAllString(part, `\$0`)
		} else {
			part = "`" + part + "`"
		}
		b.WriteString(part)
	}
	return b.String()
}

var special = regexp.MustCompile(`[*_<>\\]`)

// cutDefault takes the default out of a comment.
func cutDefault(text string) (rest, byDefault string) {
	before, after, ok := strings.Cut(text, "Defaults to ")
	if !ok {
		return text, ""
	}
	end := strings.Index(after+" ", ". ")
	if end < 0 {
		return text, ""
	}
	return strings.TrimSpace(before + strings.TrimSpace(after[min(end+1, len(after)):])), after[:end]
}

func anchor(key string) string {
	return regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(key), "")
}

// kind says what is written at a key.
func kind(f reflect.StructField) string {
	var names []string
	for option := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
		if name, ok := strings.CutPrefix(option, "enum="); ok {
			names = append(names, "`"+name+"`")
		}
	}
	if len(names) > 0 {
		return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	}
	return kindOf(f.Type)
}

func kindOf(typ reflect.Type) string {
	switch typ {
	case reflect.TypeFor[Secret]():
		return "text, which is never shown"
	case reflect.TypeFor[Duration]():
		return "duration"
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[Start]():
		return "`earliest`, `latest`, `committed` or a time"
	case reflect.TypeFor[Values]():
		return "a value, or a list of them"
	case reflect.TypeFor[Fields]():
		return "map of names to texts"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return kindOf(typ.Elem())
	case reflect.Bool:
		return "`true` or `false`"
	case reflect.Slice:
		return "list of " + plural(typ.Elem())
	case reflect.Map:
		return "map of names to " + plural(typ.Elem())
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		return "number"
	}
	return "text"
}

func plural(typ reflect.Type) string {
	switch typ.Kind() {
	case reflect.Slice:
		return "lists of " + plural(typ.Elem())
	case reflect.Int32:
		return "numbers"
	}
	return "texts"
}
