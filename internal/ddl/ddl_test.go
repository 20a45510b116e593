package ddl_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/ddl"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/formats"
	"github.com/oncesink/oncesink/sink"
)

var update = flag.Bool("update", false, "write the statements that there should be")

// TestTables: each archive has a configuration, schemas of topics, and the statement of each table.
func TestTables(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, shapes := read(t, a)
			var got []txtar.File
			for _, f := range a.Files {
				name, ok := strings.CutSuffix(f.Name, ".sql")
				if !ok {
					got = append(got, f)
					continue
				}
				text := ""
				table, err := ddl.New(cfg, name, shapes)
				var refused *sink.ConfigError
				switch {
				case errors.As(err, &refused):
					text = refused.Error() + "\n"
				case err != nil:
					t.Fatal(err)
				default:
					text = table.SQL() + ";\n"
				}
				if string(f.Data) != text && !*update {
					t.Errorf("table %s: got\n%s\nwant\n%s", name, text, f.Data)
				}
				got = append(got, txtar.File{Name: f.Name, Data: []byte(text)})
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(&txtar.Archive{Comment: a.Comment, Files: got}), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// read takes an archive apart: config.yaml, and TOPIC-value.avsc and the like.
func read(t *testing.T, a *txtar.Archive) (sink.Config, map[string]*ddl.Shapes) {
	t.Helper()
	var cfg sink.Config
	shapes := map[string]*ddl.Shapes{}
	for _, f := range a.Files {
		if f.Name == "config.yaml" {
			all, err := config.Parse(f.Name, []byte("kafka: {brokers: [a:1], group: g}\npostgres: {url: postgres://a/b}\n"+string(f.Data)), os.LookupEnv)
			if err != nil {
				t.Fatal(err)
			}
			cfg = all.ToSink()
			continue
		}
		ext := filepath.Ext(f.Name)
		topic, key := strings.CutSuffix(strings.TrimSuffix(f.Name, ext), "-key")
		topic = strings.TrimSuffix(topic, "-value")
		typ := map[string]string{".avsc": "AVRO", ".proto": "PROTOBUF", ".json": "JSON"}[ext]
		if typ == "" {
			continue
		}
		var shape *event.Shape
		var err error
		if typ == "JSON" {
			var w connect.Written
			err = json.Unmarshal(f.Data, &w)
			shape = w.Shape()
		} else {
			shape, err = formats.Shape(cfg.Topics[topic], key, event.Schema{Type: typ, Text: string(f.Data)})
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if shapes[topic] == nil {
			shapes[topic] = &ddl.Shapes{From: "version 1 of subject " + topic + "-value"}
		}
		if key {
			shapes[topic].Key = shape
		} else {
			shapes[topic].Value = shape
		}
	}
	return cfg, shapes
}
