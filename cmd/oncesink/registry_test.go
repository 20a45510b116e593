package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// startRegistry: registry FILE starts a schema registry that has the file's schema as id 1, at SCHEMA_REGISTRY_URL. While there is a file
// registry.status it answers what stands there.
func startRegistry(ts *testscript.TestScript, _ bool, args []string) {
	g := srfake.New()
	ts.Defer(g.Close)
	schema := sr.Schema{Schema: ts.ReadFile(args[0])}
	if strings.HasSuffix(args[0], ".proto") {
		schema.Type = sr.TypeProtobuf
	}
	g.SeedSchema("orders-value", 1, 1, schema)
	status := ts.MkAbs("registry.status")
	g.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		text, err := os.ReadFile(status)
		if err != nil && r.URL.Path == "/schemas/types" { // the fake does not know the question
			_, _ = w.Write([]byte(`["AVRO", "PROTOBUF"]`))
			return true
		}
		if err != nil {
			return false
		}
		code, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		w.WriteHeader(code)
		return true
	})
	ts.Setenv("SCHEMA_REGISTRY_URL", g.URL())
}

// produceAvro: produce_avro TOPIC SCHEMA FILE produces the JSON of each line as Avro of schema 1.
func produceAvro(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s, err := avro.Parse(ts.ReadFile(args[1]))
	ts.Check(err)
	c := client(ts)
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		var v any
		ts.Check(s.DecodeJSON([]byte(line), &v))
		value, err := s.AppendEncode([]byte{0, 0, 0, 0, 1}, v)
		ts.Check(err)
		ts.Check(c.ProduceSync(ctx, &kgo.Record{Topic: args[0], Value: value}).FirstErr())
	}
}

// produceProtobuf: produce_protobuf TOPIC SCHEMA FILE produces the JSON of each line as the first message of schema 1.
func produceProtobuf(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{args[1]: ts.ReadFile(args[1])})})}
	files, err := compiler.Compile(ctx, args[1])
	ts.Check(err)
	c := client(ts)
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		m := dynamicpb.NewMessage(files[0].Messages().Get(0))
		ts.Check(protojson.Unmarshal([]byte(line), m))
		value, err := proto.MarshalOptions{}.MarshalAppend([]byte{0, 0, 0, 0, 1, 0}, m)
		ts.Check(err)
		ts.Check(c.ProduceSync(ctx, &kgo.Record{Topic: args[0], Value: value}).FirstErr())
	}
}

// example: example NAME copies an example.
func example(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(filepath.Join(repository, "examples", args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

var repository = func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
}()
