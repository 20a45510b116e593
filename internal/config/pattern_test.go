package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// expanded is what a file's tables become with topics: a line each.
func expanded(t *testing.T, cfg *Config, topics ...string) (*Expanded, string) {
	t.Helper()
	x, err := cfg.Expand(topics)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, table := range x.Tables {
		fmt.Fprintf(&b, "%s %v", table.Name, table.Sources())
		if table.Parent != "" {
			fmt.Fprintf(&b, " of %s", table.Parent)
		}
		b.WriteString("\n")
	}
	return x, b.String()
}

func TestExpand(t *testing.T) {
	cfg := parse(t, string(read(t, "testdata/valid/patterns.yaml")))
	topics := []string{"shop.public.orders", "shop.public.Plain", "shop.sales.items", "shop.public.audit", "shop.public.items_old", "shop", "shop.transaction", "shop.public.transaction",
		"__consumer_offsets", "__debezium-heartbeat.shop", "clicks-eu", "clicks-us", "docs-us", "docs-eu", "unrelated"}
	x, got := expanded(t, cfg, topics...)
	want := `public."Plain" [shop.public.Plain]
public.transaction [shop.public.transaction]
sales.items [shop.sales.items]
public.orders [shop.public.orders]
clicks [clicks-eu clicks-us more_clicks]
eu_docs [docs-eu]
us_docs [docs-us]
eu_lines [] of eu_docs
us_lines [] of us_docs
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if x.HasPatterns() || len(x.Tables[0].Except) > 0 {
		t.Error("there are patterns left")
	}
	if made := []string{`public."Plain"`, "public.transaction", "sales.items", "clicks", "eu_docs", "us_docs", "eu_lines", "us_lines"}; !slices.Equal(x.Made, made) {
		t.Errorf("made %q, want %q", x.Made, made)
	}
	if e := x.Topics["shop.sales.items"]; e.Envelope == nil || e.Envelope.Like != "debezium" || !e.Start.Given {
		t.Errorf("the pattern's settings are not the topic's: %+v", e)
	}
	if e := x.Topics["shop.public.Plain"]; e.Envelope != nil {
		t.Errorf("the topic's own settings are not its: %+v", e)
	}
	if e := x.Topics["shop.public.orders"]; e.Envelope == nil {
		t.Error("a topic of a table of its own lacks the settings of the pattern that matches it")
	}
	cfg2, err := x.ToConsumer()
	if err != nil || len(cfg2.Topics) != 9 {
		t.Errorf("reads %v, %v", cfg2.Topics, err)
	}
	if _, err := x.Expand(topics); err != nil {
		t.Error(err)
	}
	if _, got := expanded(t, cfg); got != "public.orders [shop.public.orders]\nclicks [more_clicks]\n" {
		t.Errorf("without topics: %s", got)
	}
}

// What Debezium writes beside the changes of tables is left out of patterns, in its own topics alone, and not where it is named.
func TestExpandLeavesOut(t *testing.T) {
	file := func(topic, more string) *Config {
		return parse(t, `
kafka: { brokers: [localhost:9092], group: g }
postgres: { url: "${DATABASE_URL}" }
topics:
  "`+topic+`": { `+more+` }
tables: [ { name: "{0}", topics: ["`+topic+`", named.transaction], key: [id] } ]
`)
	}
	topics := []string{"shop", "shop.transaction", "shop.public.orders", "shop.public.transaction", "named.transaction", "named.public.x", "__heartbeat"}
	x, _ := expanded(t, file("/.*/", "envelope: debezium"), topics...)
	var left []string
	for _, l := range x.LeftOut {
		left = append(left, l.Topic+": "+l.Why)
	}
	if got := strings.Join(left, "\n"); got != "__heartbeat: its name begins with two underscores\nshop: Debezium tells there of changes of schemas\nshop.transaction: Debezium tells there where transactions begin and end" {
		t.Errorf("left out:\n%s", got)
	}
	if x, _ = expanded(t, file("/[^.]*|[^.]*[.][^.]*/", "start: latest"), topics...); len(x.LeftOut) != 1 || len(x.Tables) != 3 {
		t.Errorf("without an envelope: left out %v, made %v", x.LeftOut, x.Made)
	}
}

func TestExpandRefuses(t *testing.T) {
	for _, tt := range []struct{ tables, topics, want string }{
		{`[{name: orders, topic: "/a\\.(.*)/", key: [id]}, {name: "{1}", topic: "/b\\.(.*)/", key: [id]}]`, "a.x b.orders", "both make the table orders, of the topics a.x and b.orders"},
		{`[{name: x, topic: "/a.*/", key: [id]}, {name: y, topic: "/.*b/", key: [id]}]`, "ab", "topic ab is matched by /.*b/ and /a.*/, which both have settings"},
	} {
		cfg := parse(t, `
kafka: { brokers: [localhost:9092], group: g }
postgres: { url: "${DATABASE_URL}" }
topics: {}
tables: `+tt.tables)
		if strings.Contains(tt.tables, "/.*b/") {
			cfg.Topics = map[string]Topic{"/a.*/": {Format: "avro"}, "/.*b/": {}}
		}
		_, err := cfg.Expand(strings.Fields(tt.topics))
		var config *sink.ConfigError
		if !errors.As(err, &config) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %s: got %v, want %q", tt.tables, tt.topics, err, tt.want)
		}
	}
}
