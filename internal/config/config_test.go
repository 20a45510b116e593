package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/sink"
)

// password is the secret in every test document.
const password = "hunter2"

func environment(name string) (string, bool) {
	v, ok := map[string]string{
		"DATABASE_URL":   "postgres://app:" + password + "@db:5432/shop",
		"KAFKA_PASSWORD": password,
		"KAFKA_BROKERS":  "k1:9092,k2:9092",
		"POD":            "7",
		"WRITERS":        "4",
		"EMPTY":          "",
		"INJECTION":      "a\nkafka: {group: evil} # \" ' ${POD}",
	}[name]
	return v, ok
}

// TestBroken compares what each broken file reports with its golden file, and
// makes sure that no secret is in it.
func TestBroken(t *testing.T) {
	for _, file := range globs(t, "testdata/broken/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			_, err := Parse(filepath.Base(file), read(t, file), environment)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got error %v, want an *Error", err)
			}
			got := strings.Join(e.Blocks(), "\n") + "\n"
			for _, piece := range []string{password, "hun/ter2", "ter2"} {
				if strings.Contains(got, piece) || strings.Contains(err.Error(), piece) {
					t.Errorf("the password is printed:\n%s", got)
				}
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(read(t, golden)); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func parse(t *testing.T, doc string) *Config {
	t.Helper()
	cfg, err := Parse("test.yaml", []byte(doc), environment)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestEverything(t *testing.T) {
	cfg := parse(t, string(read(t, "testdata/valid/everything.yaml")))
	gotSink := cfg.ToSink()
	yes, two, four := true, int32(2), int32(4)
	wantSink := sink.Config{
		TimeZone: "Europe/Berlin", SearchPath: "shop, public", SynchronousCommit: "off", Rounding: "refuse",
		StatementTimeout: 90 * time.Second, LockTimeout: 500 * time.Millisecond, IdleTimeout: 10 * time.Second, ForeignKeyWait: time.Minute,
		DeadLetters: sink.DeadLetters{MaxRatio: 0.25, Window: 2000, MaxConsecutive: -1, RetryRate: 50},
		Topics:      map[string]sink.TopicConfig{"clicks.v1": {Format: sink.Protobuf, KeyFormat: sink.JSON, Message: "shop.Click", Subject: "shop.Click", Unmatched: sink.RefuseUnmatched}},
		Tables: []sink.TableConfig{
			{
				Name: "shop.orders", Topics: []string{"orders"}, Strategy: sink.Upsert, Key: []string{"order_id"}, Version: "updated_at",
				Guard: sink.GuardEngine, RecordKey: map[string]string{"order_id": "$key"}, Tombstones: sink.DeleteRows, Accept: []string{"volatile-default:created_at"}, IgnoreFields: []string{"internal_note"}, NewFields: sink.HoldNewFields,
				Columns: map[string]sink.ColumnConfig{
					"customer_id": {From: "customer.id"}, "placed_at": {From: "$timestamp"}, "trace": {From: "$header.trace-id"},
					"raw": {From: "$value"}, "ordered_on": {From: "ordered_at", Zone: "Europe/Berlin"}, "signature": {Encoding: "base64"},
					"fee":        {SQL: "amount_cents * rate / 100", Inputs: map[string]sink.InputConfig{"amount_cents": {Type: "bigint"}, "rate": {From: "tariff.rate", Type: "numeric", Scale: &four}}},
					"amount":     {From: "amt", Scale: &two},
					"country":    {From: "address.country", Default: new(string), DefaultFor: sink.DefaultForAbsent},
					"shipped_at": {From: "shippedAt", Unit: "ms", Rounding: "allow"},
				},
			},
			{Name: "order_lines", Strategy: sink.Children, Parent: "shop.orders", Each: "items", Key: []string{"order_ref", "line"}, ParentKey: map[string]string{"order_ref": "order_id"}},
			{Name: "order_keys", Topics: []string{"orders", "clicks.v1"}, Key: []string{"tenant", "id"}, Guard: "none", RecordKey: map[string]string{"tenant": "$key.tenant", "id": "$key_json"}},
			{Name: "clicks", Topics: []string{"clicks.v1"}, Strategy: sink.Append, Create: "create table clicks (at timestamptz)\n", When: map[string]sink.Condition{
				"kind": {In: []string{"click"}}, "version": {In: []string{"1", "2"}}, "$header.source": {Not: []string{"bot"}, Exists: &yes}, "deleted": {Not: []string{"true"}},
			}},
		},
	}
	if !reflect.DeepEqual(gotSink, wantSink) {
		t.Errorf("sink: got\n%+v\nwant\n%+v", gotSink, wantSink)
	}
	cfg.Kafka.TLS, cfg.access = nil, nil // its files don't exist
	got, err := cfg.ToConsumer()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.ClientOptions) != 4 {
		t.Errorf("got %d client options, want 4 (SASL, who sees whether it is let in, and between which ages metadata are asked for)", len(got.ClientOptions))
	}
	if client, err := kgo.NewClient(got.ClientOptions...); err != nil {
		t.Error(err)
	} else if age := client.OptValue(kgo.MetadataMaxAge); age != time.Duration(cfg.Kafka.TopicRefresh) {
		t.Errorf("metadata are asked for after %v, want %v: partitions that are added are found by them", age, time.Duration(cfg.Kafka.TopicRefresh))
	}
	got.ClientOptions = nil
	if r := got.Registry; r == nil || r.TLS == nil || r.TLS.ServerName != "sr" {
		t.Fatalf("registry: got %+v", r)
	}
	got.Registry.TLS = nil
	at, _ := time.Parse(time.RFC3339, "2026-01-31T00:00:00+01:00")
	want := consumer.Config{
		Brokers: []string{"a:9092", "b:9093", "[::1]:9092", "c"}, Group: "orders-sink", InstanceID: "sink-7", Protocol: consumer.Eager,
		Topics: map[string]consumer.Start{
			"orders": {At: consumer.Timestamp, Time: at}, "clicks.v1": {At: consumer.Latest},
		},
		Registry: &consumer.Registry{
			URLs: []string{"https://sr1:8081", "https://sr2:8081/apis/ccompat/v7"}, Username: "sink", Password: password, Context: ".prod", UnknownSchemaWait: time.Minute,
		},
		SessionTimeout: 10 * time.Second, Writers: 4, MaxBatchRecords: 5000, MaxBatchBytes: 4 << 20, BufferBytes: 64 << 20, MaxDecompressedBytes: 128 << 20, StopTimeout: time.Minute,
	}
	if !got.Topics["orders"].Time.Equal(at) {
		t.Errorf("start: got %v, want %v", got.Topics["orders"].Time, at)
	}
	got.Topics["orders"] = want.Topics["orders"]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("consumer: got\n%+v\nwant\n%+v", got, want)
	}
}

