package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestPositions: what is wrong is pointed at, marked by ‹ › here: a value, or the key
// where the value is beside the point.
func TestPositions(t *testing.T) {
	const (
		kafka    = "kafka: { brokers: [b], group: g }\n"
		postgres = "postgres: { url: \"${DATABASE_URL}\" }\n"
		tables   = "tables: [{ name: t, topic: t, key: [id] }]\n"
	)
	for name, tt := range map[string]struct{ doc, path string }{
		"number in braces":      {kafka + postgres + tables + "limits: { writers: ‹two› }", "limits.writers"},
		"too small in braces":   {kafka + postgres + tables + "limits: { batch_records: 5, writers: ‹0› }", "limits.writers"},
		"time span in braces":   {"kafka: { brokers: [b], session_timeout: ‹30›, group: g }\n" + postgres + tables, "kafka.session_timeout"},
		"word in braces":        {"kafka: { brokers: [b], protocol: ‹sticky›, group: g }\n" + postgres + tables, "kafka.protocol"},
		"quoted word in braces": {"kafka: { brokers: [b], protocol: ‹\"sticky\"›, group: g }\n" + postgres + tables, "kafka.protocol"},
		"wide letters before":   {"kafka: { group: \"größe…\", protocol: ‹'sticky'›, brokers: [b] }\n" + postgres + tables, "kafka.protocol"},
		"empty group":           {"kafka: { brokers: [b], group: ‹\"\"› }\n" + postgres + tables, "kafka.group"},
		"null group":            {"kafka: { brokers: [b], ‹group›: }\n" + postgres + tables, "kafka.group"},
		"broker":                {"kafka: { brokers: [b, ‹\"a:0\"›], group: g }\n" + postgres + tables, "kafka.brokers[1]"},
		"brokers is a text":     {"kafka: { brokers: ‹b:9092›, group: g }\n" + postgres + tables, "kafka.brokers"},
		"nested braces":         {"kafka: { brokers: [b], group: g, sasl: { mechanism: ‹GSSAPI›, username: u, password: p } }\n" + postgres + tables, "kafka.sasl.mechanism"},
		"braces on many lines":  {"kafka: {\n  brokers: [b],\n  protocol:\n    ‹sticky›,\n  group: g,\n}\n" + postgres + tables, "kafka.protocol"},
		"url":                   {kafka + "postgres: { url: ‹\"postgres://u:hunter2@h:port/d\"› }\n" + tables, "postgres.url"},
		"plain url":             {kafka + "postgres: { time_zone: UTC, url: ‹nonsense› }\n" + tables, "postgres.url"},
		"url in a block":        {kafka + "postgres:\n  url:\n    ‹\"postgres://u:hunter2@h:port/d\"›\n" + tables, "postgres.url"},
		"folded url":            {kafka + "postgres:\n  url: ‹>-›\n    postgres://u:hunter2@h:port/d\n" + tables, "postgres.url"},
		"word of a variable":    {"kafka: { brokers: [b], protocol: ‹\"${POD}\"›, group: g }\n" + postgres + tables, "kafka.protocol"},
		"alias":                 {"kafka: { brokers: [b], group: &x g, protocol: ‹*x› }\n" + postgres + tables, "kafka.protocol"},
		"in a list of tables":   {kafka + postgres + "tables: [{ name: t, topic: t, key: [id], guard: ‹soft› }]\n", "tables[0].guard"},
		"a column's text":       {kafka + postgres + "tables: [{ name: t, topic: t, key: [id], columns: { a: ‹$now› } }]\n", "tables[0].columns.a"},
		"missing key":           {"‹kafka›: { brokers: [b] }\n" + postgres + tables, "kafka.group"},
		"key without a meaning": {kafka + postgres + "tables: [{ name: t, topic: t, strategy: append, ‹version›: at }]\n", "tables[0].version"},
		"key to remove":         {"kafka: { brokers: [b], group: g, protocol: consumer, ‹session_timeout›: 30s }\n" + postgres + tables, "kafka.session_timeout"},
		"unknown key":           {"kafka: { brokers: [b], group: g, ‹protocl›: eager }\n" + postgres + tables, "kafka.protocl"},
		"repeated in braces":    {"kafka: { brokers: [b], group: g, ‹group›: h }\n" + postgres + tables, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before, _, _ := strings.Cut(tt.doc, "‹")
			line := strings.Count(before, "\n") + 1
			column := len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
			_, err := Parse("test.yaml", []byte(strings.NewReplacer("‹", "", "›", "").Replace(tt.doc)), environment)
			var e *Error
			if !errors.As(err, &e) || len(e.Problems) != 1 {
				t.Fatalf("got %v, want one problem", err)
			}
			p := e.Problems[0]
			got, want := fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Path), fmt.Sprintf("%d:%d %s", line, column, tt.path)
			if got != want {
				t.Errorf("got %s, want %s: %v", got, want, err)
			}
			if blocks := strings.Join(e.Blocks(), "\n"); strings.Contains(blocks, password) {
				t.Errorf("the password is printed:\n%s", blocks)
			}
		})
	}
}

// TestRepeatedKey: both places of a repeated key are named, and the key.
func TestRepeatedKey(t *testing.T) {
	for doc, want := range map[string]string{
		"kafka: {}\nkafka: {}":                            "test.yaml:2:1: the key kafka is here twice: the first one is at line 1, column 1. Remove one of them",
		"kafka: { group: g, brokers: [b], group: h }":     "test.yaml:1:34: the key group is here twice: the first one is at line 1, column 10. Remove one of them",
		"tables:\n  - name: a\n    topic: a\n    name: b": "test.yaml:4:5: the key name is here twice: the first one is at line 2, column 5. Remove one of them",
		"topics: { \"a b\": {}, \"a b\": {} }":            "test.yaml:1:22: the key a b is here twice: the first one is at line 1, column 11. Remove one of them",
	} {
		if _, err := Parse("test.yaml", []byte(doc), environment); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", doc, err, want)
		}
	}
}
