package protobuf

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncesink/oncesink/internal/event"
)

// known are files that schemas import without a reference, because registries know them, beside those of google/protobuf.
//
//go:embed known
var known embed.FS

// compile makes a file of a schema's text and of what it refers to.
func compile(schema event.Schema) (protoreflect.FileDescriptor, error) {
	if schema.Type != "" && schema.Type != "PROTOBUF" {
		return nil, fmt.Errorf("the schema is of type %s, and the topic is read as Protobuf: set the format of the topic", schema.Type)
	}
	texts := map[string]string{}
	// Of two texts of one name the first one counts, as for Confluent's own programs: a reference before its references.
	var add func(references []event.Reference)
	add = func(references []event.Reference) {
		for _, r := range references {
			if _, ok := texts[r.Name]; !ok {
				texts[r.Name] = r.Schema.Text
				add(r.Schema.References)
			}
		}
	}
	add(schema.References)
	name := "schema.proto"
	for texts[name] != "" {
		name = "the " + name
	}
	texts[name] = schema.Text
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{Accessor: func(file string) (io.ReadCloser, error) {
			if text, ok := texts[file]; ok {
				return io.NopCloser(strings.NewReader(text)), nil
			}
			f, err := known.Open(path.Join("known", file))
			if errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(file, "google/protobuf/") {
				return nil, fmt.Errorf("%s is imported, and is not among the schema's references", file)
			}
			return f, err
		}}),
		MaxParallelism: 1,
	}
	files, err := compiler.Compile(context.Background(), name)
	if err != nil {
		return nil, fmt.Errorf("compile Protobuf schema: %w", err)
	}
	return files[0], nil
}

// byName finds a message by its full name, or by its short one if only one message has it.
func byName(file protoreflect.FileDescriptor, name string) (protoreflect.MessageDescriptor, error) {
	var all []string
	var found []protoreflect.MessageDescriptor
	var look func(mds protoreflect.MessageDescriptors)
	look = func(mds protoreflect.MessageDescriptors) {
		for i := range mds.Len() {
			md := mds.Get(i)
			if md.IsMapEntry() {
				continue
			}
			if all = append(all, string(md.FullName())); string(md.FullName()) == name {
				found = []protoreflect.MessageDescriptor{md}
				return
			}
			if string(md.Name()) == name {
				found = append(found, md)
			}
			look(md.Messages())
		}
	}
	look(file.Messages())
	slices.Sort(all)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("several messages have the name %s: give its full name, one of %s", name, strings.Join(all, ", "))
	}
	return nil, fmt.Errorf("no message has the name %s: there are %s", name, strings.Join(all, ", "))
}

// byIndexes finds a message by its place among those of the file, then among those within it. Entries of maps, which are messages
// that no schema's text has, are not counted.
func byIndexes(file protoreflect.FileDescriptor, indexes []int) protoreflect.MessageDescriptor {
	mds := file.Messages()
	var md protoreflect.MessageDescriptor
	for _, index := range indexes {
		md = nil
		for i := range mds.Len() {
			if mds.Get(i).IsMapEntry() {
				continue
			}
			if index == 0 {
				md = mds.Get(i)
				break
			}
			index--
		}
		if md == nil {
			return nil
		}
		mds = md.Messages()
	}
	return md
}