// TestStart: a topic without a start of its own takes the one at the top.
func TestStart(t *testing.T) {
	cfg := parse(t, `
kafka: { brokers: [b], group: g, assign: { a: [0, 3] } }
postgres: { url: "${DATABASE_URL}" }
start: committed
topics: { b: { start: earliest } }
tables: [{ name: t, topics: [a, b], key: [id] }]`)
	got, err := cfg.ToConsumer()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]consumer.Start{"a": {At: consumer.Committed}, "b": {At: consumer.Earliest}}
	if !reflect.DeepEqual(got.Topics, want) {
		t.Errorf("got %v, want %v", got.Topics, want)
	}
	if want := map[string][]int32{"a": {0, 3}}; !reflect.DeepEqual(got.Assign, want) {
		t.Errorf("assign: got %v, want %v", got.Assign, want)
	}
	if got, want := len(cfg.Warnings()), 1; got != want {
		t.Errorf("got %d warnings, want %d (topic b is not assigned): %v", got, want, cfg.Warnings())
	}
}

// TestEnvironment: a variable is a value, whatever is in it.
func TestEnvironment(t *testing.T) {
	injection, _ := environment("INJECTION")
	for _, tt := range []struct{ in, want string }{
		{`"${POD}"`, "7"},
		{`${POD}`, "7"},
		{`'${POD}'`, "7"},
		{`"a-${POD}-${POD}"`, "a-7-7"},
		{`"$${POD}"`, "${POD}"},
		{`"$$${POD}"`, "$${POD}"},
		{`"$POD"`, "$POD"},
		{`"${NOT_SET:-x y}"`, "x y"},
		{`"${EMPTY:-x}"`, "x"},
		{`"${POD:-x}"`, "7"},
		{`"${INJECTION}"`, injection},
		{`${INJECTION}`, injection},
		{`!!str 007`, "007"},
		{`007`, "007"},
		{`true`, "true"},
		{"|\n  ${POD}\n", "7\n"},
		{"&a x", "x"},
	} {
		doc := "postgres: { url: \"${DATABASE_URL}\" }\ntables: [{ name: t, topic: t, key: [id] }]\nkafka:\n brokers: [b]\n group: " + tt.in + "\n"
		cfg, err := Parse("test.yaml", []byte(doc), environment)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if cfg.Kafka.Group != tt.want {
			t.Errorf("%s: got %q, want %q", tt.in, cfg.Kafka.Group, tt.want)
		}
	}
}

// TestAddressInFlow: the parser underneath takes HOST:PORT in a list within
// braces for a map.
func TestAddressInFlow(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"{ brokers: [localhost:9092], group: g }", []string{"localhost:9092"}},
		{"{ brokers: [a:1, b, c:2], group: g }", []string{"a:1", "b", "c:2"}},
		{"{ brokers: [ 10.0.0.1:9092 , \"a:1\"], group: g }", []string{"10.0.0.1:9092", "a:1"}},
		{"{ group: g, brokers: [ä.example:9092] }", []string{"ä.example:9092"}},
		{"\n  group: g\n  brokers: [a:1, b:2]", []string{"a:1", "b:2"}},
	} {
		cfg := parse(t, "postgres: { url: \"${DATABASE_URL}\" }\ntables: [{ name: t, topic: t, key: [id] }]\nkafka: "+tt.in+"\n")
		if got := cfg.Kafka.brokers(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
	for _, in := range []string{"{ brokers: [{a: 1}], group: g }", "{ brokers: [a: 1], group: g }", "{ brokers: [\"a\":1], group: g }"} {
		if _, err := Parse("test.yaml", []byte("kafka: "+in), environment); err == nil || !strings.Contains(err.Error(), "kafka.brokers[0]: must be a single value") {
			t.Errorf("%s: got %v, want a refusal of brokers[0]", in, err)
		}
	}
}

func TestAlias(t *testing.T) {
	cfg := parse(t, `
kafka: { brokers: [b], group: g }
postgres: { url: "${DATABASE_URL}" }
tables:
  - { name: a, topic: a, key: &key [id], columns: &columns { x: y, at: { from: $timestamp, zone: UTC } } }
  - { name: b, topic: b, key: *key, columns: *columns }`)
	if a, b := cfg.Tables[0], cfg.Tables[1]; !reflect.DeepEqual(a.Key, b.Key) || !reflect.DeepEqual(a.Columns, b.Columns) || len(b.Columns) != 2 {
		t.Errorf("got %+v and %+v, want the same key and columns", a, b)
	}
	for _, doc := range []string{"kafka: *nothing", "kafka: &a { group: *a }", "kafka: &a *a", "kafka: { group: &a *b, instance_id: &b *a }"} {
		if _, err := Parse("test.yaml", []byte(doc), environment); err == nil {
			t.Errorf("%s: got no error", doc)
		}
	}
}

// TestSecretsAreHidden tries every way by which a value usually reaches an output.
func TestSecretsAreHidden(t *testing.T) {
	cfg := parse(t, string(read(t, "testdata/valid/everything.yaml")))
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("configuration", "config", cfg, "url", cfg.Postgres.URL, "kafka", cfg.Kafka)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("configuration", "config", cfg, "url", cfg.Postgres.URL, "sasl", cfg.Kafka.SASL)
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]string{
		"log": log.String(), "json": string(asJSON), "%v": fmt.Sprintf("%v", *cfg.Kafka.SASL), "%+v": fmt.Sprintf("%+v", cfg.Postgres),
		"%#v": fmt.Sprintf("%#v", *cfg.Kafka.SASL) + fmt.Sprintf("%#v", cfg.Postgres), "%s": fmt.Sprintf("%s!", cfg.Postgres.URL), "%q": fmt.Sprintf("%q", cfg.Postgres.URL), "%x": fmt.Sprintf("%x", cfg.Postgres.URL),
	} {
		if strings.Contains(out, password) || strings.Contains(out, fmt.Sprintf("%x", password)) {
			t.Errorf("%s holds the password: %s", name, out)
		}
	}
	if !strings.Contains(cfg.Postgres.URL.Reveal(), password) {
		t.Error("Reveal does not reveal")
	}
}

func TestScrub(t *testing.T) {
	for _, tt := range []struct{ url, message, want string }{
		{"postgres://app:hunter2@db/shop", "dial postgres://app:hunter2@db/shop: refused", "dial ***: refused"},
		{"postgres://app:hunter2@db/shop", "password hunter2 is wrong for app", "password *** is wrong for app"},
		{"postgres://app:p%40ss%2Fword@db/shop", "p%40ss%2Fword, that is p@ss/word", "***, that is ***"},
		{"host=db user=app password='hun ter2'", "'hun ter2' and hun ter2", "*** and ***"},
		{"postgres://db/shop?user=app&password=hunter2", "password=hunter2", "password=***"},
		// A password equal to the user's name is no secret that could be kept.
		{"postgres://postgres:postgres@db/postgres", `role "postgres" in postgres.url`, `role "postgres" in postgres.url`},
		{"postgres://app@db/shop", "nothing to hide", "nothing to hide"},
		{"postgres://app:hun/ter2@db/shop", "invalid port hun/ter2", "invalid port ***"},
	} {
		cfg := &Config{Postgres: Postgres{URL: Secret(tt.url)}}
		if got := cfg.Scrub(tt.message); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.url, got, tt.want)
		}
	}
	cfg := &Config{Kafka: Kafka{SASL: &SASL{Username: "sink", Password: "hunter2"}}}
	if got, want := cfg.Scrub("sink: hunter2"), "sink: ***"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o644); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "there is no such file: name the configuration with --config FILE, or in ONCESINK_CONFIG",
		dir:                             "is a directory: name a file",
		big:                             "is larger than 1 MiB: this is not a configuration of oncesink",
	} {
		if _, err := Load(file); err == nil || err.Error() != file+": "+want {
			t.Errorf("got %v, want %s: %s", err, file, want)
		}
	}
}

func TestKafkaOptions(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		cfg := &Config{Kafka: Kafka{TLS: &TLS{}, SASL: &SASL{Mechanism: mechanism, Username: "u", Password: password}}}
		opts, err := cfg.KafkaOptions()
		if err != nil {
			t.Fatal(err)
		}
		if err := kgo.ValidateOpts(append(opts, kgo.SeedBrokers("localhost:9092"))...); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
	noCert := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noCert, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []TLS{{CAFile: "/nowhere/ca.pem"}, {CAFile: noCert}, {CertFile: noCert, KeyFile: noCert}} {
		cfg := &Config{Kafka: Kafka{TLS: &c}}
		_, err := cfg.KafkaOptions()
		var ce *sink.ConfigError
		if !errors.As(err, &ce) || ce.Fix == "" {
			t.Errorf("%+v: got %v, want a *sink.ConfigError with a fix", c, err)
		}
	}
}

// FuzzParse: a document never crashes the parser, and whatever is wrong with it, a
// value of url or password is not in the message.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/valid/*.yaml", "testdata/broken/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	f.Fuzz(func(t *testing.T, doc string) {
		if len(doc) > 4096 || strings.Contains(doc, "\x00") {
			return
		}
		cfg, err := Parse("fuzz.yaml", []byte(doc), environment)
		if (cfg == nil) == (err == nil) {
			t.Fatalf("got config %v and error %v", cfg, err)
		}
		// The same with a password line whose value no message may hold.
		const secret = "zQ8vXk"
		for _, end := range []string{"\npostgres: { url: " + secret + " }\n", "\nkafka:\n  sasl:\n    password: " + secret + ": x\n", "\n  password: \"" + secret} {
			_, err := Parse("fuzz.yaml", []byte(doc+end), environment)
			var e *Error
			if errors.As(err, &e) && strings.Contains(strings.Join(e.Blocks(), "\n"), secret) {
				t.Fatalf("the secret is printed: %s", strings.Join(e.Blocks(), "\n"))
			}
		}
	})
}

// A known envelope is taken as it is, but for what the file says.
func TestEnvelopes(t *testing.T) {
	got := parse(t, string(read(t, "testdata/valid/envelopes.yaml"))).ToSink()
	changed := sink.GoldenGate()
	changed.Before, changed.Unavailable = "old", "?"
	want := map[string]sink.TopicConfig{
		"shop.public.customers": {Format: sink.Avro, Envelope: sink.Debezium()},
		"ce":                    {Envelope: sink.CloudEvents()},
		"flat":                  {Envelope: sink.Flattened()},
		"cdc":                   {Envelope: changed},
		"own": {Envelope: &sink.Envelope{After: "data", Op: "type", Upsert: []string{"insert", "update"}, Delete: []string{"gone"},
			Ignore: []string{"note"}, Truncate: []string{"emptied"}}},
	}
	if !reflect.DeepEqual(got.Topics, want) {
		t.Errorf("got %+v", got.Topics)
	}
	if own := got.Tables[2]; got.Tables[1].Otherwise != sink.OtherwiseDelete || got.Tables[0].Truncate != sink.IgnoreTruncates || own.SoftDelete["deleted_at"] != "$timestamp" || own.DeleteWhen["deleted"].In[0] != "true" {
		t.Errorf("got %+v", got.Tables)
	}
}

// Every key of the configuration can be read: a file names each.
func TestEveryKeyIsTried(t *testing.T) {
	doc := ""
	for _, file := range globs(t, "../../examples/*.yaml", "testdata/broken/*.yaml", "testdata/valid/*.yaml") {
		doc += string(read(t, file))
	}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			if name == "" {
				continue
			}
			if !regexp.MustCompile(`\b` + name + `:`).MatchString(doc) {
				t.Errorf("no file names %s of %s", name, typ)
			}
			walk(typ.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[Config]())
}
